"""Runs read back: whole, line by line, or only what became of each case; one row a case."""

import itertools
import stat
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from gcbench.errors import RunError, cause
from gcbench.records import ComparisonRecord, Manifest, Measurement, Outline, Run, Status
from gcbench.store.format import Log, manifest_of, outline_of, record_of

# a first line longer than this is no manifest
LONGEST_MANIFEST = 2**24

What = TypeVar("What")


@dataclass(frozen=True)
class Stored:
    """A run that stays on disk: its manifest, and each comparison's outline, line and offset."""

    path: Path
    manifest: Manifest
    outlines: Sequence[Outline]
    lines: Sequence[tuple[int, int]]
    tell: Log

    def comparison(self, position: int) -> ComparisonRecord | None:
        """Read one comparison, samples and all; told and None where its samples are damaged.

        Raises RunError where the file can no longer be read.
        """
        number, offset = self.lines[position]
        with _opened(self.path) as file:
            file.seek(offset)
            line = file.readline()
        try:
            return _named(self.path, number, line, self._record)
        except RunError as error:
            self.tell(str(error))
            return None

    def _record(self, line: bytes) -> ComparisonRecord:
        return record_of(line, self.manifest.schema)


def refuse(message: str) -> None:
    """Take no damage: raise what would be told. Raises RunError."""
    raise RunError(message)


def ignore(message: str) -> None:
    """Pass over what would be told."""


def load(path: Path, tell: Log = refuse) -> Run:
    """Read a run into memory.

    Raises RunError, which names the file, where it is not one. A damaged line is named to `tell`
    and left out; where none is given, that is a RunError too.
    """
    return Run(manifest(path), tuple(records(path, tell)))


def manifest(path: Path) -> Manifest:
    """Read the first line of a run. Raises RunError where the file is no run."""
    with _opened(path) as file:
        return _named(path, 1, file.readline(LONGEST_MANIFEST), manifest_of)


def records(path: Path, tell: Log) -> Iterator[ComparisonRecord]:
    """Read the comparisons one after the other, as they were written, retried ones and all.

    A damaged line is named to `tell` and left out. Raises RunError where the file is no run.
    """
    schema = manifest(path).schema
    for _, _, record in _each(path, lambda line: record_of(line, schema), tell):
        yield record


def open_run(path: Path, tell: Log) -> Stored:
    """Look through a run without its samples.

    A damaged line is named to `tell` and left out. Raises RunError where the file is no run.
    """
    head = manifest(path)
    found = list(_each(path, outline_of, tell))
    return Stored(path, head, [each[2] for each in found], [each[:2] for each in found], tell)


def statuses(path: Path, tell: Log = ignore) -> dict[str, Status]:
    """Say what became of each case so far, by its `identity`: ok once it was, else as last tried.

    Fast, since samples are passed over. Raises RunError where the file is no run.
    """
    outlines = open_run(path, tell).outlines
    return {
        outlines[record].keys[position]: outlines[record].statuses[position]
        for comparison in chosen(outlines)
        for record, position in comparison
    }


def shortages(path: Path) -> dict[str, list[Measurement]]:
    """The cases that had run out of memory when they were last tried, by node.

    Raises RunError where the file is no run.
    """
    stored, found = open_run(path, ignore), defaultdict[str, list[Measurement]](list)
    out = defaultdict[int, list[int]](list)
    for record, position in itertools.chain.from_iterable(chosen(stored.outlines)):
        if stored.outlines[record].statuses[position] == "oom":
            out[record].append(position)
    # a record has all its samples with it, so each is read once
    for record, positions in out.items():
        read = stored.comparison(record)
        if read:
            node = (read.machine or stored.manifest).node
            found[node] += [read.measurements[position] for position in positions]
    return dict(found)


def _each(path: Path, read: Callable[[bytes], What], tell: Log) -> Iterator[tuple[int, int, What]]:
    """The number, offset and content of every line behind the first that can be read."""
    start = 0
    for number, line in enumerate(_raw(path), start=1):
        offset, start = start, start + len(line)
        try:
            if number > 1:
                yield number, offset, _named(path, number, line, read)
        except RunError as error:
            # a line without its end was being written
            whole = line.endswith(b"\n")
            tell(str(error) if whole else f"{path} line {number} is not finished")


def _raw(path: Path) -> Iterator[bytes]:
    with _opened(path) as file:
        try:
            yield from file
        except OSError as error:
            raise RunError(f"cannot read the run {path}: {cause(error)}") from error


def _named(path: Path, number: int, line: bytes, read: Callable[[bytes], What]) -> What:
    try:
        return read(line)
    except RunError as error:
        raise RunError(f"{path} line {number} {error}") from error


def _opened(path: Path) -> BinaryIO:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            what = "a folder" if path.is_dir() else "no regular file"
            raise RunError(f"cannot read the run {path}: that is {what}")
        return path.open("rb")
    except OSError as error:
        raise RunError(f"cannot read the run {path}: {cause(error)}") from error
    except ValueError as error:
        raise RunError(f"cannot read the run {str(path)!r}: {error}") from error


def chosen(outlines: Sequence[Outline]) -> list[list[tuple[int, int]]]:
    """Say where each case of a run is to be read: every key once.

    One list for each comparison that brought new keys, with the record and the position in it of
    every one of them: the first record where the case is ok, else the newest, where one that only
    skipped it does not count beside one that tried it. The lists stand in the order of the grid
    where records tell their place in it, else as they were written.

    >>> first, retried = Outline(("gc", "nl"), ("ok", "oom")), Outline(("gc", "nl"), ("ok", "ok"))
    >>> chosen([first, retried])
    [[(0, 0), (1, 1)]]
    """
    where: dict[str, tuple[int, int]] = {}
    became: dict[str, Status] = {}
    new: list[tuple[int, list[str]]] = []
    for record, outline in enumerate(outlines):
        fresh = [key for key in dict.fromkeys(outline.keys) if key not in where]
        new.append((outline.place, fresh))
        for position, (key, status) in enumerate(zip(outline.keys, outline.statuses, strict=True)):
            before = became.get(key, "skipped")
            if before == "ok" or (status == "skipped" and before != "skipped"):
                continue
            where[key], became[key] = (record, position), status
    in_grid = sorted(new, key=lambda each: each[0])
    return [[where[key] for key in keys] for _, keys in in_grid if keys]
