"""Standard streams that end nothing: stderr is a courtesy, and stdout fails by its own name.

What stderr cannot take is dropped. What stdout cannot take raises `StdoutError` once, and where its
reader is gone nothing at all: the rest goes nowhere, and `is_gone` says so.
"""

import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from gcbench.errors import UsageError, cause

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class StdoutError(UsageError):
    """Stdout cannot take the result; the message says why."""


class _Raw(io.RawIOBase):
    """Writes to a descriptor that it leaves open."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)


class _Courtesy(_Raw):
    """Takes everything, and drops what cannot be written."""

    def write(self, piece: "ReadableBuffer", /) -> int:
        with suppress(OSError):
            return os.write(self._descriptor, piece)
        return memoryview(piece).nbytes


class _Result(_Raw):
    """Drops what comes when the reader is gone, and after the first failure, which it raises."""

    gone = failed = False

    def write(self, piece: "ReadableBuffer", /) -> int:
        if not (self.gone or self.failed):
            try:
                return os.write(self._descriptor, piece)
            except BrokenPipeError:
                self.gone = True
            except OSError as error:
                self.failed = True
                raise StdoutError(f"cannot write to stdout: {cause(error)}") from error
        return memoryview(piece).nbytes


def guard() -> None:
    """Put safe streams in the place of this process's own, where nobody else has put any there.

    A descriptor that is closed is opened on nothing, so that no file is ever opened as number 0, 1
    or 2, which others write to; `sys.stdout` stays None where it was closed.
    """
    _occupy(range(3))
    if sys.stderr is None:
        sys.stderr = _text(_Courtesy(2), None)
    elif sys.stderr is sys.__stderr__:
        sys.stderr = _text(_Courtesy(2), sys.stderr)
    if sys.stdout is not None and sys.stdout is sys.__stdout__:
        sys.stdout = _text(_Result(1), sys.stdout)


def guard_worker() -> None:
    """Send what this process prints to stderr, as a courtesy, and let it read nothing."""
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdout, sys.stderr = (_text(_Courtesy(n), getattr(sys, s)) for n, s in _WRITTEN.items())


_WRITTEN = {1: "stdout", 2: "stderr"}


def is_gone() -> bool:
    """Whether the reader of stdout was found to be gone, so that printing more is in vain."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return isinstance(raw, _Result) and raw.gone


def _occupy(descriptors: range) -> None:
    for descriptor in descriptors:
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)


def _text(raw: _Raw, before: TextIO | None) -> io.TextIOWrapper:
    """A text stream over a descriptor, as the interpreter makes its own.

    Where a letter cannot be shown there is a question mark.
    """
    if before is not None:
        # what it still holds; a failure is met again
        with suppress(OSError, ValueError):
            before.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(before, "encoding", "utf-8"),
        errors="replace",
        newline="\n",
        line_buffering=raw.fileno() == 2 or raw.isatty(),
    )
