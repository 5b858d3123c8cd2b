"""What a command leaves: the result on stdout, and files written whole or not at all."""

import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gcbench.errors import UsageError
from gcbench.registry import Entry

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType


def require_writable(option: str, path: Path | None, new: bool = False) -> None:
    """Make sure that a file can be written. Raises UsageError, which names the option."""
    if path is None:
        return
    try:
        exists, folder = path.exists(), path.resolve().parent
        if path.is_dir():
            raise UsageError(f"{option} {path}: that is a folder; give a file in it")
        if not folder.is_dir():
            raise UsageError(f"{option} {path}: there is no folder {folder}; make it first")
        if new and (exists or path.is_symlink()):
            raise UsageError(
                f"{option} {path}: that file exists already, and no run is overwritten"
            )
        if exists and not path.is_file():
            raise UsageError(f"{option} {path}: that is no regular file")
        # the folder is asked, not its permissions: root and odd file systems differ
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".gcbench-"):
            pass
    except OSError as error:
        raise UsageError(f"{option} {path}: cannot write there: {error.strerror}") from error


def require_free(csv: Path | None, output: Path | None) -> None:
    """Make sure that a CSV and a new run can be written. Raises UsageError, which says why not."""
    require_writable("--csv", csv)
    require_writable("--output", output, new=True)
    if csv and output and csv.resolve() == output.resolve():
        raise UsageError(f"--csv and --output name the same file: {csv}")


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a crash leaves the old one or the new one. Raises UsageError.

    A link stays a link, and a file that exists keeps its permissions.
    """
    target = path.resolve()
    part = target.with_name(f".gcbench-{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        if target.exists():
            shutil.copymode(target, part)
        part.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def show(table: "pd.DataFrame", shown: Entry) -> None:
    """Print a table on stdout in a format; the table for people in colour on a terminal."""
    if shown.name == "table" and sys.stdout and sys.stdout.isatty():
        from rich.console import Console

        from gcbench.formats.terminal import renderable

        console = Console()
        console.print(renderable(table, console.width))
    else:
        print(shown.load()(table), end="")


def show_laid_out(what: "RenderableType") -> None:
    """Print what rich lays out on stdout: in colour on a terminal, as plain text elsewhere."""
    from rich.console import Console

    from gcbench.formats.terminal import plain

    if sys.stdout.isatty():
        Console().print(what)
    else:
        print(plain(what), end="")
