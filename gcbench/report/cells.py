"""A row's cells as people read them."""

import math
from collections.abc import Callable

from gcbench.column import Unit
from gcbench.columns import COLUMNS
from gcbench.results.tables import Row
from gcbench.units import (
    count_text,
    duration_text,
    factor_text,
    latency_text,
    number_text,
    percent_text,
    size_text,
)

Text = Callable[[float, float, float], str]
# how a value is written, given the ends of what it is known to
_TEXTS: dict[Unit, Text] = {
    "us": latency_text,
    "ms": lambda ms, lo, hi: duration_text(ms),
    "s": lambda seconds, lo, hi: duration_text(1e3 * seconds),
    "B": lambda size, lo, hi: size_text(int(size)),
    **dict.fromkeys(("MACs", "FLOPs", "parameters"), lambda count, lo, hi: count_text(int(count))),
    **dict.fromkeys(("images/s", "times"), lambda factor, lo, hi: factor_text(factor)),
    "share": lambda share, lo, hi: percent_text(share),
}


def shown(row: Row, name: str) -> str:
    """Write a cell with the digits that it supports; empty where there is nothing."""
    value, column = row[name], COLUMNS[name]
    if value is None or isinstance(value, str):
        return value or ""
    if name == "relative" and row["verdict"] == "baseline":
        return "1"
    # an end, or the shortest sample, has the digits of the median
    ends = estimate(row, column.digits_of)[1:] if column.digits_of else (-math.inf, math.inf)
    if column.unit in _TEXTS:
        return _TEXTS[column.unit](value, *ends)
    if column.digits_of:
        return number_text(value, *ends)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def estimate(row: Row, column: str) -> tuple[float, float, float]:
    """A value with the ends of its interval, infinite where those are not known."""
    mid, lo, hi = (row[name] for name in (column, f"{column}_lo", f"{column}_hi"))
    return (mid, -math.inf, math.inf) if lo is None or hi is None else (mid, lo, hi)
