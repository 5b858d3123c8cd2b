"""What `gcbench peaks` measured, for people and as JSON."""

import msgspec
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gcbench.disturbance import FLAG_WORDS
from gcbench.records import Peaks
from gcbench.units import count_text, factor_text, size_text


def to_json(peaks: Peaks) -> str:
    """Write everything as indented JSON: FLOP/s, bytes, bytes a second, microseconds."""
    return msgspec.json.format(msgspec.json.encode(peaks), indent=2).decode()


def renderable(peaks: Peaks, where: str) -> RenderableType:
    """Lay ceilings out: rates of matrix products, of copies, and the cost of a call."""
    words = [Text(FLAG_WORDS["peaks_busy"], style="yellow")] if peaks.flags else []
    return Group(
        Text(where, style="bold"),
        _products(peaks),
        _copies(peaks),
        Text(f"one operator on one number: {factor_text(peaks.launch_us)} µs"),
        *words,
        Text(f"kept as {peaks.name}: bench holds its rows against it (floor, bound)"),
    )


def _products(peaks: Peaks) -> Table:
    table = _table("dtype", "matrix products", "kept up", "1x1 convolutions")
    for dtype, rate in peaks.product_flops_per_s.items():
        lasting = peaks.sustained_flops_per_s.get(dtype)
        kept_up = "" if lasting is None else _rate(lasting, "FLOP/s")
        convolved = _rate(peaks.convolution_flops_per_s[dtype], "FLOP/s")
        table.add_row(dtype, _rate(rate, "FLOP/s"), kept_up, convolved)
    return table


def _copies(peaks: Peaks) -> Table:
    table = _table("a copy of", "touches", "moves")
    for touched, rate in peaks.copies:
        table.add_row(size_text(touched // 2), size_text(touched), _rate(rate, "B/s"))
    return table


def _table(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in names:
        table.add_column(name, justify="left" if name == names[0] else "right")
    return table


def _rate(rate: float, unit: str) -> str:
    return f"{count_text(round(rate))}{unit}"
