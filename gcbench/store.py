"""Runs on disk: the only file that knows what one looks like.

A run is a text file of JSON lines: the manifest, then one line for each comparison, raw samples and
all.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from gcbench.errors import RunError
from gcbench.records import SCHEMA, ComparisonRecord, Manifest, Run, Status
from gcbench.units import size_text

Line = TypeVar("Line", Manifest, ComparisonRecord)


def save(run: Run, path: Path) -> None:
    """Write a run to a new file. Raises RunError where the file exists or cannot be written."""
    try:
        with path.open("xb") as file:
            for record in (run.manifest, *run.comparisons):
                file.write(msgspec.json.encode(record) + b"\n")
    except OSError as error:
        raise RunError(f"cannot write the run {path}: {error.strerror}") from error


def load(path: Path) -> Run:
    """Read a run. Raises RunError, which names the file and the line, where it is not one."""
    lines = _lines(path)
    manifest = _decoded(next(lines, (1, b"")), Manifest, path)
    if manifest.schema != SCHEMA:
        raise RunError(f"{path} has schema {manifest.schema}; this gcbench reads schema {SCHEMA}")
    return Run(manifest, tuple(_decoded(line, ComparisonRecord, path) for line in lines))


def to_json(record: Manifest) -> str:
    """Write a manifest as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2).decode()


def lines_of(record: Manifest) -> Iterator[tuple[str, str]]:
    """List a manifest's fields as names and short text; what is empty or unknown is left out."""
    for name, value in msgspec.to_builtins(record).items():
        if isinstance(value, dict):
            yield from ((f"{name}.{key}", str(text)) for key, text in value.items())
        elif name not in ("run", "seed", "command", "warnings", "schema") and value is not None:
            size = name.endswith("_bytes")
            yield name.removesuffix("_bytes"), size_text(value) if size else str(value)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            yield from enumerate(file, start=1)
    except OSError as error:
        raise RunError(f"cannot read the run {path}: {error.strerror}") from error


def _decoded(line: tuple[int, bytes], kind: type[Line], path: Path) -> Line:
    number, text = line
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        what = "a manifest" if kind is Manifest else "a comparison"
        raise RunError(f"{path} line {number} is not {what} of a gcbench run: {error}") from error


# STAND-IN until branch keep is merged


class RunFile:
    """Stand-in."""

    def __init__(self, path: Path) -> None:
        """Stand-in."""
        self._file = path.open("ab")

    def __enter__(self) -> "RunFile":
        """Stand-in."""
        return self

    def __exit__(self, *failure: object) -> None:
        """Stand-in."""
        self._file.close()

    def append(self, record: ComparisonRecord | Manifest) -> None:
        """Stand-in."""
        self._file.write(msgspec.json.encode(record) + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def create(path: Path, manifest: Manifest) -> RunFile:
    """Stand-in."""
    run = RunFile(path)
    run.append(manifest)
    return run


def resume(path: Path, tell: Callable[[str], None]) -> RunFile:
    """Stand-in."""
    return RunFile(path)


def manifest(path: Path) -> Manifest:
    """Stand-in."""
    return _decoded(next(_lines(path), (1, b"")), Manifest, path)


def records(path: Path) -> Iterator[ComparisonRecord]:
    """Stand-in."""
    lines = _lines(path)
    next(lines)
    for line in lines:
        yield _decoded(line, ComparisonRecord, path)


def statuses(path: Path) -> dict[str, Status]:
    """Stand-in."""
    return {m.case.key: m.status for record in records(path) for m in record.measurements}
