"""Whose attention is drawn: how many queries, or positions, as `--queries` writes them."""

import math
import re
from collections.abc import Callable
from functools import partial

from gcbench.attention.calls import Grid
from gcbench.errors import UsageError

# tiles beside each other
MOST = 12

Chooser = Callable[[Grid], tuple[Grid, ...]]


def parse(text: str) -> Chooser:
    """Read `3`, or `3x4,7x7` (row x column), as what chooses positions of a grid.

    That raises UsageError where a grid has no such position. Raises UsageError where the text is
    neither.

    >>> parse("3")((14, 14)), parse("3x4, 0x0")((14, 14))
    (((3, 3), (7, 7), (10, 10)), ((3, 4), (0, 0)))
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 1 and re.fullmatch(r"[0-9]{1,3}", parts[0]) and 1 <= int(parts[0]) <= MOST:
        return partial(_spread, int(parts[0]))
    found = [re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", part) for part in parts]
    if len(parts) > MOST or not all(found):
        raise UsageError(
            f"--queries takes a number from 1 to {MOST}, or as many positions, row x column, such "
            f"as 3x4,7x7, not {text!r}"
        )
    wanted = tuple(dict.fromkeys((int(each[1]), int(each[2])) for each in found if each))
    return partial(_within, wanted)


def _spread(count: int, grid: Grid) -> tuple[Grid, ...]:
    """Positions along the diagonal, evenly, from the upper left; each once."""
    steps = [(number + 1) / (count + 1) for number in range(count)]
    along = ((math.floor(grid[0] * step), math.floor(grid[1] * step)) for step in steps)
    return tuple(dict.fromkeys(along))


def _within(wanted: tuple[Grid, ...], grid: Grid) -> tuple[Grid, ...]:
    for row, column in wanted:
        if row >= grid[0] or column >= grid[1]:
            raise UsageError(
                f"--queries {row}x{column} is outside the map of {grid[0]}x{grid[1]} positions: "
                f"0x0 to {grid[0] - 1}x{grid[1] - 1}"
            )
    return wanted
