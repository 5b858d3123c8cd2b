"""A process that outlives its worker by a moment, so that nothing that the worker started does.

It takes in whatever of the worker's own lost its parent (Linux), in whichever session and with
whichever environment, waits for the worker or for the one who asks to end, and ends all of it.
"""

import ctypes
import os
import signal
import threading
from contextlib import suppress
from typing import NoReturn

from gcbench.offspring import end_descendants

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
