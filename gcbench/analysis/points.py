"""What findings need of a row: a small projection, so that a run of any size can be looked at."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gcbench.results.tables import Address, Row
from gcbench.spec.labels import AXES, TOLD, axes_text, axis_word, full_label, unusual

# of the 95 % interval of a latency to its standard error
_NORMAL = 1.96

Context = tuple[tuple[str, str], ...]


class Point(NamedTuple):
    """One case: its name, where it stands in the run and on the axes, and what it costs.

    `axes` are the words of all axes but block, ratio and a paired one, the network and the device;
    `error` is the standard error of the logarithm of the latency (in microseconds), 0 where it is
    not known; `paired` is the paired axis with its word, where there is one.
    """

    label: str
    place: Address
    axes: Context
    height: int
    width: int
    channels: int
    macs: int | None
    latency_us: float | None
    error: float
    verdict: str | None
    relative: float | None
    paired: Context = ()


class Variable(NamedTuple):
    """What a cost may grow with: its letter, what that is, the axis, and its value."""

    letter: str
    meaning: str
    axis: str
    of: Callable[[Point], int]

    def at(self, point: Point) -> str:
        """The value as people read it."""
        return AXES[self.axis](dict(point.axes)[self.axis])


VARIABLES = (
    Variable("N", "N = H*W", "size", lambda point: point.height * point.width),
    Variable("C", "the channels C", "channels", lambda point: point.channels),
)


class Line(NamedTuple):
    """The points of one label along one variable, in ascending order; all else is `context`."""

    variable: Variable
    label: str
    context: Context
    points: tuple[Point, ...]


def point_of(row: Row, place: Address, kept: dict[Any, Any]) -> Point:
    """Make the projection of a row. Texts that many rows share are kept once, in `kept`."""
    axes = tuple((axis, axis_word(row, axis)) for axis in TOLD if axis != row["pair"])
    axes = (("network", row["network"] or ""), *axes)
    label = full_label(row)
    return Point(
        label=kept.setdefault(label, label),
        place=place,
        axes=kept.setdefault(axes, axes),
        height=row["height"],
        width=row["width"],
        channels=row["channels"],
        macs=row["macs"] if isinstance(row["macs"], int) else None,
        latency_us=row["latency_us"] if row["status"] == "ok" else None,
        error=_error(row),
        verdict=row["verdict"],
        relative=row["relative"],
        paired=((pair, axis_word(row, pair)),) if (pair := row["pair"]) else (),
    )


def lines(points: Iterable[Point], variable: Variable) -> Iterator[Line]:
    """The lines along a variable, in the order in which they begin."""
    found: dict[tuple[str, Context], list[Point]] = {}
    for point in points:
        context = tuple(each for each in point.axes if each[0] != variable.axis)
        found.setdefault((point.label, context), []).append(point)
    for (label, context), along in found.items():
        yield Line(variable, label, context, tuple(sorted(along, key=variable.of)))


def varying(points: Iterable[Point]) -> set[str]:
    """The axes in which the points differ."""
    seen: dict[str, set[str]] = {}
    for axes in {point.axes for point in points}:
        for axis, word in axes:
            seen.setdefault(axis, set()).add(word)
    return {axis for axis, words in seen.items() if len(words) > 1}


def span_text(first: str, last: str) -> str:
    """Two values of a variable; a unit that both have is said once.

    >>> span_text("64 channels", "512 channels"), span_text("7x7", "56x56")
    ('64 to 512 channels', '7x7 to 56x56')
    """
    number, _, unit = first.rpartition(" ")
    return f"{number if number and last.endswith(f' {unit}') else first} to {last}"


def context_text(context: Context, named: Iterable[str]) -> str:
    """Say a context by those of its axes that are to be named."""
    wanted = set(named)
    words = {axis: word for axis, word in context if axis in wanted}
    network = words.pop("network", None)
    return " · ".join(part for part in (network, axes_text(words)) if part)


def context_json(context: Context) -> Mapping[str, str]:
    """A context as an object."""
    return {axis: word for axis, word in unusual(dict(context)).items() if word}


def by_comparison(points: Sequence[Point]) -> list[list[Point]]:
    """The points of each record, in their order: those were timed together.

    What a paired axis sets apart stands apart: beside itself compiled, a block has the same MACs.
    """
    found: dict[tuple[int, Context], list[Point]] = {}
    for point in points:
        found.setdefault((point.place.record, point.paired), []).append(point)
    return list(found.values())


def _error(row: Row) -> float:
    lo, hi = row["latency_us_lo"], row["latency_us_hi"]
    return math.log(hi / lo) / (2 * _NORMAL) if lo and hi else 0.0
