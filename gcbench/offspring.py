"""Ending all that a process started, also what began a session of its own.

What descends from a process is found from parent to child, and nothing is lost on the way where
that process takes in orphans (`guarding`). A mark in the environment finds what has no such parent
any more: what a block started and then ended its guard, and the daemons of Ray, which are nobody's
children.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "_GCBENCH_WORKER"
# what is found may have made more meanwhile
ROUNDS = 50


def end_descendants(root: int | None = None) -> None:
    """Kill all that a process and its children started, by default this one; it lives on itself."""

    def found() -> list[psutil.Process]:
        # to look through all processes takes longer than to hear that there is no child
        if root is None and not _has_child():
            return []
        started: list[psutil.Process] = []
        with suppress(psutil.Error):
            started = psutil.Process(root).children(recursive=True)
        return started

    _end(found, collect=True)


def end_marked(mark: str, variable: str = MARK) -> bool:
    """Kill every process that carries this mark in a variable, but for the one that asks.

    Returns whether none was left when it was looked for last. A child inherits the mark of its
    parent, unless somebody takes it away.
    """
    return _end_where(lambda process: process.environ().get(variable) == mark)


def end_holding(folder: Path) -> bool:
    """Kill every process that has a file of a folder open; see `end_marked`.

    Who asks and its parent are spared. This finds those that write a title of their own over their
    environment, and the mark with it.
    """
    parent = os.getppid()

    def holds(process: psutil.Process) -> bool:
        return process.pid != parent and any(
            Path(file.path).is_relative_to(folder) for file in process.open_files()
        )

    return _end_where(holds)


def _end_where(is_meant: Callable[[psutil.Process], bool]) -> bool:
    def meant(process: psutil.Process) -> bool:
        # others' processes do not tell
        with suppress(psutil.Error):
            return process.pid != os.getpid() and is_meant(process)
        return False

    return _end(lambda: filter(meant, psutil.process_iter()))


def _end(find: Callable[[], Iterable[psutil.Process]], collect: bool = False) -> bool:
    for _ in range(ROUNDS):
        found = [process for process in find() if _lives(process)]
        if not found:
            return True
        for process in found:
            with suppress(psutil.Error):
                process.kill()
        for process in found if collect else ():
            # those that are not ours are taken in when their parents are gone
            with suppress(OSError):
                os.waitpid(process.pid, 0)
    return False


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    return False


def _has_child() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
