"""Charts of lines: a value against a numeric axis, one line a block, a panel for all else."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import altair as alt

from gcbench.report.charts import copies, theme
from gcbench.report.charts.curves import WIDEST_LABEL, Curve, Point, curves, extents
from gcbench.report.charts.framing import (
    MANY,
    axis_of,
    data,
    framed,
    layered,
    panel_title,
    scale_of,
    scaled,
    side_by_side,
    tooltips,
    words_at,
    x_ticks,
)
from gcbench.report.charts.labels import least_width, shortened, spread, text_width
from gcbench.report.charts.quantities import Quantity, require_known
from gcbench.report.charts.scales import Scale, around, round_ticks, texts
from gcbench.report.charts.varying import Along, grouped, require_few, series, varied
from gcbench.report.charts.words import caption, subtitle

if TYPE_CHECKING:
    from gcbench.report.charts.drawing import Drawn

# the sides of a panel that stands alone, and of one among others, and how many stand in a line
_ALONE, _AMONG, _COLUMNS = (600.0, 380.0), (250.0, 210.0), 3
LABEL_GAP = theme.LABEL * 1.25
# between two panels there is so much at least: the numbers and the title of an axis
_GAP = 60
# room of a row for what failed
_ROW = 15.0
_CROSS = "M-1,-1L1,1M-1,1L1,-1"
_MARK, _SMALL_MARK = 42, 16


def against(
    drawn: "Drawn",
    axis: Along,
    quantity: Quantity,
    title: str,
    *notes: str,
) -> alt.VConcatChart:
    """Draw a value against an axis; what else varies makes panels that share their scales.

    `notes` begin the caption. Raises UsageError where there are more panels or lines than
    anybody reads.
    """
    rows = drawn.rows
    require_known(rows, quantity)
    left = [each for each in varied(rows) if each not in axis.axes]
    groups = grouped(rows, left)
    require_few(rows, groups, left)
    styles = {name: drawn.styles[name] for name in series(rows)}
    made = {name: curves(group, axis, quantity, styles) for name, group in groups.items()}
    sides = _ALONE if len(made) == 1 else _AMONG
    shape = geometry(list(made.values()), axis, *sides)
    panels = [
        panel(
            lines,
            axis,
            quantity,
            shape,
            (axis.title, f"{quantity.title} (log scale)"),
            list(copies.beneath_lines(groups[name], axis, shape.x, shape.y, quantity)),
        ).properties(**({"title": panel_title(name)} if len(made) > 1 else {}))
        for name, lines in made.items()
    ]
    columns, beside = min(_COLUMNS, len(panels)), label_width(list(made.values()))
    return framed(
        side_by_side(panels, columns),
        columns * shape.x.pixels + (columns - 1) * (least_width(beside) + _GAP),
        title,
        subtitle(rows, quantity.of_time),
        caption(rows, quantity, *notes, *copies.note(rows, quantity)),
        right=beside,
    )


@dataclass(frozen=True)
class Geometry:
    """The scales of a panel; above the lines is room for `rows` of what failed."""

    x: Scale
    y: Scale
    rows: int

    def down(self, value: float) -> float:
        """How far below the panel's upper edge a value is."""
        return self.y.pixels - self.y.pixel(value)

    def value_at(self, down: float) -> float:
        """The value that is so far below the upper edge."""
        return self.y.value(self.y.pixels - down)

    @property
    def top(self) -> float:
        """Where the room of the lines begins."""
        return self.rows * _ROW


def geometry(
    panels: Sequence[Sequence[Curve]], axis: Along, width: float, height: float, least: float = 2.0
) -> Geometry:
    """Scales that all panels share, with room for the labels of the fullest."""
    drawn = [point for panel in panels for curve in panel for point in curve.points]
    rows = max(sum(bool(curve.failed) for curve in panel) for panel in panels)
    most = max(sum(bool(curve.points) for curve in panel) for panel in panels)
    y = around(extents(drawn), max(height, most * LABEL_GAP + 8), least=least)
    return Geometry(around(axis.places.values(), width, axis.log, least=1.2), raised(y, rows), rows)


def raised(y: Scale, rows: int) -> Scale:
    """The same scale with room above it for so many rows of what failed."""
    more = rows * _ROW
    return Scale(y.lo, y.value(y.pixels + more), y.pixels + more)


def label_width(panels: Sequence[Sequence[Curve]]) -> float:
    """The room that the labels to the right take."""
    words = [word for panel in panels for curve in panel for word in _labels(curve)]
    return max((text_width(word, theme.LABEL) for word in words), default=0) + 14


def _labels(curve: Curve) -> Iterator[str]:
    """What stands to the right of a curve, and of its row among what failed."""
    if curve.points and curve.label:
        yield curve.label
    if curve.failed:
        ends = ", ".join(dict.fromkeys(why for _, why in curve.failed))
        room = max(40, WIDEST_LABEL - text_width(f": {ends}", theme.LABEL))
        yield f"{shortened(curve.label, theme.LABEL, room)}: {ends}" if curve.label else ends


