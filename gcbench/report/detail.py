"""How much stands below a table."""

from collections.abc import Iterable
from enum import IntEnum


class Detail(IntEnum):
    """How much is told below a table: nothing, cells' own words, what changes its reading, or all.

    A cell's own words are the reason of a failure, or what a mark in it means.
    """

    NONE = 0
    CELLS = 1
    CAUSES = 2
    ALL = 3


def told(
    detail: Detail,
    cells: Iterable[str] = (),
    causes: Iterable[str] = (),
    rest: Iterable[str] = (),
) -> list[str]:
    """As much of notes as is asked for: cells' own words, causes, and the rest."""
    kinds = ((Detail.CELLS, cells), (Detail.CAUSES, causes), (Detail.ALL, rest))
    return [note for least, notes in kinds if detail >= least for note in notes]
