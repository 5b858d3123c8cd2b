"""Rows in an order that was asked for."""

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import NamedTuple

from gcbench.errors import UsageError
from gcbench.registry import suggestion
from gcbench.results.tables import COLUMNS, Row

# names that are no column, and the columns by which they sort
_MADE = {
    "size": ("height", "width"),
    "shape": ("batch", "channels", "height", "width"),
}


class Key(NamedTuple):
    """A column to sort by, ascending or descending."""

    column: str
    descending: bool


class Ordered(list[Row]):
    """Rows whose order goes across comparisons: a table for people shows them as one."""


def parse_sort(option: str, text: str, known: Sequence[str] = (*COLUMNS, *_MADE)) -> list[Key]:
    """Read columns with commas between, a minus before one that descends. Raises UsageError.

    >>> parse_sort("--sort", "block,-latency_us")
    [Key(column='block', descending=False), Key(column='latency_us', descending=True)]
    """
    keys = [
        Key(name.removeprefix("-"), name.startswith("-"))
        for name in (part.strip() for part in text.split(","))
    ]
    for column, _ in keys:
        if column not in known:
            raise UsageError(f"{option} {column!r} is no column: {suggestion(column, known)}")
    return keys


def ordered(rows: Iterable[Row], keys: Sequence[Key]) -> Ordered:
    """Sort rows by the first key, those alike in it by the next; what is missing comes last."""
    found = Ordered(rows)
    for column, descending in reversed(keys):
        read = itemgetter(*_MADE.get(column, (column,)))
        known = sorted(
            (row for row in found if read(row) is not None), key=read, reverse=descending
        )
        # last, whichever way the others go
        found[:] = [*known, *(row for row in found if read(row) is None)]
    return found
