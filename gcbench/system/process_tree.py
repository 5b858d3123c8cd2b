"""The processes that a worker started, guarded and ended with it, in whichever session.

A guard outlives its worker by a moment, takes in whatever of the worker's own lost its parent, and
ends all of that. So what descends from a process is found from parent to child. A mark in the
environment finds what has no such parent any more: what a block started before it ended the guard
of its worker, and the daemons of Ray, which are nobody's children.
"""

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

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


# of prctl(2)
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def guarded(lifeline: int) -> None:
    """Fork the worker, in which this returns; the process that called guards it and never does.

    When the worker ends, this process ends all that is left of it, and then as the worker ended.
    When the other end of the pipe `lifeline` is closed, it ends the worker too.
    """
    take_in_orphans()
    worker = os.fork()
    if worker == 0:
        os.close(lifeline)
        # so that a signal to the worker's group does not end its guard
        os.setsid()
        _control(PR_SET_PDEATHSIG, signal.SIGKILL)
        return
    # its pipes are the worker's alone
    os.close(0)
    os.close(1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_wait_for_asker, args=(lifeline, worker), daemon=True).start()
    _end_as(_reaped(worker))


def take_in_orphans() -> None:
    """Become the parent of whatever this process's own started and left, where the system can."""
    _control(PR_SET_CHILD_SUBREAPER, 1)


def _control(what: int, value: int) -> None:
    # where there is no prctl, what begins a session of its own is found by its mark alone
    with suppress(Exception):
        ctypes.CDLL(None).prctl(what, value, 0, 0, 0)


def _wait_for_asker(lifeline: int, worker: int) -> None:
    """End the worker when nobody asks any more; who waits for it ends all the rest."""
    with suppress(OSError):
        os.read(lifeline, 1)
    # its group too, where what it left is taken in by nobody
    for end in (os.kill, os.killpg):
        with suppress(OSError):
            end(worker, signal.SIGKILL)


def _reaped(worker: int) -> int:
    """Wait for the worker, and for what else ends on the way; returns the worker's status."""
    # whoever ends all that is left may have waited for it first
    with suppress(ChildProcessError):
        while True:
            process, status = os.waitpid(-1, 0)
            if process == worker:
                return status
    return signal.SIGKILL


def _end_as(status: int) -> NoReturn:
    end_descendants()
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        with suppress(OSError, ValueError):
            signal.signal(-code, signal.SIG_DFL)
        # no core of this one: it would stand in the place of the worker's own
        with suppress(ImportError, OSError, ValueError):
            import resource

            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else 1)
