"""Locks on files in the temporary folder, which the system frees when a process dies; flock.

Not filelock's: those are never shared, and follow a link that somebody left there.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path, *, shared: bool = False, wait: bool = False) -> Iterator[bool]:
    """Hold a lock; yields whether it was had, which without `wait` may not be.

    A `shared` one keeps out who wants it alone. Raises OSError where there can be none.
    """
    descriptor = opened(path)
    try:
        had = _locked(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, wait)
        try:
            yield had
        finally:
            # a copy of this process has the same lock, and may live on
            if had:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def opened(path: Path) -> int:
    """Open a file to be locked; another user's too, which may only be read. Raises OSError."""
    # nobody is waited for who would write into a pipe
    flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(path, flags | os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        return os.open(path, flags | os.O_RDONLY)


def _locked(descriptor: int, kind: int, wait: bool) -> bool:
    try:
        fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
