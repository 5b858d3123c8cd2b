"""CSV: a line for each row, every column, full digits, empty where there is nothing."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping

from gcbench.records import Cell
from gcbench.report.document import Document, Row
from gcbench.report.text import inert, printable


def write(document: Document) -> Iterator[str]:
    """Write rows behind a header, a line at a time; what they share stands behind their cells."""
    headed = False
    for row in document.rows():
        own = {name for name, cell in row.items() if not isinstance(cell, Mapping)}
        shared = {name: cell for name, cell in document.shared.items() if name not in own}
        if not headed:
            headed = True
            yield _line((*(name for name, _ in _cells(row)), *shared))
        yield _line((*(cell for _, cell in _cells(row)), *shared.values()))
    if not headed:
        shared = {n: cell for n, cell in document.shared.items() if n not in document.columns}
        yield _line((*document.columns, *shared))


def _cells(row: Row) -> Iterator[tuple[str, Cell]]:
    for name, cell in row.items():
        if isinstance(cell, Mapping):
            yield from cell.items()
        else:
            yield name, cell


def _line(cells: Iterable[Cell]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(
        inert(printable(cell)) if isinstance(cell, str) else cell for cell in cells
    )
    return out.getvalue()
