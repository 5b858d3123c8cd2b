"""Processes that carry a mark in their environment, wherever they went; Linux, else none is found.

A child inherits the mark of its parent, also when it begins a session of its own and its parent is
gone, which process groups do not survive.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

MARK = "GCBENCH_WORKER"
# what is found may have made more meanwhile
ROUNDS = 5


def limited() -> str:
    """Say that memory is limited by `ulimit -v`, where it is: so libraries fail in odd ways."""
    import resource

    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    return "" if most == resource.RLIM_INFINITY else f" (ulimit -v is {most // 2**10})"


def end_marked(mark: str, variable: str = MARK) -> bool:
    """Kill every process that carries this mark in a variable, but for the one that asks.

    Returns whether none was left when it was looked for last.
    """
    wanted = f"{variable}={mark}".encode()
    return _end(lambda process: wanted in (process / "environ").read_bytes().split(b"\0"))


def end_holding(folder: Path) -> bool:
    """Kill every process that has a file of a folder open; see `end_marked`.

    Who asks and its parent are spared. This finds those that write a title of their own over their
    environment, and the mark with it.
    """
    parent = os.getppid()

    def holds(process: Path) -> bool:
        return int(process.name) != parent and any(
            _leads_into(link, folder) for link in (process / "fd").iterdir()
        )

    return _end(holds)


def _leads_into(link: Path, folder: Path) -> bool:
    # a file may be closed while it is looked at
    with suppress(OSError):
        return link.readlink().is_relative_to(folder)
    return False


def _end(is_meant: Callable[[Path], bool]) -> bool:
    for _ in range(ROUNDS):
        found = list(_running(is_meant))
        for process in found:
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
        if not found:
            return True
    return False


def _running(is_meant: Callable[[Path], bool]) -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        # others' processes do not tell, and any may end while it is asked
        with suppress(OSError):
            process = int(folder.name)
            ended = (folder / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
            if process != os.getpid() and not ended and is_meant(folder):
                yield process
