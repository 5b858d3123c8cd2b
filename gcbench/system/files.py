"""Files written whole or not at all."""

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def new_file(path: Path, how: int = os.O_WRONLY) -> int:
    """Open a file that is not there yet: nobody else's, and none that a link leads to."""
    return os.open(path, how | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """Name a file beside another that nobody can foresee, which is gone in the end.

    Unless it was given the other's name by then.
    """
    part = path.with_name(f".gcbench-{secrets.token_hex(8)}.part")
    try:
        yield part
    finally:
        with suppress(OSError):
            part.unlink()


def replace_whole(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file so that a crash leaves the old one or the new one, and a failure nothing else.

    A link stays a link, and a file that exists keeps its permissions. Raises OSError.
    """
    target = path.resolve()
    with unfinished(target) as part:
        with os.fdopen(new_file(part), "wb") as file:
            file.writelines(pieces)
        if target.exists():
            shutil.copymode(target, part)
        part.replace(target)
