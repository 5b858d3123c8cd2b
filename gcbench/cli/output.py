"""What a command leaves: the result on stdout, and files written whole or not at all."""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gcbench.errors import UsageError
from gcbench.registry import Entry

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gcbench.findings import Watch
    from gcbench.formats.detail import Detail
    from gcbench.formats.layout import Layout
    from gcbench.formats.pivot import Pivot
    from gcbench.records import Manifest, Run
    from gcbench.store import Stored
    from gcbench.tables import Place, Row


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
    except RuntimeError as error:  # so Python 3.12 and older tell of links that go round
        raise UsageError(f"{option} {path}: cannot write there: {error}") from error


def require_apart(files: Mapping[str, Path | None]) -> None:
    """Make sure that no two names are one file. Raises UsageError, which names both."""
    seen: dict[object, str] = {}
    for name, path in files.items():
        if path is None:
            continue
        # a file that is there may have two names without being a link
        file = path.stat() if path.exists() else None
        place = (file.st_dev, file.st_ino) if file else os.path.realpath(path)
        other = seen.setdefault(place, name)
        if other != name:
            raise UsageError(f"{other} and {name} name the same file: {path}")


def require_free(csv: Path | None, output: Path | None) -> None:
    """Make sure that a CSV and a new run can be written. Raises UsageError, which says why not."""
    require_writable("--csv", csv)
    require_writable("--output", output, new=True)
    require_apart({"--csv": csv, "--output": output})


def write_whole(path: Path, content: bytes | str | Iterable[str]) -> None:
    """Write a file, piece by piece, so that a crash leaves the old one or the new one.

    A link stays a link, and a file that exists keeps its permissions. Raises UsageError.
    """
    target = path.resolve()
    part = target.with_name(f".gcbench-{os.getpid()}.part")
    try:
        if isinstance(content, bytes):
            part.write_bytes(content)
        else:
            with part.open("w", encoding="utf-8", newline="") as file:
                file.writelines([content] if isinstance(content, str) else content)
        if target.exists():
            shutil.copymode(target, part)
        part.replace(target)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def show(
    what: "Iterable[Row] | Pivot",
    manifest: "Manifest",
    shown: Entry,
    watch: "Watch | None" = None,
    **detail: "Detail",
) -> None:
    """Print rows or a pivot on stdout in a format; the table in colour on a terminal.

    What the rows show that went by under a watch stands below them. `detail`, where it is given,
    is how much is told below a table.

    Raises UsageError where stdout cannot take it.
    """
    require_stdout()
    if shown.name != "table" or not sys.stdout.isatty():
        sys.stdout.writelines(shown.load()(what, manifest, watch, **detail))
        return
    from rich.console import Console

    from gcbench.formats.pivot import Pivot
    from gcbench.formats.terminal import coloured, coloured_pivot

    console = Console(highlight=False)
    width = console.width
    lines = (
        coloured_pivot(what, width, watch, **detail)
        if isinstance(what, Pivot)
        else coloured(what, manifest, width, watch, **detail)
    )
    for line in lines:
        console.print(line)


def show_samples(placed: "Iterable[tuple[Row, Place]]", run: "Run | Stored") -> None:
    """Print how the samples of each row are spread, and what a call makes a GPU do."""
    from gcbench.formats import histogram

    sys.stdout.writelines(f"{line}\n" for line in histogram.lines(placed, run))


def show_within(rows: "Sequence[Row]", share: float) -> None:
    """Print which variants of a network fit into an added latency, below their table."""
    from itertools import groupby

    from gcbench.findings.within import settings
    from gcbench.formats.terminal import written
    from gcbench.formats.within import layout

    for _, group in groupby(rows, lambda row: row["comparison"]):
        found = [layout(settings(list(group), share), share)]
        print()
        if sys.stdout.isatty():
            print_in_colour(found)
        else:
            sys.stdout.writelines(written(found))


def require_stdout() -> None:
    """Make sure that a result has somewhere to go. Raises UsageError."""
    if not sys.stdout:
        raise UsageError("stdout is closed, so the result has nowhere to go: --csv writes a file")


def print_in_colour(layouts: "Iterable[Layout]", **detail: "Detail") -> None:
    """Print tables on a terminal, no wider than it is."""
    from rich.console import Console

    from gcbench.formats.terminal import coloured_layouts

    console = Console(highlight=False)
    for line in coloured_layouts(layouts, console.width, **detail):
        console.print(line)


def show_laid_out(what: "RenderableType") -> None:
    """Print what rich lays out on stdout: in colour on a terminal, as plain text elsewhere."""
    from rich.console import Console

    from gcbench.formats.terminal import plain

    if sys.stdout.isatty():
        Console().print(what)
    else:
        print(plain(what), end="")
