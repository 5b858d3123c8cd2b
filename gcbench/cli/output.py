"""What a command leaves: the result on stdout, and files written whole or not at all."""

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gcbench.cli import faults
from gcbench.errors import StoppedError, UsageError, cause
from gcbench.files import replace_whole
from gcbench.formats.text import pasted
from gcbench.registry import Entry
from gcbench.streams import StdoutError, is_gone

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
    """Make sure that a file can be written. Raises UsageError, which names the option.

    `-` is stdout.
    """
    if path is None:
        return
    if is_stdout(path):
        require_stdout()
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
        raise UsageError(f"{option} {path}: cannot write there: {cause(error)}") from error
    except RuntimeError as error:  # so Python 3.12 and older tell of links that go round
        raise UsageError(f"{option} {path}: cannot write there: {error}") from error


def require_apart(files: Mapping[str, Path | None]) -> None:
    """Make sure that no two names are one file, or both stdout. Raises UsageError, with both."""
    seen: dict[object, str] = {}
    for name, path in files.items():
        if path is None:
            continue
        if is_stdout(path):
            if seen.setdefault("-", name) != name:
                raise UsageError(f"{seen['-']} and {name} both write to stdout: give one a file")
            continue
        try:
            # a file that is there may have two names without being a link
            file = path.stat() if path.exists() else None
        except OSError as error:
            raise UsageError(f"{name} {path}: cannot look there: {cause(error)}") from error
        place = (file.st_dev, file.st_ino) if file else os.path.realpath(path)
        other = seen.setdefault(place, name)
        if other != name:
            raise UsageError(f"{other} and {name} name the same file: {path}")


def require_free(csv: Path | None, output: Path | None) -> None:
    """Make sure that a CSV and a new run can be written. Raises UsageError, which says why not."""
    require_writable("--csv", csv)
    require_writable("--output", output, new=True)
    require_apart({"--csv": csv, "--output": output})


def is_stdout(path: Path | None) -> bool:
    """Whether a file's name is `-`, which stands for stdout."""
    return path is not None and str(path) == "-"


def write_whole(path: Path, content: bytes | str | Iterable[str]) -> None:
    """Write a file, piece by piece, so that a crash leaves the old one or the new one.

    A link stays a link, and a file that exists keeps its permissions; `-` is stdout. Raises
    UsageError.
    """
    pieces = [content] if isinstance(content, bytes | str) else content
    encoded = (each if isinstance(each, bytes) else each.encode() for each in pieces)
    if is_stdout(path):
        print_bytes(encoded)
        return
    try:
        replace_whole(path, encoded)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {cause(error)}") from error


def write_and_say(path: Path, content: bytes | str | Iterable[str]) -> None:
    """Write a file as `write_whole` does, and say so; of stdout nothing is said."""
    write_whole(path, content)
    if not is_stdout(path):
        faults.say(f"wrote {pasted(path)}")


@contextmanager
def beside_files(*files: Path | None) -> Iterator[None]:
    """Print what is in a file too, if one was named: then stdout that cannot take it is a warning.

    Raises UsageError where it was the only place.
    """
    try:
        yield
        # what is written now is written last of all
        sys.stdout.flush()
    except StdoutError as error:
        kept = " and ".join(pasted(path) for path in files if path)
        if not kept:
            raise
        faults.say(f"warning: {error}; what was measured is in {kept}")


def keep(run: "Run", path: Path) -> None:
    """Write a whole run to a new file, or to stdout. Raises RunError or UsageError."""
    from gcbench import store

    if is_stdout(path):
        print_bytes([store.encoded(run.manifest), *map(store.encoded, run.comparisons)])
    else:
        store.save(run, path)


def print_bytes(pieces: Iterable[bytes]) -> None:
    """Write bytes to stdout, until its reader has enough. Raises UsageError where it takes none."""
    require_stdout()
    sys.stdout.flush()
    for piece in pieces:
        sys.stdout.buffer.write(piece)
        if is_gone():
            return
    sys.stdout.buffer.flush()


def print_lines(lines: Iterable[str]) -> None:
    """Write lines to stdout, until its reader has enough. Raises UsageError where it takes none."""
    require_stdout()
    for line in lines:
        sys.stdout.write(line)
        if is_gone():
            return


def leave(
    run: "Run",
    rows: "Sequence[Row]",
    shown: Entry,
    csv: Path | None,
    output: Path | None,
    verbose: bool,
    within: float | None = None,
    **detail: "Detail",
) -> None:
    """Write what was measured to the files that were named, and print it in a format.

    Below it stands what of a network fits `within` a share of added latency, where that was asked
    for. A file that cannot be written does not lose the others, nor does a closed stdout. Raises
    RunError or UsageError then, and StoppedError where a person ended the measurement.
    """
    from gcbench import tables
    from gcbench.formats import FORMATS

    try:
        if output:
            keep(run, output)
        if csv:
            write_whole(csv, FORMATS["csv"].load()(rows, run.manifest))
    finally:
        if not (is_stdout(output) or is_stdout(csv)):
            with beside_files(output, csv):
                show(rows, run.manifest, shown, None, **detail)
                if within is not None:
                    show_within(rows, within)
                if verbose and shown.name == "table":
                    show_samples(tables.placed(run), run)
    if run.interrupted:
        raise StoppedError("interrupted: the table is of what was measured until then")


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
        print_lines(shown.load()(what, manifest, watch, **detail))
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
        if is_gone():
            return


def show_samples(placed: "Iterable[tuple[Row, Place]]", run: "Run | Stored") -> None:
    """Print how the samples of each row are spread, and what a call makes a GPU do."""
    from gcbench.formats import histogram

    print_lines(f"{line}\n" for line in histogram.lines(placed, run))


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
            print_lines(written(found))


def require_somewhere(*files: Path | None) -> None:
    """Make sure that a result has somewhere to go, a file or stdout. Raises UsageError."""
    if not any(files):
        require_stdout()


def require_stdout() -> None:
    """Make sure that a result has somewhere to go. Raises UsageError."""
    if not sys.stdout:
        raise StdoutError("stdout is closed, so the result has nowhere to go: --csv writes a file")


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
