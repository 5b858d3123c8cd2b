"""How the samples of each row are spread, as small bars; and what a GPU does in a call."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from gcbench.columns import QUANTILES
from gcbench.records import ComparisonRecord, Run
from gcbench.report.document import Layout
from gcbench.results.tables import Address, Row
from gcbench.spec.labels import full_label
from gcbench.stats.distributions import histogram, quantile, samples
from gcbench.store import Stored
from gcbench.units import counted, latency_text

BINS = 24
_BARS = " ▁▂▃▄▅▆▇█"
# what stands to the left of its column: a label, and the bars
_LEFT = 2
_READ = ("least", "p50", "p90", "p99", "most")


def layouts(placed: Iterable[tuple[Row, Address]], run: Run | Stored) -> Iterator[Layout]:
    """Draw the samples of rows, a line each, from the least to the 99th percentile.

    The samples of one comparison are in memory at a time, below a heading of their own. Rows that
    were not timed have no line. What is known of kernels stands below.
    """
    for _, group in groupby(placed, lambda each: each[0]["comparison"]):
        timed = [(row, place) for row, place in group if row["latency_us"] is not None]
        if timed:
            yield _of_comparison(timed, run)


def bars(counts: Sequence[int]) -> str:
    """Draw counts as letters; one that is not zero is seen beside any other.

    >>> bars([0, 1, 400, 800])
    ' ▁▄█'
    """
    most = max(counts)
    return "".join(_BARS[-(-(len(_BARS) - 1) * count // most)] for count in counts)


def _of_comparison(timed: Sequence[tuple[Row, Address]], run: Run | Stored) -> Layout:
    shape = "x".join(str(timed[0][0][axis]) for axis in ("batch", "channels", "height", "width"))
    read = {number: run.comparison(number) for number in {place.record for _, place in timed}}
    lines = [
        _cells(row, record, place.case) for row, place in timed if (record := read[place.record])
    ]
    return Layout(
        heading=[f"samples at {shape}, on a log scale from the least to p99:"],
        header=["block", "samples", *_READ],
        labels=_LEFT,
        lines=lines,
        notes=list(_kernels(row for row, _ in timed)),
        bare=True,
    )


def _kernels(rows: Iterable[Row]) -> Iterator[str]:
    """Name the kernels of a call that take longest, for each row: known of CUDA alone."""
    for row in rows:
        if row["kernels_per_call"] is None:
            continue
        yield f"{full_label(row)}: {counted(row['kernels_per_call'], 'kernel')} per call, longest:"
        yield from (f"  {kernel}" for kernel in row["top_kernels"].split("; "))


def _cells(row: Row, record: ComparisonRecord, case: int) -> list[str]:
    ordered = samples(record, case)
    ends = {"least": float(ordered[0]), "most": float(ordered[-1])}
    told = {**ends, **{f"p{percent}": quantile(ordered, percent) for percent in QUANTILES}}
    words = (f"{name} {_reading(told[name])}" for name in _READ)
    return [full_label(row), bars(histogram(ordered, BINS)), *words]


def _reading(ns: float) -> str:
    """One reading, to a hundredth of itself."""
    us = ns / 1e3
    return latency_text(us, us * 0.99, us * 1.01)
