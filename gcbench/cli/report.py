"""`gcbench report`: a stored run, read again."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from gcbench.cli import faults, options
from gcbench.cli.stored import named, opened
from gcbench.cli.taking import takes
from gcbench.errors import UsageError
from gcbench.options.table import format_of
from gcbench.report import FORMATS

if TYPE_CHECKING:
    from gcbench.results.tables import Address, Row
    from gcbench.spec.filters import Where
    from gcbench.store import Stored


@takes("report", format_of([entry.name for entry in FORMATS]))
def report(
    run: Path | None,
    format: str,
    where: str | None,
    sort: str | None,
    rows: str | None,
    columns: str | None,
    value: str | None,
    csv: Path | None,
    output: Path | None,
    verbose: bool,
    quiet: bool,
) -> None:
    """Show a stored run: every case, or one value of each in rows and columns."""
    from gcbench.analysis.sections import Watch
    from gcbench.cli.output import leave, require_apart, require_writable, rows_of
    from gcbench.report import PIVOTS, cases
    from gcbench.report.order import ordered, parse_sort
    from gcbench.report.pivot import parse_name, pivot
    from gcbench.results import tables
    from gcbench.spec.filters import parse_where

    pivoted = bool(rows or columns or value)
    shown = (PIVOTS if pivoted else FORMATS)[format]
    detail = options.read_detail(verbose, quiet)
    down = [parse_name("--rows", name.strip()) for name in rows.split(",")] if rows else []
    across = None if columns is None else parse_name("--columns", columns)
    told = None if value is None else parse_name("--value", value)
    keys = None if sort is None else parse_sort("--sort", sort)
    kept = None if where is None else parse_where("--where", where, tables.KINDS, "is no column")
    run = named(run)
    require_apart({"the run": run, "--csv": csv, "--output": output})
    require_writable("--csv", csv)
    require_writable("--output", output)
    stored = opened(run)
    if not stored.outlines:
        faults.info(f"{run} was begun at {stored.manifest.started} and holds no comparison")

    def chosen() -> "Iterator[tuple[Row, Address]]":
        return _kept(stored, kept)

    def read(
        watched: "Callable[[Iterator[tuple[Row, Address]]], Iterator[Row]]",
    ) -> "Iterable[Row]":
        return ordered(watched(chosen()), keys) if keys else watched(chosen())

    all_rows = cases.cases(lambda: read(lambda placed: (row for row, _ in placed)), stored.manifest)
    if csv and not (pivoted or output or format != "table"):
        # who asked for a file of a large run has no use for its tables
        rows_of(all_rows)(csv)
        return
    watch = Watch(stored)
    if pivoted:
        made = pivot(read(watch.over), down, across, told)
        document = cases.pivoted(made, stored.manifest, watch)
    else:
        samples = cases.samples(chosen, stored)
        document = cases.cases(lambda: read(watch.over), stored.manifest, watch, samples)
    leave(document, shown, output, [(csv, rows_of(all_rows))], detail=detail)


def _kept(stored: "Stored", where: "Where | None") -> "Iterator[tuple[Row, Address]]":
    """The rows for which a condition holds. Raises UsageError where it leaves nothing of a run."""
    from gcbench.results import tables

    placed = tables.placed(stored)
    if where is None:
        return placed
    left = (each for each in placed if where.holds(each[0]))
    first = next(left, None)
    if first is None and stored.outlines:
        raise UsageError(f"--where {where.text!r} leaves no case of the run")
    return left if first is None else chain([first], left)
