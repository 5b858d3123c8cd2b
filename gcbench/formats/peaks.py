"""What `gcbench peaks` measured, for people and as JSON."""

from collections.abc import Iterator

import msgspec
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gcbench.disturbance import FLAG_WORDS
from gcbench.records import Peaks
from gcbench.roofline import levels
from gcbench.units import count_text, factor_text, size_text

# what could not be measured
_NONE = "-"


def to_json(peaks: Peaks) -> str:
    """Write everything as indented JSON: FLOP/s, bytes, bytes a second, microseconds."""
    return msgspec.json.format(msgspec.json.encode(peaks), indent=2).decode()


def renderable(peaks: Peaks, where: str) -> RenderableType:
    """Lay ceilings out: the fastest road to a product, bandwidths, and the cost of a call.

    `?` marks what was measured while the machine was busy, `-` what could not be measured.
    """
    return Group(
        Text(where, style="bold"),
        _products(peaks),
        _levels(peaks),
        _copies(peaks),
        Text(f"one operator on one number: {factor_text(peaks.launch_us)} µs"),
        *(Text(f"left out: {words}") for words in _left_out(peaks)),
        *(Text(words, style="yellow") for words in _doubts(peaks)),
        Text(f"kept as {peaks.name}: bench holds its rows against it (floor, bound)"),
    )


def _products(peaks: Peaks) -> Table:
    table = _table("dtype", "best", "by", "matrix products", "kept up", "1x1 convolutions")
    table.columns[2].justify = "left"
    for dtype in dict.fromkeys((*(rate.dtype for rate in peaks.roads), *peaks.product_flops_per_s)):
        best, doubt = peaks.best(dtype), " ?" if dtype in peaks.busy else ""
        table.add_row(
            dtype,
            _rate(best.flops_per_s if best else None, "FLOP/s") + doubt,
            best.road if best else "",
            *(
                _rate(rates.get(dtype), "FLOP/s")
                for rates in (
                    peaks.product_flops_per_s,
                    peaks.sustained_flops_per_s,
                    peaks.convolution_flops_per_s,
                )
            ),
        )
    return table


def _levels(peaks: Peaks) -> Table:
    table = _table("level", "holds", "copies move")
    doubt = " ?" if "copies" in peaks.busy else ""
    for level in levels(peaks):
        holds = "" if level.holds_bytes is None else size_text(level.holds_bytes)
        table.add_row(level.name, holds, _rate(level.bytes_per_s, "B/s") + doubt)
    return table


def _copies(peaks: Peaks) -> Table:
    table = _table("a copy of", "touches", "moves")
    for touched, rate in peaks.copies:
        table.add_row(size_text(touched // 2), size_text(touched), _rate(rate, "B/s"))
    return table


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


def _table(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in names:
        table.add_column(name, justify="left" if name == names[0] else "right")
    return table


def _rate(rate: float | None, unit: str) -> str:
    return _NONE if rate is None else f"{count_text(round(rate))}{unit}"
