"""CSV: one row a case, every column, full digits, empty where not measured."""

import csv
import io
from collections.abc import Iterable, Iterator

from gcbench.formats.pivot import Pivot
from gcbench.formats.text import inert, printable
from gcbench.records import Cell, Manifest
from gcbench.tables import COLUMNS, Row


def render(rows: Iterable[Row], manifest: Manifest) -> Iterator[str]:
    """Write rows as comma-separated values behind a header, a line at a time."""
    yield _line(COLUMNS)
    for row in rows:
        yield _line(row.values())


def pivoted(pivot: Pivot, manifest: Manifest) -> Iterator[str]:
    """Write a pivot with full digits; a case that has no value has its status."""
    yield _line((*pivot.row_names, *pivot.columns))
    for labels, cells in pivot.lines:
        yield _line((*labels, *(cell.value for cell in cells)))


def _line(cells: Iterable[Cell]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(
        inert(printable(cell)) if isinstance(cell, str) else cell for cell in cells
    )
    return out.getvalue()
