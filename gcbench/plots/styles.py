"""How each line of a run is drawn, the same in every chart of it."""

from collections.abc import Iterable, Mapping

from gcbench.labels import label, label_without_ratio
from gcbench.plots.theme import Style, style
from gcbench.tables import Row

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
