"""One measurement at a time on each device, among all that run gcbench on a machine."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from gcbench.measure.environment import device_id, lock_path, unlockable
from gcbench.system.files import new_file
from gcbench.system.locks import locked

Log = Callable[[str], None]


@contextmanager
def alone_on(device: str, wait: bool, tell: Log) -> Iterator[bool]:
    """Hold a device while measuring; yields whether no other gcbench measures there.

    Where another one does, `tell` gets a sentence; with `wait` this returns when the device is
    free. The system frees the lock of a process that dies. Where no lock can be had, the device
    counts as free.
    """
    path = lock_path(device_id(device))
    holder = path.with_suffix(".pid")
    with ExitStack() as held:
        try:
            alone = _locked(held, path, wait, tell, f"{device}{_who(holder)}")
        except OSError as error:
            tell(unlockable(path, error))
            yield True
            return
        if alone:
            # before the lock is freed
            held.callback(_forget, holder)
            with suppress(OSError):
                _leave_word(holder)
        yield alone


def _locked(held: ExitStack, path: Path, wait: bool, tell: Log, where: str) -> bool:
    if held.enter_context(locked(path)):
        return True
    if not wait:
        tell(f"warning: another gcbench measures on {where}: both disturb each other")
        return False
    tell(f"another gcbench measures on {where}: waiting for it (--no-wait does not)")
    return held.enter_context(locked(path, wait=True))


def _leave_word(holder: Path) -> None:
    # never through a link that somebody left there
    holder.unlink(missing_ok=True)
    with os.fdopen(new_file(holder), "w") as file:
        file.write(str(os.getpid()))


def _forget(holder: Path) -> None:
    with suppress(OSError):
        holder.unlink()


def _who(holder: Path) -> str:
    try:
        return f" (process {int(holder.read_text())})"
    except (OSError, ValueError):
        return ""
