"""How the samples of each row are spread, as small bars; and what a GPU does in a call."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from rich.cells import cell_len

from gcbench.columns import QUANTILES
from gcbench.distributions import histogram, quantile, samples
from gcbench.formats.layout import kernels_told
from gcbench.formats.text import printable
from gcbench.labels import full_label
from gcbench.records import ComparisonRecord, Run
from gcbench.store import Stored
from gcbench.tables import Place, Row
from gcbench.units import latency_text

BINS = 24
_BARS = " ▁▂▃▄▅▆▇█"
# what stands to the left of its column
_LEFT = 2


def lines(placed: Iterable[tuple[Row, Place]], run: Run | Stored) -> Iterator[str]:
    """Draw the samples of rows, a line each, from the least to the 99th percentile.

    The samples of one comparison are in memory at a time, below a heading of their own. Rows that
    were not timed have no line. What is known of kernels comes behind.
    """
    for _, group in groupby(placed, lambda each: each[0]["comparison"]):
        timed = [(row, place) for row, place in group if row["latency_us"] is not None]
        if timed:
            yield from _of_comparison(timed, run)
            yield from kernels_told(row for row, _ in timed)


def bars(counts: Sequence[int]) -> str:
    """Draw counts as letters; one that is not zero is seen beside any other.

    >>> bars([0, 1, 400, 800])
    ' ▁▄█'
    """
    most = max(counts)
    return "".join(_BARS[-(-(len(_BARS) - 1) * count // most)] for count in counts)


def _of_comparison(timed: Sequence[tuple[Row, Place]], run: Run | Stored) -> Iterator[str]:
    shape = "x".join(str(timed[0][0][axis]) for axis in ("batch", "channels", "height", "width"))
    yield f"samples at {shape}, on a log scale from the least to p99:"
    read = {number: run.comparison(number) for number in {place.record for _, place in timed}}
    table = [
        _cells(row, record, place.case) for row, place in timed if (record := read[place.record])
    ]
    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        gaps = [" " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)]
        sides = zip(cells, gaps, strict=True)
        yield "  ".join(c + g if i < _LEFT else g + c for i, (c, g) in enumerate(sides))


def _cells(row: Row, record: ComparisonRecord, case: int) -> list[str]:
    ordered = samples(record, case)
    ends = {"least": float(ordered[0]), "most": float(ordered[-1])}
    told = {**ends, **{f"p{percent}": quantile(ordered, percent) for percent in QUANTILES}}
    words = (f"{name} {_reading(told[name])}" for name in ("least", "p50", "p90", "p99", "most"))
    return [printable(full_label(row)), bars(histogram(ordered, BINS)), *words]


def _reading(ns: float) -> str:
    """One reading, to a hundredth of itself."""
    us = ns / 1e3
    return latency_text(us, us * 0.99, us * 1.01)
