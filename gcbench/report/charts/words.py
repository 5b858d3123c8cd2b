"""What a chart says above and below itself."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from gcbench.report.charts.curves import shorts
from gcbench.report.charts.quantities import DOUBTS, Quantity
from gcbench.report.charts.varying import AXES, series, varied
from gcbench.report.provenance import devices, floor_text, made_with
from gcbench.report.text import printable
from gcbench.results.tables import Row
from gcbench.spec.labels import axis_word, label, unusual
from gcbench.units import counted

# what failed is told for so many blocks, the others are counted
_MOST_TOLD = 6
_LONGEST_REASON = 160
_SHAPE = (("batch", "B"), ("channels", "C"))


def subtitle(rows: Sequence[Row], of_time: bool = True) -> list[str]:
    """What the cases share: shape and other axes; device, versions, date; of times the A/A."""
    many = varied(rows)
    first = rows[0]
    shape = [letter if axis in many else str(first[axis]) for axis, letter in _SHAPE]
    shape.append("HxW" if "size" in many else axis_word(first, "size"))
    shared = [
        say(axis_word(first, axis))
        for axis, say in AXES.items()
        if axis not in (*many, "batch", "channels", "size", "device", "device_name", "threads")
        and first[axis] is not None
        and axis in unusual({axis: first[axis]})
    ]
    copies = floor_text(rows) if of_time else None
    network = [shared.pop(0)] if first["network"] and "network" not in many else []
    return [
        " · ".join([*network, "x".join(shape), *shared]),
        " · ".join(_where(rows, many)),
        *([copies] if copies else []),
    ]


def _where(rows: Sequence[Row], many: dict[str, list[str]]) -> Iterator[str]:
    threads = rows[0]["device"] == "cpu" and not {"device", "device_name", "threads"} & set(many)
    yield devices(rows) + (f", {counted(rows[0]['threads'], 'thread')}" if threads else "")
    yield made_with(rows)


def caption(
    rows: Sequence[Row], quantity: Quantity, *more: str, bars: str = "bars and bands"
) -> list[str]:
    """What marks mean, what is not shown, and why; `bars` is how intervals are drawn."""
    known = any(None not in quantity.ends(row) for row in rows)
    doubts = {quantity.doubt(row) for row in rows if quantity.known(row)}
    return [
        *more,
        *([f"{bars}: 95 % intervals{quantity.intervals}"] if known else []),
        *(words for doubt, words in DOUBTS.items() if doubt in doubts),
        *explained(rows),
        *missing(rows, quantity),
    ]


def explained(rows: Iterable[Row]) -> Iterator[str]:
    """Say which block a label stands for, where shortening made two alike."""
    for name, short in shorts(series(rows)).items():
        if short != printable(name) and "~" in short:
            yield f"{short}: {name[:_LONGEST_REASON]}"


def missing(rows: Iterable[Row], quantity: Quantity) -> Iterator[str]:
    """Say which cases have no value and why: a line for each block and kind of end."""
    found: Counter[tuple[str, str]] = Counter()
    reasons: dict[tuple[str, str], str] = {}
    for row in rows:
        if not quantity.known(row):
            end = label(row), quantity.why_missing(row)
            found[end] += 1
            reasons.setdefault(end, quantity.reason(row))
    for end in list(found)[:_MOST_TOLD]:
        block, status = end
        reason = reasons[end]
        cut = f"{reason[:_LONGEST_REASON]}…" if len(reason) > _LONGEST_REASON else reason
        many = f" ({counted(found[end], 'case')})" if found[end] > 1 else ""
        yield f"{block[:60]} {status}{many}{': ' if cut else ''}{cut}"
    if len(found) > _MOST_TOLD:
        yield f"and {counted(len(found) - _MOST_TOLD, 'more kind')} of failure, in gcbench report"
