"""Charts of one line a case: for runs in which nothing varies that lines could go along."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import altair as alt

from gcbench.report.cells import shown
from gcbench.report.charts import copies, theme
from gcbench.report.charts.curves import Point, point
from gcbench.report.charts.framing import (
    axis_of,
    data,
    framed,
    layered,
    scale_of,
    scaled,
    tooltips,
    words_at,
)
from gcbench.report.charts.labels import distinct, text_width
from gcbench.report.charts.quantities import Quantity, require_known
from gcbench.report.charts.scales import Scale, around, round_ticks, texts
from gcbench.report.charts.varying import too_many, varied, words_of
from gcbench.report.charts.words import caption, subtitle
from gcbench.report.text import printable
from gcbench.results.tables import Row
from gcbench.spec.labels import label

if TYPE_CHECKING:
    from gcbench.report.charts.drawing import Drawn

MOST_ROWS = 48
_WIDTH, _ROW = 460.0, 24.0
_WIDEST = 260.0
# from a dot, or the end of its interval, to its value
_BEHIND = 9
# values that differ by more than this stand on a log scale
_LOG_SPAN = 20


def listed(drawn: "Drawn", quantity: Quantity, title: str, *notes: str) -> alt.VConcatChart:
    """Draw each case as a dot with its interval in a line of its own, its value written behind it.

    Raises UsageError where there are more than anybody reads.
    """
    rows = drawn.rows
    require_known(rows, quantity)
    if len(rows) > MOST_ROWS:
        raise too_many(rows, f"{len(rows)} lines", MOST_ROWS, [*varied(rows), "ratio", "spec"])
    points = {
        number: point(row, 0, quantity) for number, row in enumerate(rows) if quantity.known(row)
    }
    across = _scale(list(points.values()), quantity)
    names = distinct([_name(row, rows) for row in rows], theme.LABEL, _WIDEST)
    left = max(text_width(name, theme.LABEL) for name in names)
    return framed(
        _panel(drawn, points, names, across, quantity),
        _WIDTH,
        title,
        subtitle(rows, quantity.of_time),
        caption(rows, quantity, *notes, *copies.note(rows, quantity), bars="bars"),
        left=left,
        right=_beyond(rows, points, across, quantity),
    )


def _name(row: Row, rows: Sequence[Row]) -> str:
    others = [axis for axis in varied(rows) if axis != "network" or not row["network"]]
    return printable(" · ".join(filter(None, [label(row), words_of(row, others)])))


def _scale(points: Sequence[Point], quantity: Quantity) -> Scale:
    ends = [end for each in points for end in (each.lo, each.y, each.hi) if end]
    middles = [each.y for each in points]
    if quantity.about_one:
        return around([1.0, *ends], _WIDTH, least=1.25)
    if max(middles) > _LOG_SPAN * min(middles):
        return around(ends, _WIDTH)
    return Scale(0.0, 1.05 * max(ends), _WIDTH, log=False)


def _beyond(
    rows: Sequence[Row], points: dict[int, Point], across: Scale, quantity: Quantity
) -> float:
    """How far values reach beyond the panel."""
    ends = (
        across.pixel(_end(each))
        + _BEHIND
        + text_width(shown(rows[number], quantity.column), theme.LABEL)
        for number, each in points.items()
    )
    return max(0.0, max(ends) - across.pixels)


def _end(point: Point) -> float:
    return max(point.y, point.hi or 0)


def _free(words: Iterable[str], across: Scale, quantity: Quantity) -> float:
    """Where words begin that stand in place of dots: at the left, or behind the line at 1."""
    widest = max((text_width(word, theme.LABEL) for word in words), default=0.0)
    one = across.pixel(1) if quantity.about_one else 0.0
    return one + _BEHIND if 0 < one < 2 * _BEHIND + widest else _BEHIND


def _panel(
    drawn: "Drawn",
    points: dict[int, Point],
    names: Sequence[str],
    across: Scale,
    quantity: Quantity,
) -> alt.LayerChart:
    rows = drawn.rows
    ticks = texts(round_ticks(across, quantity.base), quantity.text)
    title = f"{quantity.title} (log scale)" if across.log else quantity.title
    x = alt.X("x:Q", scale=scale_of(across), axis=axis_of(ticks, title))
    down = Scale(-0.5, len(rows) - 0.5, _ROW * len(rows), log=False)
    y = alt.Y(
        "y:Q",
        scale=alt.Scale(domain=[down.hi, down.lo], nice=False, zero=False),
        axis=alt.Axis(values=[], title=None, domain=not across.log),
    )
    failed = {
        number: quantity.why_missing(row) for number, row in enumerate(rows) if number not in points
    }
    at = across.value(_free(failed.values(), across, quantity))
    instead = [{"x": at, "y": number, "text": word} for number, word in failed.items()]
    labels = [{"x": across.lo, "y": number, "text": name} for number, name in enumerate(names)]
    layers = [
        *copies.beneath_dots(rows, x, quantity),
        *_dots(drawn, points, x, y, quantity),
        words_at(instead, x, y, align="left"),
        words_at(labels, x, y, align="right", dx=-8),
    ]
    return layered(layers, across.pixels, down.pixels)


def _dots(
    drawn: "Drawn", points: dict[int, Point], x: alt.X, y: alt.Y, quantity: Quantity
) -> list[alt.Chart]:
    """A rule to each dot, its interval, itself, hollow where in doubt, and its value behind it."""
    styles = {number: drawn.styles[label(drawn.rows[number])] for number in points}
    values: list[dict[str, Any]] = [
        {
            "x": each.y,
            "y": number,
            "lo": each.lo,
            "hi": each.hi,
            "doubt": each.doubt,
            "s": str(styles[number].number),
            "text": shown(drawn.rows[number], quantity.column),
            "end": _end(each),
            "tip": dict(each.tip),
        }
        for number, each in points.items()
    ]
    tips = tooltips(each["tip"] for each in values)
    colours = scaled(styles.values(), lambda style: style.colour)
    colour = alt.Color("s:N", **colours)
    start = x["scale"]["domain"][0]
    return [
        data([{"x": start, "x2": each["x"], "y": each["y"]} for each in values])
        .mark_rule(color=theme.GRID, strokeWidth=1)
        .encode(x=x, x2="x2:Q", y=y),
        data([each for each in values if each["lo"]])
        .mark_rule(strokeWidth=2.5, opacity=0.55)
        .encode(x=alt.X("lo:Q", scale=x["scale"]), x2="hi:Q", y=y, color=colour),
        data([each for each in values if not each["doubt"]])
        .mark_point(filled=True, size=56, opacity=1)
        .encode(x=x, y=y, tooltip=tips, color=colour),
        data([each for each in values if each["doubt"]])
        .mark_point(fill="white", strokeWidth=1.6, size=56, opacity=1)
        .encode(x=x, y=y, tooltip=tips, stroke=alt.Stroke("s:N", **colours)),
        words_at([{**each, "x": each["end"]} for each in values], x, y, align="left", dx=_BEHIND),
        words_at(
            [{**each, "text": "!"} for each in values if each["doubt"] == "untrusted"],
            x,
            y,
            fontWeight="bold",
            dy=-10,
        ),
    ]
