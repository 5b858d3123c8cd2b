"""Ctrl-C, SIGTERM and SIGHUP from the first moment to the last: each ends with 130, in one line."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

INTERRUPTED = 130
WORDS = "interrupted: what was not finished is not kept"
# what ends things in order takes this long at most; a signal in that time says nothing new
PATIENCE_S = 5.0

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """What a signal does: end the process at once, or raise KeyboardInterrupt in the main thread.

    It ends it at once as long as nothing is under way, and again when all is done.
    """

    def __init__(self) -> None:
        """Begin where nothing is under way."""
        self._under_way = False
        self._code: int | None = None
        self._first_s: float | None = None
        self._again: threading.Timer | None = None

    @property
    def came(self) -> bool:
        """Whether a signal came that raised KeyboardInterrupt."""
        return self._first_s is not None

    def begin(self) -> None:
        """From now on something may be under way, which ends in order."""
        self._under_way = True

    def finish(self, code: int) -> None:
        """From now on nothing is, and the exit code is known."""
        self._code = code
        if self._again:
            # it would come when the interpreter no longer listens
            self._again.cancel()
        if self.came:
            # Python notes that KeyboardInterrupt left the text of an exec, as dataclasses are made
            # by, and kills itself with SIGINT in the end; the next exec of a text takes that back
            exec("")

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Hear of a signal."""
        if self._code is not None:
            os._exit(self._code)
        now = time.monotonic()
        if self._under_way and self._first_s is None:
            self._first_s = now
            raise KeyboardInterrupt
        if self._first_s is None or now - self._first_s > PATIENCE_S:
            _leave()

    def hear_unraisable(self, unraisable: Any) -> None:
        """Send the signal once more whose KeyboardInterrupt Python dropped, as in a finaliser."""
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            sys.__unraisablehook__(unraisable)
            return
        self._first_s = None
        # what is raised inside of this would be dropped too
        self._again = threading.Timer(0.01, os.kill, (os.getpid(), _heeded()))
        self._again.daemon = True
        self._again.start()


@contextmanager
def heard(for_good: bool) -> Iterator[Interrupts]:
    """Let signals end things in order; one that is ignored, as SIGHUP under nohup, stays so.

    What they did before is put back, unless this is `for_good`: the process then ends behind it.
    """
    interrupts = Interrupts()
    before = {number: signal.getsignal(number) for number in _NUMBERS}
    hook = sys.unraisablehook
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, interrupts)
    sys.unraisablehook = interrupts.hear_unraisable
    try:
        yield interrupts
    finally:
        if not for_good:
            for number, handler in before.items():
                signal.signal(number, handler)
            sys.unraisablehook = hook


def _heeded() -> int:
    return next((n for n in _NUMBERS if signal.getsignal(n) is not signal.SIG_IGN), signal.SIGTERM)


def _leave() -> None:
    """End the process without taking anything down in order."""
    try:
        os.write(2, f"gcbench: {WORDS}\n".encode())
    finally:
        os._exit(INTERRUPTED)