def panel(
    drawn: Sequence[Curve],
    axis: Along,
    quantity: Quantity,
    shape: Geometry,
    titles: tuple[str | None, str | None],
    beneath: Sequence[alt.Chart] = (),
) -> alt.LayerChart:
    """Draw one panel; `titles` are those of its axes, `beneath` what lies under the lines."""
    inner = Scale(shape.y.lo, shape.value_at(shape.top), shape.y.pixels - shape.top)
    ticks = texts(round_ticks(inner, quantity.base), quantity.text)
    x = alt.X(
        "x:Q",
        scale=scale_of(shape.x),
        axis=axis_of(x_ticks(axis, shape.x), titles[0], grid=False),
    )
    y = alt.Y("y:Q", scale=scale_of(shape.y), axis=axis_of(ticks, titles[1], domain=False))
    labels = list(_placed(drawn, shape))
    layers = [
        *beneath,
        *(
            data([each["leader"] for each in labels if each.get("late") is late])
            .mark_rule(strokeWidth=0.8, opacity=0.8, strokeDash=[1, 3] if late else [1, 0])
            .encode(x=x, y=y, x2="x2:Q", y2="y2:Q", color=colour_of(drawn))
            for late in (False, True)
        ),
        *strokes(drawn, x, y),
        data(list(_crosses(drawn, shape)))
        .mark_point(shape=_CROSS, size=30, strokeWidth=1.6, opacity=1)
        .encode(x=x, y=y, color=colour_of(drawn)),
        named([each["word"] for each in labels], drawn, x, y, align="left"),
    ]
    return layered(layers, shape.x.pixels, shape.y.pixels)


def colour_of(drawn: Sequence[Curve]) -> alt.Color:
    """The colours of some curves, by the field `s`."""
    return alt.Color("s:N", **styled(drawn, lambda style: style.colour))


def named(
    words: Sequence[dict[str, Any]], drawn: Sequence[Curve], x: alt.X, y: alt.Y, **how: Any
) -> alt.Chart:
    """Words in the colours of the curves that they name, by the field `s`."""
    colour = alt.Fill("s:N", **styled(drawn, lambda style: theme.darker(style.colour)))
    return words_at(words, x, y, **how).encode(fill=colour)


def styled(drawn: Sequence[Curve], part: Callable[[theme.Style], Any]) -> dict[str, Any]:
    """A scale from the numbers of curves to a part of their styles."""
    return scaled((curve.style for curve in drawn), part)


def strokes(drawn: Sequence[Curve], x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """Bands and bars of the intervals, lines, and a mark for each point: hollow where in doubt."""
    points = [
        _record(curve, point, order) for curve in drawn for order, point in enumerate(curve.points)
    ]
    most = max((len(curve.points) for curve in drawn), default=0)
    size = _MARK if most <= MANY else _SMALL_MARK
    banded = [each for each in points if each["lo"] is not None]
    unsure = [each for each in points if each["doubt"]]
    low = alt.Y("lo:Q", scale=y["scale"])
    colour = colour_of(drawn)
    marks = {
        "x": x,
        "y": y,
        "shape": alt.Shape("s:N", **styled(drawn, lambda style: style.shape)),
        "tooltip": tooltips(each["tip"] for each in points),
    }
    dash = alt.StrokeDash("s:N", **styled(drawn, lambda style: list(style.dash)))
    stroke = alt.Stroke("s:N", **styled(drawn, lambda style: style.colour))
    return [
        data(banded)
        .mark_area(opacity=0.2)
        .encode(x=x, y=low, y2="hi:Q", color=colour, detail="part:N"),
        data(banded).mark_rule(strokeWidth=1).encode(x=x, y=low, y2="hi:Q", color=colour),
        data(points)
        .mark_line(strokeWidth=1.6)
        .encode(x=x, y=y, color=colour, strokeDash=dash, detail="part:N", order="order:Q"),
        data([each for each in points if not each["doubt"]])
        .mark_point(filled=True, size=size, opacity=1)
        .encode(color=colour, **marks),
        data(unsure)
        .mark_point(fill="white", size=size, strokeWidth=1.4, opacity=1)
        .encode(stroke=stroke, **marks),
        words_at(
            [{**each, "text": "!"} for each in unsure if each["doubt"] == "untrusted"],
            x,
            y,
            fontWeight="bold",
            dy=-10,
        ),
    ]


def _record(curve: Curve, point: Point, order: int) -> dict[str, Any]:
    return {
        "x": point.x,
        "y": point.y,
        "lo": point.lo,
        "hi": point.hi,
        "s": curve.number,
        "part": f"{curve.number}.{point.stretch}",
        "doubt": point.doubt,
        "tip": dict(point.tip),
        "order": order,
    }


def _crosses(drawn: Sequence[Curve], shape: Geometry) -> Iterator[dict[str, Any]]:
    for row, curve in enumerate(each for each in drawn if each.failed):
        for x, _ in curve.failed:
            yield {"x": x, "y": shape.value_at((row + 0.5) * _ROW), "s": curve.number}


def _placed(drawn: Sequence[Curve], shape: Geometry) -> Iterator[dict[str, Any]]:
    """The labels to the right, and the rules that lead to them from the ends of the lines."""
    at, from_here = shape.x.value(shape.x.pixels + 14), shape.x.value(shape.x.pixels + 11)
    ended = [curve for curve in drawn if curve.points and curve.label]
    last_x = max((curve.points[-1].x for curve in ended), default=0.0)
    places = spread(
        [shape.down(curve.points[-1].y) for curve in ended],
        LABEL_GAP,
        shape.top + LABEL_GAP / 2,
        shape.y.pixels - LABEL_GAP / 2,
    )
    for curve, place in zip(ended, places, strict=True):
        last, y, number = curve.points[-1], shape.value_at(place), curve.number
        yield {
            "leader": {"x": last.x, "y": last.y, "x2": from_here, "y2": y, "s": number},
            # a line that ended before others is led on, faintly
            "late": last.x < last_x,
            "word": {"x": at, "y": y, "text": next(_labels(curve)), "s": number},
        }
    for row, curve in enumerate(each for each in drawn if each.failed):
        *_, text = _labels(curve)
        y = shape.value_at((row + 0.5) * _ROW)
        yield {"word": {"x": at, "y": y, "text": text, "s": curve.number}}
