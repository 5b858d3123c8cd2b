"""What is known of a column: what its cells hold, in which unit, and what they mean."""

from dataclasses import dataclass
from typing import Literal

Unit = Literal[
    "us", "ms", "s", "mJ", "B", "MACs", "FLOPs", "parameters", "images/s", "times", "share"
]

# no number of a run is larger, whatever shapes are counted on paper
MOST = 1e60


@dataclass(frozen=True)
class Column:
    """A column, declared once: whatever shows, selects, sorts or checks its cells reads this.

    `doc` is its line in the documentation. `title` says in pivots what their cells are, `short`
    the same in a word or two; without them it is the name. `digits_of` is the column whose
    interval (`_lo`, `_hi`) says how many digits a cell has for people. A stored number is from
    `least` to `most`. What is `of_case` is known before anything is measured.
    """

    name: str
    kind: type[int] | type[float] | type[str]
    doc: str
    unit: Unit | None = None
    title: str = ""
    short: str = ""
    digits_of: str | None = None
    least: float = 0
    most: float = MOST
    of_case: bool = False

    @property
    def compared(self) -> type[int] | type[str]:
        """What a condition may compare its cells with: numbers (int), or text (str)."""
        return str if self.kind is str else int

    @property
    def heading(self) -> str:
        """What its cells are, in words."""
        return self.title or self.name

    @property
    def noun(self) -> str:
        """The same, as short as it goes."""
        return self.short or self.heading

    @property
    def holds(self) -> str:
        """Its kind and unit, for the documentation.

        >>> Column("peak_memory_bytes", int, "the most bytes alive", unit="B").holds
        'int, B'
        """
        return f"{self.kind.__name__}, {self.unit}" if self.unit else self.kind.__name__

    def takes(self, cell: object) -> bool:
        """Tell whether a cell may be stored: nothing, or of its kind and within its bounds.

        >>> size = Column("size_bytes", int, "bytes")
        >>> size.takes(None), size.takes(8), size.takes(-8), size.takes(0.5), size.takes("8")
        (True, True, False, False, False)
        """
        if cell is None or self.kind is str:
            return cell is None or isinstance(cell, str)
        kinds = int if self.kind is int else int | float
        return isinstance(cell, kinds) and self.least <= cell <= self.most
