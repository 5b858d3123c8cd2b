"""A picture put together: axes, panels, and the words around them."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import altair as alt

from gcbench.report.charts import theme
from gcbench.report.charts.labels import LINE_HEIGHT, least_width, text_width, thinned, wrapped
from gcbench.report.charts.scales import Scale
from gcbench.report.charts.varying import Along
from gcbench.report.text import printable

# more values of an axis than these have smaller marks, and no tick without a text
MANY = 24
# a caption or heading is at least so wide
_NARROWEST = 420


def axis_of(ticks: Sequence[tuple[float, str]], title: str | None, **more: Any) -> alt.Axis:
    """An axis whose ticks and texts are given."""
    values, words = [tick for tick, _ in ticks], [text for _, text in ticks]
    # the texts are gcbench's own: units and numbers, never words from outside
    expression = f"{json.dumps(words)}[indexof({values}, datum.value)]"
    return alt.Axis(values=values, labelExpr=expression, title=title, **more)


def scale_of(scale: Scale) -> alt.Scale:
    """The same scale as Vega-Lite takes it."""
    domain = [scale.lo, scale.hi]
    if scale.log:
        return alt.Scale(type="log", domain=domain, nice=False)
    return alt.Scale(type="linear", domain=domain, nice=False, zero=False)


def scaled(styles: Iterable[theme.Style], part: Callable[[theme.Style], Any]) -> dict[str, Any]:
    """A scale from the number of a style, as text, to a part of it; without a legend."""
    known = list(dict.fromkeys(styles))
    scale = alt.Scale(
        domain=[str(each.number) for each in known], range=[part(each) for each in known]
    )
    return {"scale": scale, "legend": None}


def x_ticks(axis: Along, scale: Scale) -> list[tuple[float, str]]:
    """The values of an x axis as ticks, and text where it does not meet another.

    Where there are many, those without a text are left out.
    """
    words = [word.partition("x")[0] if axis.square else word for word in axis.places]
    places = list(axis.places.values())
    at = [scale.pixel(place) for place in places]
    kept = set(thinned(at, [text_width(word, theme.SMALL) for word in words], 4))
    return [
        (place, words[number] if number in kept else "")
        for number, place in enumerate(places)
        if number in kept or len(places) <= MANY
    ]


def data(records: Sequence[dict[str, Any]]) -> alt.Chart:
    """A chart of records that stand in the picture itself, however many."""
    return alt.Chart(alt.InlineData(values=tuple(records)))


def words_at(records: Sequence[dict[str, Any]], x: alt.X, y: alt.Y, **how: Any) -> alt.Chart:
    """The field `text` of records, written at their places."""
    harmless = [{**each, "text": printable(each["text"])} for each in records]
    style = {"fontSize": theme.LABEL, "color": theme.TEXT, "baseline": "middle"}
    marks: alt.Chart = data(harmless).mark_text(**{**style, **how})
    return marks.encode(x=x, y=y, text="text:N")


def layered(layers: Iterable[alt.Chart], width: float, height: float) -> alt.LayerChart:
    """Layers one above the other, without those that hold nothing."""
    drawn = [layer for layer in layers if layer.data.values]
    return cast(alt.LayerChart, alt.layer(*drawn).properties(width=width, height=height))


def side_by_side(panels: Sequence[alt.LayerChart], columns: int) -> alt.ConcatChart:
    """Panels in lines of so many, each with the styles of its own lines."""
    concat = alt.concat(*panels, columns=columns)
    own = dict.fromkeys(("color", "fill", "stroke", "shape", "strokeDash"), "independent")
    concat["resolve"] = {"scale": own}
    return concat


def tooltips(tips: Iterable[Mapping[str, str]]) -> list[alt.Tooltip]:
    """What a page shows of a mark under the pointer: all names that the field `tip` has."""
    names = dict.fromkeys(name for each in tips for name in each)
    return [alt.Tooltip(f"tip.{name}:N", title=name) for name in names]


def panel_title(text: str) -> alt.TitleParams:
    """The title of one panel among others."""
    return alt.TitleParams(
        printable(text), fontSize=theme.LABEL, fontWeight="bold", offset=6, frame="group"
    )


def framed(
    body: Any,
    width: float,
    title: str,
    subtitle: Sequence[str],
    caption: Sequence[str],
    left: float = 0,
    right: float = 0,
) -> alt.VConcatChart:
    """Put the words around panels that are so many pixels wide, from the first to the last.

    `left` and `right` are what words beside them take at most in a wide font. The picture ends
    where a narrower font needs less, so what a wide one needs more is left free.
    """
    certain = width + least_width(left) + least_width(right)
    room, title = max(certain, _NARROWEST), printable(title)
    head = list(wrapped(title, theme.TITLE, room))
    under, below = (
        [line for each in lines for line in wrapped(printable(each), theme.SMALL, room)]
        for lines in (subtitle, caption)
    )
    longest = max((text_width(line, theme.SMALL) for line in (*under, *below)), default=0)
    inner = alt.vconcat(body)
    if below:
        inner["title"] = alt.TitleParams(
            below,
            orient="bottom",
            anchor="start",
            fontSize=theme.SMALL,
            fontWeight="normal",
            color=theme.FAINT,
            lineHeight=theme.SMALL * LINE_HEIGHT,
            offset=12,
        )
    return alt.vconcat(
        inner,
        title=alt.TitleParams(head, subtitle=under, subtitleLineHeight=theme.SMALL * LINE_HEIGHT),
        description=title,
        padding={
            "left": theme.PADDING + left - least_width(left),
            "top": theme.PADDING,
            "right": theme.PADDING + max(right - least_width(right), longest - certain),
            "bottom": theme.PADDING,
        },
        config=theme.config(),
    )
