"""Rows as points and lines of one panel, before anything is drawn."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gcbench.report.cells import estimate, shown
from gcbench.report.charts import theme
from gcbench.report.charts.labels import distinct
from gcbench.report.charts.quantities import Doubt, Quantity
from gcbench.report.charts.theme import Style, Styles
from gcbench.report.charts.varying import Along
from gcbench.report.text import printable
from gcbench.results.tables import Row
from gcbench.spec.labels import label
from gcbench.units import interval_text

# room of a label beside a line
WIDEST_LABEL = 210.0


@dataclass(frozen=True)
class Point:
    """One case: its place and value, the ends of its interval, and what a pointer shows of it.

    Points of one `stretch` are joined; a case that failed ends a stretch.
    """

    x: float
    y: float
    lo: float | None
    hi: float | None
    doubt: Doubt | None
    stretch: int
    tip: Mapping[str, str]

    @property
    def place(self) -> tuple[float, float]:
        """Place and value."""
        return self.x, self.y


@dataclass(frozen=True)
class Curve:
    """One block in one panel: its points along the axis, and where it failed and how."""

    label: str
    style: Style
    points: tuple[Point, ...]
    failed: tuple[tuple[float, str], ...]

    @property
    def number(self) -> str:
        """The number of its style, as data has it."""
        return str(self.style.number)


def curves(
    rows: Iterable[Row],
    axis: Along,
    quantity: Quantity,
    styles: Styles,
    name: Callable[[Row], str] = label,
) -> list[Curve]:
    """Make the curves of one panel, in the order of the blocks: rows of one name are one curve.

    `styles` are those of all blocks of the chart, so that labels are the same in each panel.
    """
    short = shorts(styles)
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(name(row), []).append(row)
    return [
        _curve(short[word], sorted(mine, key=axis.place), axis, quantity, styles[word])
        for word, mine in found.items()
    ]


def _curve(word: str, rows: Sequence[Row], axis: Along, quantity: Quantity, style: Style) -> Curve:
    points: list[Point] = []
    failed: list[tuple[float, str]] = []
    stretch = 0
    for row in rows:
        if quantity.known(row):
            points.append(point(row, axis.place(row), quantity, stretch, axis.word(row)))
        else:
            stretch += 1
            failed.append((axis.place(row), quantity.why_missing(row)))
    return Curve(word, style, tuple(points), tuple(failed))


def shorts(names: Iterable[str]) -> dict[str, str]:
    """What stands at the curves of these names: harmless, short, and no two alike."""
    known = list(names)
    words = distinct([printable(name) for name in known], theme.LABEL, WIDEST_LABEL)
    return dict(zip(known, words, strict=True))


def point(row: Row, x: float, quantity: Quantity, stretch: int = 0, at: str = "") -> Point:
    """Make the point of one case that has a value."""
    lo, hi = quantity.ends(row)
    return Point(
        x, float(row[quantity.column]), lo, hi, quantity.doubt(row), stretch, tip(row, quantity, at)
    )


def tip(row: Row, quantity: Quantity, at: str = "") -> dict[str, str]:
    """What a pointer on a case shows: words by their names."""
    words = {"block": label(row), "at": at, quantity.title: shown(row, quantity.column)}
    if None not in quantity.ends(row):
        words["95 % interval"] = interval_text(*estimate(row, quantity.column))
    words["verdict"] = row["verdict"] or ""
    return {name: printable(word) for name, word in words.items() if word}


def extents(points: Iterable[Point]) -> Iterator[float]:
    """The values that a scale must hold: points, and ends of intervals that are not far away."""
    for each in points:
        yield each.y
        if each.lo is not None and each.hi is not None:
            yield max(each.lo, each.y / 10)
            yield min(each.hi, each.y * 10)
