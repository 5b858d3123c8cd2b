"""CSV: one row a case, every column, full digits, empty where not measured."""

import csv
import io
from collections.abc import Iterable, Iterator

from gcbench.findings import Watch
from gcbench.formats.detail import Detail
from gcbench.formats.pivot import Pivot
from gcbench.formats.text import inert, printable
from gcbench.records import Cell, Manifest
from gcbench.tables import COLUMNS, Row


def render(
    rows: Iterable[Row],
    manifest: Manifest,
    watch: Watch | None = None,
    detail: Detail = Detail.NONE,
) -> Iterator[str]:
    """Write rows as comma-separated values behind a header, a line at a time."""
    return lines_of(rows, COLUMNS)


def lines_of(rows: Iterable[Row], names: Iterable[str]) -> Iterator[str]:
    """Write rows behind a header of their own names; behind `names` where there is no row."""
    header: Iterable[str] | None = None
    for row in rows:
        if header is None:
            header = tuple(row)
            yield _line(header)
        yield _line(row.values())
    if header is None:
        yield _line(names)


def pivoted(
    pivot: Pivot, manifest: Manifest, watch: Watch | None = None, detail: Detail = Detail.NONE
) -> Iterator[str]:
    """Write a pivot with full digits; a case that has no value has its status.

    Behind the values every line has what they rest on.
    """
    carried = {name: cell for name, cell in pivot.carried.items() if name not in pivot.row_names}
    yield _line((*pivot.row_names, *pivot.columns, *carried))
    for labels, cells in pivot.lines:
        yield _line((*labels, *(cell.value for cell in cells), *carried.values()))


def _line(cells: Iterable[Cell]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(
        inert(printable(cell)) if isinstance(cell, str) else cell for cell in cells
    )
    return out.getvalue()
