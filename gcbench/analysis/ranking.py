"""How far MACs mislead: their order against the order of latencies, and the worst inversion.

Kendall's tau-b counts pairs of cases that were timed together: those that both order alike, less
those that they order differently, over the geometric mean of the numbers of pairs that each of them
orders at all. So ties take nothing for granted, and several comparisons add up pair by pair.
"""

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

from gcbench.analysis.pairwise import PointPair, Source, judged
from gcbench.analysis.points import Context, Point, by_comparison, context_json, context_text

# two cases have an order, or none: nothing to correlate
FEWEST = 3
# inversions by medians that are looked at for one that a verdict resolves
MOST_TRIED = 50


class Tally(NamedTuple):
    """Pairs in order and out of order, and how many pairs each of the two quantities orders."""

    alike: int = 0
    inverted: int = 0
    by_macs: int = 0
    by_latency: int = 0

    @property
    def tau(self) -> float | None:
        """Kendall's tau-b; None where one of the two orders nothing."""
        both = math.sqrt(self.by_macs * self.by_latency)
        return (self.alike - self.inverted) / both if both else None

    def plus(self, other: "Tally") -> "Tally":
        """The pairs of both."""
        return Tally(*(a + b for a, b in zip(self, other, strict=True)))


@dataclass(frozen=True, slots=True)
class Inversion:
    """A block with more MACs than another that is faster all the same, by a resolved verdict.

    `macs_ratio` is above 1, infinite where the other has none; `relative` is below 1.
    """

    heavier: str
    lighter: str
    context: Context
    macs_ratio: float
    relative: float

    def as_json(self) -> dict[str, Any]:
        """Everything as an object."""
        return {
            "block": self.heavier,
            "other": self.lighter,
            "axes": context_json(self.context),
            "macs_ratio": self.macs_ratio if math.isfinite(self.macs_ratio) else None,
            "relative": self.relative,
        }


@dataclass(frozen=True, slots=True)
class Rank:
    """The two orders in one comparison of so many cases."""

    context: Context
    cases: int
    tally: Tally

    def as_json(self) -> dict[str, Any]:
        """Everything as an object."""
        return {
            "axes": context_json(self.context),
            "cases": self.cases,
            "kendall_tau_b": self.tally.tau,
            "pairs_alike": self.tally.alike,
            "pairs_inverted": self.tally.inverted,
        }


@dataclass(frozen=True, slots=True)
class Ranking:
    """The orders of every comparison, their sum, and the worst inversion that is resolved."""

    each: tuple[Rank, ...]
    worst: Inversion | None

    @property
    def overall(self) -> Tally:
        """The pairs of all comparisons."""
        total = Tally()
        for rank in self.each:
            total = total.plus(rank.tally)
        return total

    def as_json(self) -> dict[str, Any]:
        """Everything as an object."""
        return {
            "kendall_tau_b": self.overall.tau,
            "worst_inversion": self.worst and self.worst.as_json(),
            "comparisons": [rank.as_json() for rank in self.each],
        }


def ranking(points: Sequence[Point], source: Source) -> Ranking:
    """Compare the order of MACs with that of latencies within every comparison."""
    known = [point for point in points if point.latency_us and point.macs is not None]
    groups = [group for group in by_comparison(known) if len(group) >= FEWEST]
    ranks = [Rank((*group[0].axes, *group[0].paired), len(group), tally(group)) for group in groups]
    return Ranking(
        tuple(rank for rank in ranks if rank.tally.tau is not None), _worst(groups, source)
    )


def tally(points: Sequence[Point]) -> Tally:
    """Count the pairs of points that MACs and latency order alike, and differently."""
    alike = inverted = by_macs = by_latency = 0
    for one, other in combinations(points, 2):
        macs = _sign((one.macs or 0) - (other.macs or 0))
        latency = _sign((one.latency_us or 0) - (other.latency_us or 0))
        by_macs += macs != 0
        by_latency += latency != 0
        alike += macs * latency > 0
        inverted += macs * latency < 0
    return Tally(alike, inverted, by_macs, by_latency)


def sentences(ranking: Ranking, named: Iterable[str]) -> Iterator[str]:
    """Say it in one line; `named` are the axes that vary."""
    tau = ranking.overall.tau
    if tau is None:
        return
    each = [rank.tally.tau or 0.0 for rank in ranking.each]
    where = f"the {ranking.each[0].cases} cases"
    if len(each) > 1:
        ends = f", {_tau_text(min(each))} to {_tau_text(max(each))} in each"
        where = f"{len(each)} comparisons{ends if min(each) < max(each) else ''}"
    told = f"order by MACs against order by latency: Kendall's tau-b is {_tau_text(tau)} ({where})"
    if ranking.worst:
        yield f"{told}; worst inversion{_inversion_text(ranking.worst, set(named))}"
    elif ranking.overall.inverted:
        yield f"{told}; no inversion is resolved"
    else:
        yield told


def _worst(groups: Sequence[Sequence[Point]], source: Source) -> Inversion | None:
    """Of the inversions that a verdict resolves, the one with the largest ratio of MACs."""
    pairs = heapq.nlargest(MOST_TRIED, _inverted(groups), key=_ratio_of_pair)
    verdicts = judged(source, pairs)
    for pair in pairs:
        found = verdicts[pair]
        if found.word == "faster" and found.relative:
            heavier, lighter = pair
            return Inversion(
                heavier.label, lighter.label, heavier.axes, _ratio_of_pair(pair), found.relative
            )
    return None


def _inverted(groups: Sequence[Sequence[Point]]) -> Iterator[PointPair]:
    for group in groups:
        for pair in combinations(group, 2):
            heavier, lighter = sorted(pair, key=lambda point: -(point.macs or 0))
            more = (heavier.macs or 0) > (lighter.macs or 0)
            if more and (heavier.latency_us or 0) < (lighter.latency_us or 0):
                yield heavier, lighter


def _ratio_of_pair(pair: PointPair) -> float:
    heavier, lighter = pair
    return (heavier.macs or 0) / lighter.macs if lighter.macs else math.inf


def _inversion_text(worst: Inversion, named: set[str]) -> str:
    where = context_text(worst.context, named)
    more = (
        f"{worst.macs_ratio:.3g} times the MACs of {worst.lighter}"
        if math.isfinite(worst.macs_ratio)
        else f"MACs where {worst.lighter} has none"
    )
    return (
        f"{f' at {where}' if where else ''}: {worst.heavier} has {more}, yet takes "
        f"{worst.relative:.2g} of its time"
    )


def _tau_text(tau: float) -> str:
    return f"{tau:.2g}"


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)
