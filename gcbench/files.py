"""Files written whole or not at all."""

import os
import secrets
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

# nobody else's file, and none that a link leads to
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)


def beside(path: Path) -> Path:
    """Name a file beside another that nobody can foresee, for what is not finished yet."""
    return path.with_name(f".gcbench-{secrets.token_hex(8)}.part")


def replace_whole(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file so that a crash leaves the old one or the new one, and a failure nothing else.

    A link stays a link, and a file that exists keeps its permissions. Raises OSError.
    """
    target = path.resolve()
    part = beside(target)
    try:
        with os.fdopen(os.open(part, _NEW, 0o666), "wb") as file:
            file.writelines(pieces)
        if target.exists():
            shutil.copymode(target, part)
        part.replace(target)
    finally:
        with suppress(OSError):
            part.unlink()
