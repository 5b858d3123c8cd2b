"""FLOP a second below what the machine was measured to do at most.

After Williams, Waterman and Patterson, "Roofline", CACM 2009. The bytes are those that the
operators of a call read and write, each by itself; where a compiler fuses them, those that any
implementation must move (`gcbench.roofline`).
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import altair as alt

from gcbench.errors import UsageError
from gcbench.labels import label
from gcbench.plots import theme
from gcbench.plots.curves import Curve, Point, shorts, tip
from gcbench.plots.framing import (
    axis_of,
    data,
    framed,
    layered,
    panel_title,
    scale_of,
    side_by_side,
    words_at,
)
from gcbench.plots.labels import LINE_HEIGHT, Box, beside, least_width, spread, stroked, text_width
from gcbench.plots.lines import LABEL_GAP, colour_of, named, strokes
from gcbench.plots.quantities import DOUBTS, LATENCY, Doubt
from gcbench.plots.scales import Scale, around, round_ticks, texts
from gcbench.plots.styles import Styles
from gcbench.plots.varying import (
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
from gcbench.plots.words import explained, missing, subtitle
from gcbench.records import Peaks, Run
from gcbench.roofline import moved_column
from gcbench.store import Stored
from gcbench.tables import Row
from gcbench.units import counted, round_count_text

if TYPE_CHECKING:
    from gcbench.plots.drawing import Drawn

_ALONE, _AMONG, _COLUMNS = (620.0, 400.0), (380.0, 280.0), 2
# free pixels around all points, for their labels
_AIR = 30.0
# from a roof to its words, and from those to the next panel
_BEHIND, _GAP = 6, 60


Place = tuple[float, float]


@dataclass(frozen=True)
class Roof:
    """One ceiling: its words, and FLOP/s, or bytes a second where it is a slope."""

    words: str
    rate: float
    slope: bool


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
    columns, beyond = min(_COLUMNS, len(pictures)), _beyond(above.values())
    return framed(
        side_by_side(pictures, columns),
        columns * sides[0] + (columns - 1) * (least_width(beyond) + _GAP),
        "Roofline: how near blocks come to what the machine can do",
        subtitle(rows),
        list(_caption(drawn.rows, list(groups.values()))),
        right=beyond,
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


def roofs(peaks: Peaks, dtype: str) -> list[Roof]:
    """The ceilings of one dtype: products, convolutions, and copies in cache and in memory."""
    rates = {
        "matrix products": peaks.product_flops_per_s.get(dtype),
        "1x1 convolutions": peaks.convolution_flops_per_s.get(dtype),
    }
    flat = [
        Roof(f"{what} {round_count_text(_rounded(rate))}FLOP/s", rate, False)
        for what, rate in rates.items()
        if rate
    ]
    largest, best = peaks.copies[-1][1], max(rate for _, rate in peaks.copies)
    slopes = {"memory": largest, **({"cache": best} if best > 1.2 * largest else {})}
    return [
        *flat,
        *(
            Roof(f"{what} {round_count_text(_rounded(rate))}B/s", rate, True)
            for what, rate in slopes.items()
        ),
    ]


def _rounded(number: float) -> float:
    """Two digits: a ceiling is no better known."""
    return round(number, 1 - math.floor(math.log10(number)))


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
    points = [point for curve in drawn for point in curve.points]
    flat = [roof.rate for roof in ceilings if not roof.slope]
    ridges = [max(flat) / roof.rate for roof in ceilings if roof.slope and flat]
    plane = Plane(
        around(
            [*(point.x for point in points), *(2 * ridge for ridge in ridges)],
            sides[0],
            margin=_AIR,
        ),
        around([*(point.y for point in points), *flat], sides[1], margin=_AIR),
    )
    x = alt.X("x:Q", scale=scale_of(plane.x), axis=_axis(plane.x, "FLOP / byte", grid=False))
    y = alt.Y(
        "y:Q", scale=scale_of(plane.y), axis=_axis(plane.y, f"FLOP/s in {title}", domain=False)
    )
    ends = {roof: line for roof in ceilings if (line := _ends(roof, ceilings, plane))}
    taken = [
        box for curve in drawn for box in stroked([plane.at(p.place) for p in curve.points], 5)
    ]
    slopes = [
        _along(roof.words, plane.at(line[0]), plane.at(line[1]), taken)
        for roof, line in ends.items()
        if roof.slope
    ]
    taken += [box for line in ends.values() for box in stroked([plane.at(p) for p in line], 2)]
    labels = _labels(drawn, plane, taken, [box for _, _, boxes in slopes for box in boxes])
    layers = [
        data([_rule(*line) for line in ends.values()])
        .mark_rule(strokeWidth=1.2, color=theme.FAINT)
        .encode(x=x, y=y, x2="x2:Q", y2="y2:Q"),
        *(
            words_at([plane.word(words, *at)], x, y, color=theme.FAINT, angle=_turned(plane))
            for (at, words, _) in slopes
        ),
        words_at(_beside_roofs(ends, plane), x, y, align="left", color=theme.FAINT),
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


@dataclass(frozen=True)
class Plane:
    """Both scales of a panel, and the way between values and pixels from its upper left corner."""

    x: Scale
    y: Scale

    def at(self, values: Place) -> Place:
        """The pixels of an intensity and a rate."""
        return self.x.pixel(values[0]), self.y.pixels - self.y.pixel(values[1])

    def values(self, pixels: Place) -> Place:
        """The intensity and the rate at a place."""
        return self.x.value(pixels[0]), self.y.value(self.y.pixels - pixels[1])

    def word(self, text: str, x: float, y: float) -> dict[str, Any]:
        """A text at a place, as a record."""
        at = self.values((x, y))
        return {"x": at[0], "y": at[1], "text": text}


def _rule(start: Place, end: Place) -> dict[str, float]:
    return {"x": start[0], "y": start[1], "x2": end[0], "y2": end[1]}


def _turned(plane: Plane) -> float:
    """The angle of every slope, in degrees as Vega has them: a factor in x is that factor in y."""
    one = plane.at((plane.x.lo, plane.y.lo))
    ten = plane.at((10 * plane.x.lo, 10 * plane.y.lo))
    return math.degrees(math.atan2(ten[1] - one[1], ten[0] - one[0])) % 360


def _ends(roof: Roof, ceilings: Sequence[Roof], plane: Plane) -> tuple[Place, Place] | None:
    """A slope from the lower edge to the highest roof, or a roof from the fastest slope on."""
    flat = [each.rate for each in ceilings if not each.slope]
    slopes = [each.rate for each in ceilings if each.slope]
    if not roof.slope:
        left = max(plane.x.lo, roof.rate / max(slopes))
        return ((left, roof.rate), (plane.x.hi, roof.rate)) if left < plane.x.hi else None
    left = max(plane.x.lo, plane.y.lo / roof.rate)
    right = min(plane.x.hi, max(flat, default=plane.y.hi) / roof.rate)
    return ((left, left * roof.rate), (right, right * roof.rate)) if left < right else None


def _along(
    words: str, start: Place, end: Place, taken: Sequence[Box]
) -> tuple[Place, str, list[Box]]:
    """Where along a slope its words meet the least that is drawn: their middle, and their boxes."""
    width, length = text_width(words, theme.LABEL), math.dist(start, end)
    ahead = (end[0] - start[0]) / length, (end[1] - start[1]) / length

    def boxes(first: float) -> tuple[Place, list[Box]]:
        # eight pixels to the left of the slope's direction, which is above it
        steps = [first + n * width / 12 for n in range(13)]
        places = [
            (start[0] + s * ahead[0] + 9 * ahead[1], start[1] + s * ahead[1] - 9 * ahead[0])
            for s in steps
        ]
        return places[6], [_box(*each, 7) for each in places]

    tried = [boxes(first) for first in range(6, max(7, int(length - width)), 12)]
    middle, found = min(
        tried, key=lambda each: sum(box.overlaps(other) for box in each[1] for other in taken)
    )
    return middle, words, found


def _beyond(panels: Iterable[Sequence[Roof]]) -> float:
    """How far the words of flat roofs reach to the right of a panel."""
    words = (roof.words for ceilings in panels for roof in ceilings if not roof.slope)
    return _BEHIND + max((text_width(each, theme.LABEL) for each in words), default=0.0)


def _beside_roofs(ends: Mapping[Roof, tuple[Place, Place]], plane: Plane) -> list[dict[str, Any]]:
    """The words of flat roofs, to the right of them."""
    flat = [(roof, plane.at(line[1])[1]) for roof, line in ends.items() if not roof.slope]
    places = spread([y for _, y in flat], LABEL_GAP, 0, plane.y.pixels)
    return [
        plane.word(roof.words, plane.x.pixels + _BEHIND, y)
        for (roof, _), y in zip(flat, places, strict=True)
    ]


def _box(x: float, y: float, half: float) -> Box:
    return Box(x - half, y - half, x + half, y + half)


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
                **_rule(end, plane.values(box.nearest(plane.at(end)))),
                "s": curve.number,
            },
        }
        for curve, end, box in zip(drawn, ends, boxes, strict=True)
    ]
