"""Run something in a forked copy of this process: nothing that it does stays here.

So code of a user's own can be asked what it would do on the meta device by a process that then
times it: whatever that code keeps (tables by shape, above all) would be meta tensors here too.
"""

import contextlib
import faulthandler
import gc
import os
import pickle
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from gcbench.errors import GcbenchError, no_room, told
from gcbench.system.process_tree import end_descendants, take_in_orphans

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")

_KNOWN = frozenset({"torch", "torchvision", "gcbench"})

# what only looks at shapes takes milliseconds; what hangs is left
LIMIT_S = 60.0


class ForkError(GcbenchError):
    """What was run in a copy of this process raised, ended that or took too long; in words."""


def is_known(module: "nn.Module") -> bool:
    """Tell whether all classes of a module are torch's, torchvision's or gcbench's.

    What those keep of a call is known: nothing that another device would trip over.
    """
    return all(type(part).__module__.partition(".")[0] in _KNOWN for part in module.modules())


def forked(work: Callable[[], T], limit_s: float = LIMIT_S) -> T:
    """Return what `work` returns in a forked copy of this process; it must be picklable.

    What it prints goes nowhere. Raises ForkError where it raised, where its process ended or
    took more than `limit_s`, and where there is no fork.
    """
    if not hasattr(os, "fork"):
        raise ForkError("this system cannot copy a process")
    receiving, sending, child = _copied()
    if child == 0:
        _answer(work, sending)
    os.close(sending)
    try:
        done, result = pickle.loads(_read(receiving, time.monotonic() + limit_s))
    except (EOFError, pickle.UnpicklingError) as error:
        end_descendants(child)
        raise ForkError("a copy of this process ended or took too long") from error
    finally:
        os.close(receiving)
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    if not done:
        raise ForkError(result)
    found: T = result
    return found


def _copied() -> tuple[int, int, int]:
    """Fork, with a pipe; returns its two ends and the copy's number, which is 0 in the copy."""
    try:
        receiving, sending = os.pipe()
        with warnings.catch_warnings():
            # of threads whose locks nobody frees in the copy: it touches nothing that they hold
            warnings.simplefilter("ignore", DeprecationWarning)
            return receiving, sending, os.fork()
    except OSError as error:
        raise ForkError(f"this process cannot be copied: {no_room(error)}") from error


def _answer(work: Callable[[], Any], sending: int) -> None:
    """Do the work in the copy, send what it gave, and end the copy."""
    try:
        # what the original holds is not to be let go of here: it may be another device's
        gc.freeze()
        # what is begun here ends here, in whichever session
        take_in_orphans()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nowhere, stream)
        # nor does it say how it ended, where that is a crash
        sys.stdout = sys.stderr = open(nowhere, "w")  # noqa: PTH123, SIM115
        faulthandler.disable()
        torch = sys.modules.get("torch")
        if torch:
            # threads are not copied, and who waits for them waits for ever
            torch.set_num_threads(1)
        answer = pickle.dumps((True, work()))
    except BaseException as error:  # whatever it raised is the answer
        answer = pickle.dumps((False, told(error)))
    # whoever has the answer ends this process at once
    end_descendants()
    with contextlib.suppress(OSError), os.fdopen(sending, "wb") as pipe:
        pipe.write(answer)
    os._exit(0)


def _read(receiving: int, deadline: float) -> bytes:
    """All that comes until the other end is closed, or the deadline."""
    read = b""
    while (left_s := deadline - time.monotonic()) > 0:
        if select.select([receiving], [], [], left_s)[0]:
            piece = os.read(receiving, 2**16)
            if not piece:
                break
            read += piece
    return read
