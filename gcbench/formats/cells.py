"""A row's cells as people read them."""

import math
from collections.abc import Callable

from gcbench.tables import Row
from gcbench.units import (
    count_text,
    duration_text,
    factor_text,
    latency_text,
    number_text,
    percent_text,
    size_text,
)

_COUNTS = (
    *("params", "macs", "flops", "call_macs", "call_conv_macs"),
    *("params_added", "macs_added"),
)
# by the end of a column's name, which is its unit
_UNITS: dict[str, Callable[[float], str]] = {
    "_us": lambda us: latency_text(us, -math.inf, math.inf),
    "_ms": duration_text,
    "_bytes": lambda size: size_text(int(size)),
    "_fraction": percent_text,
    "copies": factor_text,
    "_per_s": factor_text,
}


def shown(row: Row, column: str) -> str:
    """Write a cell with the digits that it supports; empty where there is nothing."""
    value = row[column]
    if value is None or isinstance(value, str):
        return value or ""
    if column.startswith("latency_us"):
        # an end, or the shortest sample, with the digits of the median
        return latency_text(value, *estimate(row, "latency_us")[1:])
    if column == "relative":
        return "1" if row["verdict"] == "baseline" else number_text(*estimate(row, column))
    if column in _COUNTS:
        return count_text(value)
    unit = next((text for end, text in _UNITS.items() if column.endswith(end)), None)
    if unit:
        return unit(value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def estimate(row: Row, column: str) -> tuple[float, float, float]:
    """A value with the ends of its interval, infinite where those are not known."""
    mid, lo, hi = (row[name] for name in (column, f"{column}_lo", f"{column}_hi"))
    return (mid, -math.inf, math.inf) if lo is None or hi is None else (mid, lo, hi)
