"""What `gcbench peaks` measured."""

from collections.abc import Iterator
from typing import Any

from gcbench.records import Peaks
from gcbench.report.document import Document, Layout, Lines, Section
from gcbench.results.roofline import levels
from gcbench.stats.machine_flags import FLAG_WORDS
from gcbench.units import count_text, factor_text, size_text

# what could not be measured
_NONE = "-"
_CELLS = (
    *("dtype", "flops_per_s", "holds_bytes", "touched_bytes", "bytes_per_s", "latency_us"),
    "reason",
)


def document(peaks: Peaks, where: str) -> Document:
    """Ceilings: the fastest road to a product, bandwidths, the cost of a call; a row for each.

    `?` marks what was measured while the machine was busy, `-` what could not be measured.
    """
    return Document(
        title=peaks.name,
        sections=lambda detail: _sections(peaks, where),
        rows=lambda: _rows(peaks),
        columns=(),
        whole=peaks,
    )


def _sections(peaks: Peaks, where: str) -> Iterator[Section]:
    yield _products(peaks, where)
    yield _levels(peaks)
    yield _copies(peaks)
    yield Lines(
        [
            f"one operator on one number: {factor_text(peaks.launch_us)} µs",
            *(f"left out: {words}" for words in _left_out(peaks)),
        ]
    )
    if doubts := list(_doubts(peaks)):
        yield Lines(doubts, tone="doubt")
    yield Lines([f"kept as {peaks.name}: bench holds its rows against it (floor, bound)"])


def _rows(peaks: Peaks) -> Iterator[dict[str, Any]]:
    """Every ceiling: FLOP/s of products, bytes a second of copies, microseconds of a call."""
    kinds = {
        "product": peaks.product_flops_per_s,
        "sustained": peaks.sustained_flops_per_s,
        "convolution": peaks.convolution_flops_per_s,
    }
    for kind, rates in kinds.items():
        for dtype, rate in rates.items():
            yield _row(peaks, kind, dtype=dtype, flops_per_s=rate)
    for road in peaks.roads:
        cells = {"dtype": road.dtype, "flops_per_s": road.flops_per_s, "reason": road.reason}
        yield _row(peaks, "road", road.road, **cells)
    for name, size in peaks.caches:
        yield _row(peaks, "cache", name, holds_bytes=size)
    for touched, rate in peaks.copies:
        yield _row(peaks, "copy", touched_bytes=touched, bytes_per_s=rate)
    yield _row(peaks, "launch", latency_us=peaks.launch_us)


def _row(peaks: Peaks, kind: str, name: str | None = None, **cells: Any) -> dict[str, Any]:
    busy = peaks.busy.get("copies" if kind == "copy" else cells.get("dtype", ""), ())
    of = {"peaks": peaks.name, "device": peaks.device, "device_name": peaks.device_name}
    known = {"threads": peaks.threads, "kind": kind, "name": name}
    rest = {column: cells.get(column) for column in _CELLS}
    return {**of, **known, **rest, "flags": " ".join(busy) or None}


def _products(peaks: Peaks, where: str) -> Layout:
    lines = []
    for dtype in dict.fromkeys((*(rate.dtype for rate in peaks.roads), *peaks.product_flops_per_s)):
        best, doubt = peaks.best(dtype), " ?" if dtype in peaks.busy else ""
        rates = (
            peaks.product_flops_per_s,
            peaks.sustained_flops_per_s,
            peaks.convolution_flops_per_s,
        )
        lines.append(
            [
                dtype,
                _rate(best.flops_per_s if best else None, "FLOP/s") + doubt,
                best.road if best else "",
                *(_rate(each.get(dtype), "FLOP/s") for each in rates),
            ]
        )
    header = ("dtype", "best", "by", "matrix products", "kept up", "1x1 convolutions")
    return Layout([where], header, 1, lines, left=("by",))


def _levels(peaks: Peaks) -> Layout:
    doubt = " ?" if "copies" in peaks.busy else ""
    lines = [
        [
            level.name,
            "" if level.holds_bytes is None else size_text(level.holds_bytes),
            _rate(level.bytes_per_s, "B/s") + doubt,
        ]
        for level in levels(peaks)
    ]
    return Layout((), ("level", "holds", "copies move"), 1, lines)


def _copies(peaks: Peaks) -> Layout:
    lines = [
        [size_text(touched // 2), size_text(touched), _rate(rate, "B/s")]
        for touched, rate in peaks.copies
    ]
    return Layout((), ("a copy of", "touches", "moves"), 1, lines)


def _left_out(peaks: Peaks) -> Iterator[str]:
    """Roads that were not taken, each reason once, and levels that no copy tells of."""
    without: dict[tuple[str, str], list[str]] = {}
    for rate in peaks.roads:
        if rate.reason is not None:
            without.setdefault((rate.road, rate.reason), []).append(rate.dtype)
    for (road, reason), dtypes in without.items():
        yield f"{road} in {', '.join(dtypes)} ({reason})"
    untold = [level.name for level in levels(peaks) if level.bytes_per_s is None]
    if untold:
        yield f"{', '.join(untold)} (copies that fit there take no longer than their call)"


def _doubts(peaks: Peaks) -> Iterator[str]:
    parts = {*peaks.dtypes, "copies"}
    if peaks.busy and not parts <= peaks.busy.keys():
        yield f"? of a busy moment: {', '.join(peaks.busy)} ({', '.join(peaks.flags)})"
    elif peaks.busy:
        yield f"? all of a busy moment ({', '.join(peaks.flags)})"
    if peaks.flags:
        yield FLAG_WORDS["peaks_busy"]


def _rate(rate: float | None, unit: str) -> str:
    return _NONE if rate is None else f"{count_text(round(rate))}{unit}"
