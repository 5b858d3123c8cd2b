"""Where one block becomes faster than another as the input grows."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from typing import Any

from gcbench.analysis.pairwise import Source, Word, judged
from gcbench.analysis.points import (
    VARIABLES,
    Context,
    Line,
    Point,
    Variable,
    context_json,
    context_text,
    lines,
    span_text,
)
from gcbench.units import counted

MOST_TOLD = 5
# a pair that changes places more often than this is told by how often
MOST_CHANGES = 2


@dataclass(frozen=True, slots=True)
class Stretch:
    """Neighbouring values of the variable at which a pair has one verdict."""

    word: Word
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class Crossover:
    """Two blocks of which one is faster here and slower there, each by a resolved verdict.

    `stretches` go from the least value of the variable to the greatest, those that are unresolved
    among them, and say how the first block stands to the second.
    """

    one: str
    other: str
    variable: Variable
    context: Context
    stretches: tuple[Stretch, ...]

    @property
    def resolved(self) -> tuple[Stretch, ...]:
        """The stretches with a verdict, neighbours of one verdict joined."""
        known = (each for each in self.stretches if each.word != "unresolved")
        joined = [list(same) for _, same in groupby(known, lambda each: each.word)]
        return tuple(Stretch(same[0].word, same[0].first, same[-1].last) for same in joined)

    def as_json(self) -> dict[str, Any]:
        """Everything as an object."""
        return {
            "block": self.one,
            "other": self.other,
            "variable": self.variable.letter,
            "axes": context_json(self.context),
            "stretches": [
                {"verdict": each.word, "from": each.first, "to": each.last}
                for each in self.stretches
            ],
        }


@dataclass(frozen=True, slots=True)
class Crossing:
    """What was found of all pairs along all lines.

    `open` counts pairs whose medians change places without a verdict on both sides; `over` are the
    least and the greatest value of each variable at which two blocks or more were timed.
    """

    found: tuple[Crossover, ...]
    open: int
    over: tuple[tuple[Variable, str, str], ...]


def crossing(points: Sequence[Point], source: Source) -> Crossing:
    """Look at every pair of blocks along every variable; samples are read only where medians cross.

    A crossover needs a verdict on both sides.
    """
    candidates, over = [], []
    for variable in VARIABLES:
        timed = [point for point in points if point.latency_us]
        contexts = _by_context(lines(timed, variable))
        pairs = [pair for same in contexts for pair in combinations(same, 2)]
        walks = [(one, other, _side_by_side(one, other)) for one, other in pairs]
        walks = [walk for walk in walks if len(walk[2]) > 1]
        if walks:
            met = sorted((p for walk in walks for p, _ in walk[2]), key=variable.of)
            over.append((variable, variable.at(met[0]), variable.at(met[-1])))
        candidates += [walk for walk in walks if _crosses(walk[2])]
    verdicts = judged(source, (pair for _, _, met in candidates for pair in met))
    found = [
        Crossover(
            one.label,
            other.label,
            one.variable,
            one.context,
            _stretches(one.variable, [(pair[0], verdicts[pair].word) for pair in met]),
        )
        for one, other, met in candidates
    ]
    kept = tuple(each for each in found if len(each.resolved) > 1)
    return Crossing(kept, len(found) - len(kept), tuple(over))


def sentences(crossing: Crossing, named: Iterable[str]) -> Iterator[str]:
    """Say each crossover in a line, `MOST_TOLD` at most; `named` are the axes that vary."""
    named = set(named)
    for each in crossing.found[:MOST_TOLD]:
        yield _sentence(each, named)
    left = len(crossing.found) - MOST_TOLD
    if left > 0:
        yield f"and {left} more crossovers: --format json has them"
    pairs = counted(crossing.open, "pair")
    close = f"{pairs} may: the medians cross, but not by verdicts on both sides"
    if crossing.over and not crossing.found:
        _, first, last = crossing.over[0]
        none = f"no two blocks are found to change places from {span_text(first, last)}"
        yield f"{none}; {close}" if crossing.open else none
    elif crossing.open:
        yield f"of the others {close}"


def _by_context(along: Iterable[Line]) -> list[list[Line]]:
    found: dict[Context, list[Line]] = {}
    for line in along:
        found.setdefault(line.context, []).append(line)
    return list(found.values())


def _side_by_side(one: Line, other: Line) -> list[tuple[Point, Point]]:
    """The points of two lines that share a record, along the variable."""
    beside = {point.place.record: point for point in other.points}
    return [(p, beside[p.place.record]) for p in one.points if p.place.record in beside]


def _crosses(met: Sequence[tuple[Point, Point]]) -> bool:
    below = {(one.latency_us or 0) < (other.latency_us or 0) for one, other in met}
    return len(below) > 1


def _stretches(variable: Variable, walk: Sequence[tuple[Point, Word]]) -> tuple[Stretch, ...]:
    grouped = ((word, [point for point, _ in same]) for word, same in groupby(walk, lambda w: w[1]))
    return tuple(
        Stretch(word, variable.at(points[0]), variable.at(points[-1])) for word, points in grouped
    )


def _sentence(each: Crossover, named: set[str]) -> str:
    where = context_text(each.context, named)
    start = f"{f'{where}: ' if where else ''}{each.one} is "
    changes = len(each.resolved) - 1
    if changes > MOST_CHANGES:
        ends = f"from {span_text(each.stretches[0].first, each.stretches[-1].last)}"
        return f"{start}faster and slower than {each.other} by turns: {changes} changes {ends}"
    first, *middle, last = each.resolved
    parts = [
        f"{first.word} than {each.other} up to {first.last}",
        *(f"{stretch.word} {_span(stretch)}" for stretch in middle),
        f"{last.word} from {last.first} on",
    ]
    text = f"{start}{', '.join(parts[:-1])} and {parts[-1]}"
    unknown = [_span(stretch) for stretch in each.stretches if stretch.word == "unresolved"]
    return f"{text} (unresolved {' and '.join(unknown)})" if unknown else text


def _span(stretch: Stretch) -> str:
    if stretch.first == stretch.last:
        return f"at {stretch.first}"
    return f"from {span_text(stretch.first, stretch.last)}"
