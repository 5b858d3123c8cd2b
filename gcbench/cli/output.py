"""What a command leaves: the result on stdout, and files written whole or not at all."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gcbench.cli import faults
from gcbench.errors import StoppedError, UsageError, cause
from gcbench.report.text import pasted
from gcbench.system.files import replace_whole
from gcbench.system.streams import StdoutError, is_gone

if TYPE_CHECKING:
    from gcbench.records import Run
    from gcbench.report import Format
    from gcbench.report.detail import Detail
    from gcbench.report.document import Document
    from gcbench.results.tables import Row

# writes a file
Writing = Callable[[Path], None]


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


def require_free(csv: Path | None, run: Path | None, write: Path | None) -> None:
    """Make sure that results and a new run can be written. Raises UsageError, which says why not.

    Without a file stdout has to take the result.
    """
    require_writable("--csv", csv)
    require_writable("--output", run, new=True)
    require_writable("--write", write)
    require_apart({"--csv": csv, "--output": run, "--write": write})
    if not (csv or run or write):
        require_stdout()


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
        faults.info(f"wrote {pasted(path)}")


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
        faults.info(f"warning: {error}; what was measured is in {kept}")


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
    document: "Document",
    shown: "Format",
    to: Path | None = None,
    beside: "Sequence[tuple[Path | None, Writing]]" = (),
    kept: Path | None = None,
    detail: "Detail | None" = None,
) -> None:
    """Write what a command tells to a file, where one was named, or print it, in a format.

    `beside` are other files that may have been named, each with what writes it; `kept` is one that
    holds already what was measured. Each is written whatever becomes of the others, and where none
    of them is stdout that gets the document in any case. Raises RunError or UsageError where one
    could not be written.
    """
    document = replace(document, detail=detail)
    files = [*beside, (to, lambda path: write_and_say(path, shown.load()(document)))]
    with ExitStack() as steps:
        # they are called from the last to the first
        if to is None and not any(is_stdout(path) for path, _ in beside):
            steps.callback(_print, document, shown, [kept, *(path for path, _ in beside)])
        for path, writing in reversed(files):
            if path:
                steps.callback(writing, path)


def leave_run(
    run: "Run",
    rows: "Sequence[Row]",
    shown: "Format",
    write: Path | None,
    csv: Path | None,
    output: Path | None,
    within: float | None = None,
    detail: "Detail | None" = None,
) -> None:
    """Leave the cases of a run that was just measured: the run itself, and its rows.

    Below them stands what of a network fits `within` a share of added latency, where that was asked
    for. Raises RunError or UsageError where a file could not be written, and StoppedError where a
    person ended the measurement.
    """
    from gcbench.report import cases
    from gcbench.results import tables

    drawn = cases.samples(lambda: tables.placed(run), run)
    fitting = () if within is None else tuple(cases.within(rows, within))
    document = cases.cases(lambda: rows, run.manifest, below=lambda told: [*fitting, *drawn(told)])
    files = [(output, lambda path: keep(run, path)), (csv, rows_of(document))]
    leave(document, shown, write, files, detail=detail)
    if run.interrupted:
        raise StoppedError("interrupted: the table is of what was measured until then")


def rows_of(document: "Document") -> "Writing":
    """What writes the rows of a document to a file, every column."""
    from gcbench.report import FORMATS

    return lambda path: write_and_say(path, FORMATS["csv"].load()(document))


def _print(document: "Document", shown: "Format", files: Iterable[Path | None]) -> None:
    with beside_files(*files):
        print_lines(shown.writer()(document))


def require_stdout() -> None:
    """Make sure that a result has somewhere to go. Raises UsageError."""
    if not sys.stdout:
        raise StdoutError("stdout is closed, so the result has nowhere to go: --csv writes a file")
