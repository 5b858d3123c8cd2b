"""Processes that carry a mark in their environment, wherever they went; Linux, else none is found.

A child inherits the mark of its parent, also when it begins a session of its own and its parent is
gone, which process groups do not survive.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MARK = "GCBENCH_WORKER"
# what is found may have made more meanwhile
ROUNDS = 5


def end_marked(mark: str, variable: str = MARK) -> bool:
    """Kill every process that carries this mark in a variable, but for the one that asks.

    Returns whether none was left when it was looked for last.
    """
    for _ in range(ROUNDS):
        found = list(_marked(f"{variable}={mark}".encode()))
        for process in found:
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
        if not found:
            return True
    return False


def _marked(variable: bytes) -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        # others' processes do not tell, and any may end while it is asked
        with suppress(OSError):
            process = int(folder.name)
            variables = (folder / "environ").read_bytes().split(b"\0")
            ended = (folder / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
            if variable in variables and process != os.getpid() and not ended:
                yield process
