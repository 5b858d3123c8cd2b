"""Colours, dashes, marks and letters of every chart.

Colours are those of Okabe and Ito, "Color Universal Design" (2008), which colour-blind people tell
apart; without their yellow, which paper does not show, and the light ones a little darker, so that
all stand out from white. Dashes and marks say the same without colour, for print in grey.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from gcbench.results.tables import Row
from gcbench.spec.labels import label, label_without_ratio

FONT = "Arial, Helvetica, Liberation Sans, DejaVu Sans, sans-serif"
TEXT, FAINT, GRID = "#222222", "#595959", "#e3e3e3"
PADDING = 12
# sizes of letters in pixels
TITLE, SMALL, LABEL = 16, 11, 12

_COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#B3548B", "#C98600", "#3A9AD0")
_DASHES = ((1, 0), (7, 3), (2, 2), (9, 3, 2, 3), (4, 2, 1, 2, 1, 2))
_SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "triangle-right")


class Style(NamedTuple):
    """How one line is drawn. `number` is its place among the lines of its run."""

    number: int
    colour: str
    dash: tuple[int, ...]
    shape: str


def style(block: int, number: int) -> Style:
    """The style of a line by the places of its block and of itself in the run, from 0 on.

    Any 30 lines in a row differ in dash or mark, so that print in grey tells them apart.
    """
    return Style(
        number,
        _COLOURS[block % len(_COLOURS)],
        _DASHES[number % len(_DASHES)],
        _SHAPES[number % len(_SHAPES)],
    )


def darker(colour: str) -> str:
    """A colour for letters, which are thinner than lines: 4.5 to 1 against white at least.

    >>> darker("#C98600")
    '#8c5d00'
    """
    return "#" + "".join(f"{int(int(colour[at : at + 2], 16) * 0.7):02x}" for at in (1, 3, 5))


def config() -> dict[str, Any]:
    """What Vega-Lite takes for every chart."""
    return {
        "background": "white",
        "font": FONT,
        "mark": {"aria": False},
        "view": {"stroke": None},
        "concat": {"spacing": 24},
        "axis": {
            "aria": False,
            "domainColor": FAINT,
            "tickColor": FAINT,
            "gridColor": GRID,
            "labelColor": TEXT,
            "labelFontSize": SMALL,
            "labelOverlap": False,
            "titleColor": TEXT,
            "titleFontSize": LABEL,
            "titleFontWeight": "normal",
            "titlePadding": 8,
        },
        "title": {
            "aria": False,
            "anchor": "start",
            "frame": "bounds",
            "color": TEXT,
            "fontSize": TITLE,
            "subtitleColor": FAINT,
            "subtitleFontSize": SMALL,
            "subtitlePadding": 5,
            "offset": 14,
        },
    }


Styles = Mapping[str, Style]


def styles_of(rows: Iterable[Row]) -> dict[str, Style]:
    """The styles of all rows of a run by their labels; a block alone has that of its first ratio.

    A block has one colour, by its place among the blocks of the run, and each of its ratios a dash
    and a mark, by their place among the lines.
    """
    lines: dict[str, Style] = {}
    blocks: dict[str, int] = {}
    firsts: dict[str, Style] = {}
    for row in rows:
        name, block = label(row), label_without_ratio(row)
        if name not in lines:
            place = blocks.setdefault(block, len(blocks))
            lines[name] = style(place, len(lines))
            firsts.setdefault(block, lines[name])
    return {**firsts, **lines}
