"""One measurement at a time on each device, among all that run gcbench on a machine."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from gcbench.environment import device_id, lock_path, unlockable

Tell = Callable[[str], None]


@contextmanager
def alone_on(device: str, wait: bool, tell: Tell) -> Iterator[bool]:
    """Hold a device while measuring; yields whether no other gcbench measures there.

    Where another one does, `tell` gets a sentence; with `wait` this returns when the device is
    free. The system frees the lock of a process that dies. Where no lock can be had, the device
    counts as free.
    """
    path = lock_path(device_id(device))
    lock, holder = FileLock(path, mode=0o666), path.with_suffix(".pid")
    try:
        alone = _acquired(lock, wait, tell, f"{device}{_who(holder)}")
    except OSError as error:
        tell(unlockable(path, error))
        yield True
        return
    try:
        if alone:
            with suppress(OSError):
                _leave_word(holder)
        yield alone
    finally:
        if alone:
            with suppress(OSError):
                holder.unlink()
        lock.release()


def _acquired(lock: FileLock, wait: bool, tell: Tell, where: str) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            tell(f"warning: another gcbench measures on {where}: both disturb each other")
            return False
        tell(f"another gcbench measures on {where}: waiting for it (--no-wait does not)")
        lock.acquire()
    return True


def _leave_word(holder: Path) -> None:
    # never through a link that somebody left there
    holder.unlink(missing_ok=True)
    with os.fdopen(os.open(holder, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644), "w") as file:
        file.write(str(os.getpid()))


def _who(holder: Path) -> str:
    try:
        return f" (process {int(holder.read_text())})"
    except (OSError, ValueError):
        return ""
