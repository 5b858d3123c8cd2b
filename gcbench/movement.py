"""What moved between two runs, and whether it was one block or the machine; pure.

Two runs are apart in time, so nothing in them is paired: between them the machine moves, and moves
unlike things unlike. Nothing inside one run shows that. What shows it are the *other* things that
were measured both times beside a block: other blocks, and clones of the input. How far they moved
says what to expect of a block that did not change, and how far they moved apart says how far that
can be trusted. `docs/method.md` has the reasons and what was measured.
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

from gcbench.statistics import ERROR_RATE, Interval

# up to here the distribution is summed, beyond it a series in 1/dof is closer than needed
MOST_SUMMED = 200


@dataclass(frozen=True, slots=True)
class Arm:
    """One thing measured in both runs: the logarithm of its second latency over its first.

    Those of one `group` were timed in the same moments of both runs. `block` is the target that it
    is an arm of, None for a clone of an input.
    """

    group: Hashable
    block: str | None
    moved: float


@dataclass(slots=True)
class _Sum:
    """Number, sum and sum of squares of some logarithms."""

    number: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        self.number += 1
        self.total += value
        self.squares += value * value

    def without(self, other: "_Sum") -> "_Sum":
        return _Sum(
            self.number - other.number, self.total - other.total, self.squares - other.squares
        )

    @property
    def mean(self) -> float:
        return self.total / self.number

    @property
    def residual(self) -> float:
        """Sum of squared deviations from the mean."""
        return max(0.0, self.squares - self.total**2 / self.number) if self.number else 0.0


class Surroundings:
    """What moved beside each block between two runs.

    A block is never held against its own arms, whatever their options: a change of its code would
    move them all.
    """

    def __init__(self, arms: Iterable[Arm]) -> None:
        """Gather arms."""
        self._groups: dict[Hashable, _Sum] = defaultdict(_Sum)
        self._own: dict[str | None, dict[Hashable, _Sum]] = defaultdict(lambda: defaultdict(_Sum))
        for arm in arms:
            self._groups[arm.group].add(arm.moved)
            self._own[arm.block][arm.group].add(arm.moved)
        self._scatter: dict[str, tuple[float, int]] = {}
        self._residual = sum(each.residual for each in self._groups.values())
        self._dof = sum(each.number - 1 for each in self._groups.values())

    def expected(self, group: Hashable, block: str, error_rate: float) -> Interval:
        """Say how far an arm of a block would have moved, had the block not changed.

        That is Student's prediction interval from what moved beside it: around the mean of the
        group's others, as wide as others differ from those of their own groups. Where no group
        has two others, all groups are taken for one. Infinite ends mean that too little was there.
        """
        if block not in self._scatter:
            self._scatter[block] = self._within(block)
        squares, dof = self._scatter[block]
        beside = self._groups[group].without(self._own[block][group])
        if dof == 0:
            beside = self._all_without(block)
            squares, dof = beside.residual, beside.number - 1
        if dof < 1:
            return Interval(beside.mean if beside.number else 0.0, -math.inf, math.inf)
        reach = student(dof, error_rate) * math.sqrt(squares / dof * (1 + 1 / beside.number))
        return Interval(beside.mean, beside.mean - reach, beside.mean + reach)

    def _within(self, block: str) -> tuple[float, int]:
        """Squared deviations of a block's others from the means of their groups, and the freedom.

        Groups without an arm of the block count whole.
        """
        squares, dof = self._residual, self._dof
        for group, own in self._own[block].items():
            whole = self._groups[group]
            others = whole.without(own)
            squares += others.residual - whole.residual
            dof += max(others.number - 1, 0) - (whole.number - 1)
        return max(squares, 0.0), dof

    def _all_without(self, block: str) -> _Sum:
        found = _Sum()
        for name, groups in self._own.items():
            if name != block:
                for each in groups.values():
                    found.number += each.number
                    found.total += each.total
                    found.squares += each.squares
        return found


def together(moved: Sequence[tuple[Hashable, float]]) -> Interval:
    """Mean of logarithms and its 95 % interval, by Student's t over the means of groups.

    Those of one group moved in the same moments, so groups are what is independent; of a single
    group the members are taken.
    """
    mean = fmean(value for _, value in moved)
    by_group: dict[Hashable, list[float]] = defaultdict(list)
    for group, value in moved:
        by_group[group].append(value)
    parts = [fmean(values) for values in by_group.values()]
    if len(parts) == 1:
        parts = [value for _, value in moved]
    if len(parts) == 1:
        return Interval(mean, -math.inf, math.inf)
    middle = fmean(parts)
    variance = sum((part - middle) ** 2 for part in parts) / (len(parts) - 1)
    reach = student(len(parts) - 1, ERROR_RATE) * math.sqrt(variance / len(parts))
    return Interval(mean, mean - reach, mean + reach)


def student(dof: int, error_rate: float) -> float:
    """The t that Student's distribution exceeds, on either side, at an error rate.

    By Abramowitz and Stegun, 26.7.3 and 26.7.4, solved by halving; 26.7.5 for many degrees.

    >>> [round(student(dof, 0.05), 3) for dof in (1, 4, 30, 1000)]
    [12.706, 2.776, 2.042, 1.962]
    """
    if dof > MOST_SUMMED:
        z = NormalDist().inv_cdf(1 - error_rate / 2)
        return z + (z**3 + z) / (4 * dof) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * dof**2)
    low, high = 0.0, math.pi / 2
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if _inside(middle, dof) < 1 - error_rate else (low, middle)
    return math.sqrt(dof) * math.tan(low)


def _inside(angle: float, dof: int) -> float:
    """P(|t| < sqrt(dof) tan(angle))."""
    cos, sin = math.cos(angle), math.sin(angle)
    odd = dof % 2
    term, total = (cos, 0.0) if odd else (1.0, 0.0)
    for k in range(1 + odd, dof, 2):
        total += term
        term *= cos**2 * k / (k + 1)
    return 2 / math.pi * (angle + sin * total) if odd else sin * total
