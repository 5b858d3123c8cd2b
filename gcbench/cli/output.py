"""What a command leaves: the result on stdout, and files written whole or not at all."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gcbench.errors import UsageError
from gcbench.registry import Entry

if TYPE_CHECKING:
    import pandas as pd


def require_writable(option: str, path: Path | None, new: bool = False) -> None:
    """Make sure that a file can be written. Raises UsageError, which names the option."""
    if path is None:
        return
    folder = path.parent
    if path.is_dir():
        raise UsageError(f"{option} {path}: that is a folder; give a file in it")
    if not folder.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {folder}; make it first")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise UsageError(f"{option} {path}: no permission to write there")
    if new and path.exists():
        raise UsageError(
            f"{option} {path}: that file exists already, and a run is never overwritten"
        )


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a crash leaves the old one or the new one. Raises UsageError."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def show(table: "pd.DataFrame", shown: Entry) -> None:
    """Print a table on stdout in a format; the table for people in colour on a terminal."""
    if shown.name == "table" and sys.stdout.isatty():
        from rich.console import Console

        from gcbench.formats.terminal import renderable

        console = Console()
        console.print(renderable(table, console.width))
    else:
        print(shown.load()(table), end="")
