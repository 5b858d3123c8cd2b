"""What differs among the cases of a run: what goes along the x axis, and what makes panels."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gcbench.errors import UsageError
from gcbench.results.tables import Row
from gcbench.spec.labels import TOLD, axis_word, label, label_without_ratio
from gcbench.units import counted

# more than these nobody reads
MOST_PANELS, MOST_LINES = 12, 24
# axes with an order, those first that one looks for first
_NUMBERS = ("size", "channels", "batch", "threads")
# shapes that go together, such as those of a backbone's stages
_TOGETHER = (
    ("batch", "channels", "size"),
    ("channels", "size"),
    ("batch", "channels"),
    ("batch", "size"),
)
# every axis but block and ratio, and how a value of it is said
AXES: dict[str, Callable[[str], str]] = {"network": str, **TOLD}
_TITLES = {"batch": "batch size", "ratio": "ratio r"}


@dataclass(frozen=True)
class Along:
    """What goes along the x axis: the axes that it stands for, and each value's place and text.

    Where the values are numbers the places are those, for a log scale; else they are counted.
    `name` is what a sentence calls it.
    """

    axes: tuple[str, ...]
    name: str
    places: dict[str, float]
    log: bool

    def word(self, row: Row) -> str:
        """What the value of a row is called."""
        return "x".join(axis_word(row, axis) for axis in self.axes)

    @property
    def square(self) -> bool:
        """Whether this is the size, and all are as high as wide."""
        sides = [word.split("x") for word in self.places]
        return self.axes == ("size",) and all(height == width for height, width in sides)

    @property
    def title(self) -> str:
        """What stands at the axis."""
        sides = " (height = width)" if self.square else " (height x width)"
        scale = ", log scale" if self.log else ""
        return f"{self.name}{sides if 'size' in self.axes else ''}{scale}"

    def place(self, row: Row) -> float:
        """Where a row stands along the axis."""
        return self.places[self.word(row)]


def varied(rows: Iterable[Row]) -> dict[str, list[str]]:
    """The values of each axis that has more than one, in the order in which they come."""
    found: dict[str, dict[str, None]] = {axis: {} for axis in AXES}
    for row in rows:
        for axis, values in found.items():
            values[axis_word(row, axis)] = None
    return {axis: list(values) for axis, values in found.items() if len(values) > 1}


def along(rows: Sequence[Row]) -> Along | None:
    """What lines go along: the numeric axis with the most values. None where no such axis varies.

    Axes of the shape that vary together, as those of stages do, are one axis.
    """
    many = varied(rows)
    for axes in _TOGETHER:
        if all(axis in many for axis in axes):
            shapes = dict.fromkeys("x".join(axis_word(row, axis) for axis in axes) for row in rows)
            if len(shapes) == max(len(many[axis]) for axis in axes):
                return _counted(axes, list(shapes))
    numeric = [axis for axis in _NUMBERS if axis in many]
    if not numeric:
        return None
    return along_axis(rows, max(numeric, key=lambda axis: len(many[axis])))


def along_axis(rows: Iterable[Row], axis: str) -> Along:
    """Lay out one axis; `ratio` passes over the rows that have none."""
    numbers = {
        axis_word(row, axis): _number(row, axis) for row in rows if axis != "ratio" or row["ratio"]
    }
    if len(set(numbers.values())) < len(numbers):
        # 50x80 and 80x50 have as many positions
        return _counted((axis,), list(numbers))
    places = dict(sorted(numbers.items(), key=lambda each: each[1]))
    return Along((axis,), _TITLES.get(axis, axis), places, True)


def _number(row: Row, axis: str) -> float:
    return float(row["height"] * row["width"]) if axis == "size" else float(row[axis])


def _counted(axes: tuple[str, ...], words: Sequence[str]) -> Along:
    name = " x ".join(axes)
    return Along(axes, name, {word: float(number) for number, word in enumerate(words)}, False)


def words_of(row: Row, axes: Iterable[str]) -> str:
    """The values of some axes in words."""
    return " · ".join(AXES[axis](axis_word(row, axis)) for axis in axes)


def grouped(rows: Iterable[Row], axes: Sequence[str]) -> dict[str, list[Row]]:
    """Share rows out by the values of some axes, in the order in which they come."""
    panels: dict[str, list[Row]] = {}
    for row in rows:
        panels.setdefault(words_of(row, axes), []).append(row)
    return panels


def series(rows: Iterable[Row]) -> list[str]:
    """The labels of blocks with their ratios, in the order in which they come."""
    return list(dict.fromkeys(label(row) for row in rows))


def require_few(
    rows: Sequence[Row], panels: Mapping[str, Sequence[Row]], axes: Sequence[str]
) -> None:
    """Make sure that panels and lines can be read. Raises UsageError, which says how to narrow."""
    if len(panels) > MOST_PANELS:
        raise too_many(rows, counted(len(panels), "panel"), MOST_PANELS, axes)
    lines = max(len(series(group)) for group in panels.values())
    if lines > MOST_LINES:
        raise too_many(rows, counted(lines, "line"), MOST_LINES, ["ratio", "spec"])


def too_many(rows: Sequence[Row], what: str, most: int, axes: Sequence[str]) -> UsageError:
    """Say that a chart would hold too much, and which condition would keep a part of it."""
    found = {axis: list(dict.fromkeys(axis_word(row, axis) for row in rows)) for axis in axes}
    axis = max(found, key=lambda each: len(found[each]))
    names = " and ".join(each for each in axes if len(found[each]) > 1)
    return UsageError(
        f"that would be {what}, more than the {most} that can be read ({names} "
        f"over {counted(len(rows), 'case')}): keep a part with --where, as in "
        f"--where {condition(rows, axis)!r}"
    )


def condition(rows: Sequence[Row], axis: str) -> str:
    """A condition that keeps the cases at one value of an axis: that of the middle case."""
    row = rows[len(rows) // 2]
    if axis == "size":
        return f"height == {row['height']} and width == {row['width']}"
    found = row[axis] if row[axis] is not None else next(r[axis] for r in rows if r[axis])
    return f"{axis} == {found!r}"


def panels_of(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """Share rows that have a ratio out by block, and by all else that varies."""
    others = list(varied(rows))
    found: dict[tuple[str, str], list[Row]] = {}
    for block in dict.fromkeys(label_without_ratio(row) for row in rows):
        for row in rows:
            if label_without_ratio(row) == block:
                found.setdefault((block, words_of(row, others)), []).append(row)
    return found
