"""FLOP a second below what the machine was measured to do at most.

After Williams, Waterman and Patterson, "Roofline", CACM 2009. The bytes are those that the
operators of a call read and write, each by itself; where a compiler fuses them, those that any
implementation must move (`gcbench.results.roofline`).
"""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import altair as alt

from gcbench.errors import UsageError
from gcbench.records import Peaks, Run
from gcbench.report.charts import theme
from gcbench.report.charts.curves import Curve, Point, shorts, tip
from gcbench.report.charts.framing import (
    axis_of,
    data,
    framed,
    layered,
    panel_title,
    scale_of,
    side_by_side,
)
from gcbench.report.charts.labels import LINE_HEIGHT, Box, beside, least_width, stroked, text_width
from gcbench.report.charts.lines import colour_of, named, strokes
from gcbench.report.charts.quantities import DOUBTS, LATENCY, Doubt
from gcbench.report.charts.roofs import Plane, Roof, beyond, drawn_above, plane_of, roofs, rule
from gcbench.report.charts.scales import Scale, round_ticks, texts
from gcbench.report.charts.theme import Styles
from gcbench.report.charts.varying import (
    MOST_LINES,
    MOST_PANELS,
    Along,
    along,
    grouped,
    series,
    too_many,
    varied,
    words_of,
)
from gcbench.report.charts.words import explained, missing, subtitle
from gcbench.results.roofline import moved_column
from gcbench.results.tables import Row
from gcbench.spec.labels import label
from gcbench.store import Stored
from gcbench.units import counted, round_count_text

if TYPE_CHECKING:
    from gcbench.report.charts.drawing import Drawn

_ALONE, _AMONG, _COLUMNS = (620.0, 400.0), (380.0, 280.0), 2
# from the words of a panel to the next one
_GAP = 60


def draw(drawn: "Drawn") -> Any:
    """Every case at its intensity and rate, below the ceilings of its device and dtype.

    Raises UsageError where no ceilings are known, or there is more than anybody reads.
    """
    ceilings = ceilings_of(drawn.run)
    rows = [row for row in drawn.rows if row["peaks"] in ceilings and place(row)]
    if not rows:
        raise UsageError(
            "--chart roofline: no case of this run has ceilings, MACs and a latency: gcbench bench "
            "measures the ceilings unless it may not, and gcbench peaks shows them"
        )
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["peaks"], row["dtype"]), []).append(row)
    styles = {name: drawn.styles[name] for name in series(rows)}
    if len(groups) > MOST_PANELS:
        raise too_many(rows, f"{len(groups)} panels", MOST_PANELS, ["dtype", "threads", "device"])
    if len(styles) > MOST_LINES:
        raise too_many(rows, f"{len(styles)} blocks", MOST_LINES, ["ratio", "spec"])
    sides = _ALONE if len(groups) == 1 else _AMONG
    above = {(peaks, dtype): roofs(ceilings[peaks], dtype) for peaks, dtype in groups}
    pictures = [
        _panel(group, above[where], styles, sides, where[1]) for where, group in groups.items()
    ]
    if len(groups) > 1:
        for picture, (peaks, dtype) in zip(pictures, groups, strict=True):
            picture["title"] = panel_title(f"{dtype} · {peaks}")
    columns, right = min(_COLUMNS, len(pictures)), beyond(above.values())
    return framed(
        side_by_side(pictures, columns),
        columns * sides[0] + (columns - 1) * (least_width(right) + _GAP),
        "Roofline: how near blocks come to what the machine can do",
        subtitle(rows),
        list(_caption(drawn.rows, list(groups.values()))),
        right=right,
    )


def ceilings_of(run: Run | Stored) -> dict[str, Peaks]:
    """The measured ceilings that a run holds, by their names."""
    records = (run.comparison(position) for position in range(len(run.outlines)))
    return {peaks.name: peaks for record in records if record for peaks in record.peaks}


def place(row: Row) -> tuple[float, float] | None:
    """The intensity of a case in FLOP a byte, and its rate in FLOP/s; None where not known."""
    moved = row[moved_column(row["runtime"])]
    if not (row["call_macs"] and moved and LATENCY.known(row)):
        return None
    flops = 2 * row["call_macs"]
    return flops / moved, 1e6 * flops / row["latency_us"]


def _caption(asked: Sequence[Row], panels: Sequence[Sequence[Row]]) -> Iterator[str]:
    shown = [row for group in panels for row in group]
    peaks = ", ".join(dict.fromkeys(row["peaks"] for row in shown))
    yield (
        "slopes: the fastest copies seen (cache) and the largest (memory); "
        f"bytes: {_bytes({moved_column(row['runtime']) for row in shown})}; ceilings: {peaks}"
    )
    yield from _joined(panels)
    doubts = {_doubt(row) for row in shown}
    yield from (words for doubt, words in DOUBTS.items() if doubt in doubts)
    yield from explained(shown)
    yield from missing([row for row in asked if row["status"] != "ok"], LATENCY)
    lost = sum(row["status"] == "ok" for row in asked) - len(shown)
    if lost:
        yield f"not shown: {counted(lost, 'case')} without MACs, bytes or ceilings"


