"""The ceilings of one panel of a roofline: which there are, where they run, and their words."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from gcbench.records import Peaks
from gcbench.report.charts import theme
from gcbench.report.charts.framing import data, words_at
from gcbench.report.charts.labels import Box, spread, stroked, text_width
from gcbench.report.charts.lines import LABEL_GAP
from gcbench.report.charts.scales import Scale, around
from gcbench.units import round_count_text

# free pixels around all points, for their labels
_AIR = 30.0
# from a roof to its words
_BEHIND = 6

XY = tuple[float, float]


@dataclass(frozen=True)
class Roof:
    """One ceiling: its words, and FLOP/s, or bytes a second where it is a slope."""

    words: str
    rate: float
    slope: bool


@dataclass(frozen=True)
class Plane:
    """Both scales of a panel, and the way between values and pixels from its upper left corner."""

    x: Scale
    y: Scale

    def at(self, values: XY) -> XY:
        """The pixels of an intensity and a rate."""
        return self.x.pixel(values[0]), self.y.pixels - self.y.pixel(values[1])

    def values(self, pixels: XY) -> XY:
        """The intensity and the rate at a place."""
        return self.x.value(pixels[0]), self.y.value(self.y.pixels - pixels[1])

    def word(self, text: str, x: float, y: float) -> dict[str, Any]:
        """A text at a place, as a record."""
        at = self.values((x, y))
        return {"x": at[0], "y": at[1], "text": text}


def plane_of(points: Sequence[XY], ceilings: Sequence[Roof], sides: tuple[float, float]) -> Plane:
    """The plane that holds all points, the flat roofs, and where the slopes meet them."""
    flat = [roof.rate for roof in ceilings if not roof.slope]
    ridges = [max(flat) / roof.rate for roof in ceilings if roof.slope and flat]
    return Plane(
        around([*(x for x, _ in points), *(2 * ridge for ridge in ridges)], sides[0], margin=_AIR),
        around([*(y for _, y in points), *flat], sides[1], margin=_AIR),
    )


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


def beyond(panels: Iterable[Sequence[Roof]]) -> float:
    """How far the words of flat roofs reach to the right of a panel."""
    words = (roof.words for ceilings in panels for roof in ceilings if not roof.slope)
    return _BEHIND + max((text_width(each, theme.LABEL) for each in words), default=0.0)


@dataclass(frozen=True)
class Ceilings:
    """What is drawn of ceilings, and the boxes of their rules and of the words along slopes."""

    layers: Sequence[alt.Chart]
    rules: Sequence[Box]
    words: Sequence[Box]


def drawn_above(
    ceilings: Sequence[Roof], plane: Plane, x: alt.X, y: alt.Y, taken: Sequence[Box]
) -> Ceilings:
    """Draw ceilings; the words of slopes stand where they meet the least of what is taken."""
    ends = {roof: line for roof in ceilings if (line := _ends(roof, ceilings, plane))}
    slopes = [
        _along(roof.words, plane.at(line[0]), plane.at(line[1]), taken)
        for roof, line in ends.items()
        if roof.slope
    ]
    layers = [
        data([rule(*line) for line in ends.values()])
        .mark_rule(strokeWidth=1.2, color=theme.FAINT)
        .encode(x=x, y=y, x2="x2:Q", y2="y2:Q"),
        *(
            words_at([plane.word(words, *at)], x, y, color=theme.FAINT, angle=_turned(plane))
            for (at, words, _) in slopes
        ),
        words_at(_beside_roofs(ends, plane), x, y, align="left", color=theme.FAINT),
    ]
    return Ceilings(
        layers,
        [box for line in ends.values() for box in stroked([plane.at(p) for p in line], 2)],
        [box for _, _, boxes in slopes for box in boxes],
    )


def rule(start: XY, end: XY) -> dict[str, float]:
    """A line from one place to another, as a record."""
    return {"x": start[0], "y": start[1], "x2": end[0], "y2": end[1]}


def _turned(plane: Plane) -> float:
    """The angle of every slope, in degrees as Vega has them: a factor in x is that factor in y."""
    one = plane.at((plane.x.lo, plane.y.lo))
    ten = plane.at((10 * plane.x.lo, 10 * plane.y.lo))
    return math.degrees(math.atan2(ten[1] - one[1], ten[0] - one[0])) % 360


def _ends(roof: Roof, ceilings: Sequence[Roof], plane: Plane) -> tuple[XY, XY] | None:
    """A slope from the lower edge to the highest roof, or a roof from the fastest slope on."""
    flat = [each.rate for each in ceilings if not each.slope]
    slopes = [each.rate for each in ceilings if each.slope]
    if not roof.slope:
        left = max(plane.x.lo, roof.rate / max(slopes))
        return ((left, roof.rate), (plane.x.hi, roof.rate)) if left < plane.x.hi else None
    left = max(plane.x.lo, plane.y.lo / roof.rate)
    right = min(plane.x.hi, max(flat, default=plane.y.hi) / roof.rate)
    return ((left, left * roof.rate), (right, right * roof.rate)) if left < right else None


def _along(words: str, start: XY, end: XY, taken: Sequence[Box]) -> tuple[XY, str, list[Box]]:
    """Where along a slope its words meet the least that is drawn: their middle, and their boxes."""
    width, length = text_width(words, theme.LABEL), math.dist(start, end)
    ahead = (end[0] - start[0]) / length, (end[1] - start[1]) / length

    def boxes(first: float) -> tuple[XY, list[Box]]:
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


def _beside_roofs(ends: Mapping[Roof, tuple[XY, XY]], plane: Plane) -> list[dict[str, Any]]:
    """The words of flat roofs, to the right of them."""
    flat = [(roof, plane.at(line[1])[1]) for roof, line in ends.items() if not roof.slope]
    places = spread([y for _, y in flat], LABEL_GAP, 0, plane.y.pixels)
    return [
        plane.word(roof.words, plane.x.pixels + _BEHIND, y)
        for (roof, _), y in zip(flat, places, strict=True)
    ]


def _box(x: float, y: float, half: float) -> Box:
    return Box(x - half, y - half, x + half, y + half)
