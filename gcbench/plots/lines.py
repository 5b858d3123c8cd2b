"""Charts of lines: a value against a numeric axis, one line a block, a panel for all else."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from gcbench.plots import theme
from gcbench.plots.curves import Curve, Point, curves, extents
from gcbench.plots.framing import (
    axis_of,
    channel,
    data,
    framed,
    layered,
    panel_title,
    scale_of,
    tooltips,
    words_at,
    x_ticks,
)
from gcbench.plots.labels import shortened, spread, text_width
from gcbench.plots.quantities import Quantity, require_known
from gcbench.plots.scales import Scale, around, round_ticks, texts
from gcbench.plots.varying import Along, grouped, require_few, series, varied
from gcbench.plots.words import caption, subtitle
from gcbench.records import Manifest
from gcbench.tables import Row

# the sides of a panel that stands alone, and of one among others, and how many stand in a line
_ALONE, _AMONG, _COLUMNS = (600.0, 380.0), (250.0, 210.0), 3
LABEL_GAP = theme.LABEL * 1.25
# room of a label beside a line, and of a row for what failed
_WIDEST_LABEL, _ROW = 150.0, 15.0
_CROSS = "M-1,-1L1,1M-1,1L1,-1"
_MARK = 42


def against(
    rows: Sequence[Row],
    manifest: Manifest,
    axis: Along,
    quantity: Quantity,
    title: str,
    *notes: str,
    beneath: Callable[[Sequence[Row], "Geometry"], Sequence[alt.Chart]] = lambda rows, shape: (),
) -> alt.VConcatChart:
    """Draw a value against an axis; what else varies makes panels that share their scales.

    `notes` begin the caption; `beneath` draws what lies under the lines of a panel.
    Raises UsageError where there are more panels or lines than anybody reads.
    """
    require_known(rows, quantity)
    left = [each for each in varied(rows) if each not in axis.axes]
    groups = grouped(rows, left)
    require_few(rows, groups, left)
    numbers = series(rows)
    made = {name: curves(group, axis, quantity, numbers) for name, group in groups.items()}
    sides = _ALONE if len(made) == 1 else _AMONG
    shape = geometry(list(made.values()), axis, *sides)
    panels = [
        panel(
            drawn, axis, quantity, shape, (axis.title, quantity.title), beneath(groups[name], shape)
        ).properties(**({"title": panel_title(name)} if len(made) > 1 else {}))
        for name, drawn in made.items()
    ]
    columns = min(_COLUMNS, len(panels))
    return framed(
        alt.concat(*panels, columns=columns),
        columns * (shape.x.pixels + label_width(list(made.values())) + 60),
        title,
        subtitle(rows, manifest),
        caption(rows, quantity, *notes),
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
    return min(_WIDEST_LABEL, max(text_width(word, theme.LABEL) for word in words)) + 14


def _labels(curve: Curve) -> Iterator[str]:
    if curve.points and curve.label:
        yield curve.label
    if curve.failed:
        ends = ", ".join(dict.fromkeys(why for _, why in curve.failed))
        yield f"{curve.label}: {ends}" if curve.label else ends


def panel(
    drawn: Sequence[Curve],
    axis: Along,
    quantity: Quantity,
    shape: Geometry,
    titles: tuple[str | None, str | None],
    beneath: Sequence[alt.Chart] = (),
) -> alt.LayerChart:
    """Draw one panel; `titles` are those of its axes, `beneath` what lies under the lines."""
    numbers = [curve.number for curve in drawn]
    inner = Scale(shape.y.lo, shape.value_at(shape.top), shape.y.pixels - shape.top)
    ticks = texts(round_ticks(inner, quantity.base), quantity.text)
    x = alt.X(
        "x:Q",
        scale=scale_of(shape.x),
        axis=axis_of(x_ticks(axis.places, shape.x), titles[0], grid=False),
    )
    y = alt.Y("y:Q", scale=scale_of(shape.y), axis=axis_of(ticks, titles[1], domain=False))
    colour = channel("color", lambda style: style.colour, numbers)
    dash = channel("strokeDash", lambda style: list(style.dash), numbers)
    shapes = channel("shape", lambda style: style.shape, numbers)
    points = [_record(curve, point) for curve in drawn for point in curve.points]
    banded = [each for each in points if each["lo"] is not None]
    sure = [each for each in points if not each["doubt"]]
    unsure = [each for each in points if each["doubt"]]
    crosses = list(_crosses(drawn, shape))
    labels = list(_placed(drawn, shape))
    tips = tooltips(each["tip"] for each in points)
    layers = [
        data(banded)
        .mark_area(opacity=0.2)
        .encode(
            x=x, y=alt.Y("lo:Q", scale=scale_of(shape.y)), y2="hi:Q", color=colour, detail="part:N"
        ),
        data(banded)
        .mark_rule(strokeWidth=1)
        .encode(x=x, y=alt.Y("lo:Q", scale=scale_of(shape.y)), y2="hi:Q", color=colour),
        data(points)
        .mark_line(strokeWidth=1.6)
        .encode(x=x, y=y, color=colour, strokeDash=dash, detail="part:N"),
        data([each for each in labels if "x2" in each])
        .mark_rule(strokeWidth=0.7, opacity=0.7)
        .encode(x=x, y=y, x2="x2:Q", y2="y2:Q", color=colour),
        data(sure)
        .mark_point(filled=True, size=_MARK, opacity=1)
        .encode(x=x, y=y, color=colour, shape=shapes, tooltip=tips),
        data(unsure)
        .mark_point(fill="white", size=_MARK, strokeWidth=1.4, opacity=1)
        .encode(
            x=x,
            y=y,
            stroke=channel("stroke", lambda style: style.colour, numbers),
            shape=shapes,
            tooltip=tips,
        ),
        data([each for each in unsure if each["doubt"] == "untrusted"])
        .mark_text(text="!", fontWeight="bold", fontSize=theme.LABEL, dy=-10)
        .encode(x=x, y=y),
        data(crosses)
        .mark_point(shape=_CROSS, size=30, strokeWidth=1.6, opacity=1)
        .encode(x=x, y=y, color=colour),
        words_at([each["word"] for each in labels], x, y, align="left"),
    ]
    return layered([*beneath, *layers], shape.x.pixels, shape.y.pixels)


def _record(curve: Curve, point: Point) -> dict[str, Any]:
    return {
        "x": point.x,
        "y": point.y,
        "lo": point.lo,
        "hi": point.hi,
        "s": str(curve.number),
        "part": f"{curve.number}.{point.stretch}",
        "doubt": point.doubt,
        "tip": dict(point.tip),
    }


def _crosses(drawn: Sequence[Curve], shape: Geometry) -> Iterator[dict[str, Any]]:
    for row, curve in enumerate(each for each in drawn if each.failed):
        for x, _ in curve.failed:
            yield {"x": x, "y": shape.value_at((row + 0.5) * _ROW), "s": str(curve.number)}


def _placed(drawn: Sequence[Curve], shape: Geometry) -> Iterator[dict[str, Any]]:
    """The labels to the right, and the rules that lead to them from the ends of the lines."""
    at, from_here = shape.x.value(shape.x.pixels + 14), shape.x.value(shape.x.pixels + 11)
    ended = [curve for curve in drawn if curve.points and curve.label]
    places = spread(
        [shape.down(curve.points[-1].y) for curve in ended],
        LABEL_GAP,
        shape.top + LABEL_GAP / 2,
        shape.y.pixels - LABEL_GAP / 2,
    )
    for curve, place in zip(ended, places, strict=True):
        last = curve.points[-1]
        y = shape.value_at(place)
        yield {
            "x": last.x,
            "y": last.y,
            "x2": from_here,
            "y2": y,
            "s": str(curve.number),
            "word": _word(at, y, curve.label),
        }
    for row, curve in enumerate(each for each in drawn if each.failed):
        *_, text = _labels(curve)
        yield {"word": _word(at, shape.value_at((row + 0.5) * _ROW), text)}


def _word(x: float, y: float, text: str) -> dict[str, Any]:
    return {"x": x, "y": y, "text": shortened(text, theme.LABEL, _WIDEST_LABEL)}