def _bytes(columns: set[str]) -> str:
    """What the bytes are, by the columns that they are from."""
    if columns == {"min_bytes"}:
        return "what a call must move at least, since a compiler fuses its operators"
    compiled = ", of compiled calls what they must move at least" if len(columns) > 1 else ""
    return f"what the operators of a call read and write{compiled}"


def _joined(panels: Sequence[Sequence[Row]]) -> Iterator[str]:
    """Say by what each panel joins cases, and how those differ that it does not."""
    axes = [(group, along(group)) for group in panels]
    names = dict.fromkeys(axis.name for _, axis in axes if axis)
    if names:
        yield f"lines join the cases of a block by {' or '.join(names)}; its name is at the last"
    apart = dict.fromkeys(
        each for group, axis in axes for each in varied(group) if not axis or each not in axis.axes
    )
    if apart:
        yield f"cases of a block that no line joins differ in {' and '.join(apart)}"


def _doubt(row: Row) -> Doubt | None:
    flags = set((row["flags"] or "").split())
    return "ceilings" if {"above_ceiling", "peaks_busy"} & flags else LATENCY.doubt(row)


def _curves(rows: Sequence[Row], styles: Styles) -> list[Curve]:
    """The points of each block, those joined that differ in what lines go along alone."""
    axis, short = along(rows), shorts(styles)
    others = [each for each in varied(rows) if not axis or each not in axis.axes]
    stretches = {word: number for number, word in enumerate(grouped(rows, others))}
    found: dict[str, list[Point]] = {}
    for row in sorted(rows, key=axis.place) if axis else rows:
        mine = found.setdefault(label(row), [])
        mine.append(_point(row, axis, stretches[words_of(row, others)]))
    return [Curve(short[name], styles[name], tuple(points), ()) for name, points in found.items()]


def _point(row: Row, axis: Along | None, stretch: int) -> Point:
    intensity, rate = place(row) or (math.nan, math.nan)
    lo, hi = (end and rate * row["latency_us"] / end for end in LATENCY.ends(row)[::-1])
    words = tip(row, LATENCY, axis.word(row) if axis else "")
    if row["bound"]:
        words["bound"] = row["bound"]
    return Point(intensity, rate, lo, hi, _doubt(row), stretch, words)


def _panel(
    rows: Sequence[Row],
    ceilings: Sequence[Roof],
    styles: Styles,
    sides: tuple[float, float],
    title: str,
) -> alt.LayerChart:
    drawn = _curves(rows, styles)
    plane = plane_of([point.place for curve in drawn for point in curve.points], ceilings, sides)
    x = alt.X("x:Q", scale=scale_of(plane.x), axis=_axis(plane.x, "FLOP / byte", grid=False))
    y = alt.Y(
        "y:Q", scale=scale_of(plane.y), axis=_axis(plane.y, f"FLOP/s in {title}", domain=False)
    )
    taken = [
        box for curve in drawn for box in stroked([plane.at(p.place) for p in curve.points], 5)
    ]
    above = drawn_above(ceilings, plane, x, y, taken)
    labels = _labels(drawn, plane, [*taken, *above.rules], above.words)
    layers = [
        *above.layers,
        data([each["leader"] for each in labels])
        .mark_rule(strokeWidth=0.8)
        .encode(x=x, y=y, x2="x2:Q", y2="y2:Q", color=colour_of(drawn)),
        *strokes(drawn, x, y),
        named([each["word"] for each in labels], drawn, x, y),
    ]
    return layered(layers, *sides)


def _axis(scale: Scale, title: str, **more: bool) -> alt.Axis:
    ticks = texts(round_ticks(scale), round_count_text)
    return axis_of(ticks, f"{title} (log scale)", **more)


def _labels(
    drawn: Sequence[Curve], plane: Plane, taken: Sequence[Box], words: Sequence[Box]
) -> list[dict[str, Any]]:
    """The names of the curves beside their last points, clear of all that is drawn."""
    ends = [curve.points[-1].place for curve in drawn]
    boxes = beside(
        [plane.at(end) for end in ends],
        [text_width(curve.label, theme.LABEL) for curve in drawn],
        theme.LABEL * LINE_HEIGHT,
        Box(0, 0, plane.x.pixels, plane.y.pixels),
        taken,
        words,
    )
    return [
        {
            "word": {
                **plane.word(curve.label, (box.left + box.right) / 2, (box.top + box.bottom) / 2),
                "s": curve.number,
            },
            "leader": {
                **rule(end, plane.values(box.nearest(plane.at(end)))),
                "s": curve.number,
            },
        }
        for curve, end, box in zip(drawn, ends, boxes, strict=True)
    ]
