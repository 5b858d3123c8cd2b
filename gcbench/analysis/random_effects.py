"""What moved between two runs, and whether it was one block or the machine; pure.

Two runs are apart in time, so nothing in them is paired: between them the machine moves, and moves
unlike things unlike. Nothing inside one run shows that. What shows it are the *other* things that
were measured both times beside a block: other blocks, and clones of the input. How far they moved
says what to expect of a block that did not change, and how far they moved apart says how far that
can be trusted. `docs/method.md` has the reasons and what was measured.
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gcbench.stats.intervals import ERROR_RATE, Interval
from gcbench.stats.textbook import lack_of_fit, student_t

# of logarithms: replicates that are alike to the nanosecond still weigh no more than this says
LEAST_VARIANCE = 1e-10
# how closely the scatter is sought, as a share of it
CLOSENESS = 1e-3


@dataclass(frozen=True, slots=True)
class Arm:
    """One thing measured in both runs: the logarithm of its second latency over its first.

    Those of one `group` were timed in the same moments of both runs. `block` is the target that it
    is an arm of, None for a clone of an input. `variance` is that of `moved`, as far as replicates
    show it.
    """

    group: Hashable
    block: str | None
    moved: float
    variance: float


class _Fit(NamedTuple):
    """What moved beside a block: by group the mean and its variance, and what is left over.

    `scatter` is the variance beyond the replicates' with which unlike things move apart, `freedom`
    the number of independent deviations that it rests on.
    """

    centres: NDArray[np.float64]
    variances: NDArray[np.float64]
    scatter: float
    freedom: int

    def everywhere(self, groups: int) -> "_Fit":
        """Take the one group for so many."""
        return self._replace(
            centres=np.repeat(self.centres, groups), variances=np.repeat(self.variances, groups)
        )


class ControlGroup:
    """What moved beside each block between two runs.

    A block is never held against its own arms, whatever their options: a change of its code would
    move them all.
    """

    def __init__(self, arms: Sequence[Arm]) -> None:
        """Gather arms."""
        groups = {group: number for number, group in enumerate({arm.group: None for arm in arms})}
        self._numbers = groups
        self._group = np.array([groups[arm.group] for arm in arms], dtype=np.int64)
        self._block = np.array([arm.block or "" for arm in arms], dtype=object)
        self._moved = np.array([arm.moved for arm in arms], dtype=np.float64)
        self._variance = np.array([arm.variance for arm in arms], dtype=np.float64)
        self._fits: dict[str, _Fit] = {}

    def expected(
        self, group: Hashable, block: str, error_rate: float, own: "BlockScatter | None" = None
    ) -> Interval:
        """Say how far an arm of a block would have moved, had the block not changed.

        That is a prediction interval of the random-effects model (Higgins, Thompson and
        Spiegelhalter, Journal of the Royal Statistical Society A 172, 2009): around the weighted
        mean of the group's others, as wide as others differ from those of their own groups. Where
        no group has two others, all groups are taken for one. Infinite ends mean that too little
        was there. `own` is how calm the block's own arms are: where they differ
        more among themselves than others do, that is taken.
        """
        if block not in self._fits:
            self._fits[block] = self._fitted(block)
        fit = self._fits[block]
        number = self._numbers.get(group)
        if number is None or fit.freedom < 1:
            return Interval(0.0, -math.inf, math.inf)
        centre = float(fit.centres[number])
        scatter, freedom = fit.scatter, fit.freedom
        if own and own.variance > scatter:
            scatter, freedom = own.variance, min(freedom, own.number - 1)
        spread = math.sqrt(scatter + float(fit.variances[number]))
        reach = student_t(freedom, error_rate) * spread
        return Interval(centre, centre - reach, centre + reach).or_unknown()

    def _fitted(self, block: str) -> _Fit:
        others = self._block != block
        moved, variance, group = self._moved[others], self._variance[others], self._group[others]
        number = len(self._numbers)
        if len(moved) > len(np.unique(group)):
            return _fit(moved, variance, group, number)
        # no two are side by side
        return _fit(moved, variance, np.zeros_like(group), 1).everywhere(number)


def _fit(
    moved: NDArray[np.float64],
    variance: NDArray[np.float64],
    group: NDArray[np.int64],
    groups: int,
) -> _Fit:
    """Fit the scatter beyond the replicates' with which arms move apart in their groups."""
    freedom = len(moved) - len(np.unique(group))
    variance = np.maximum(variance, LEAST_VARIANCE)

    def weighed(scatter: float) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        weights = 1 / (variance + scatter)
        total = np.bincount(group, weights, groups)
        with np.errstate(divide="ignore", invalid="ignore"):
            centres = np.bincount(group, weights * moved, groups) / total
            return float(np.sum(weights * (moved - centres[group]) ** 2)), centres, 1 / total

    most = float(np.ptp(moved)) ** 2 if len(moved) else 0.0
    found = lack_of_fit(lambda scatter: weighed(scatter)[0], freedom, most, CLOSENESS)
    return _Fit(*weighed(found)[1:], found, freedom)


class BlockScatter(NamedTuple):
    """How a block moved against the middles of its groups, and with what variance its arms differ.

    `variance` is that of one arm about `middle`, the median of them; `number` counts them.
    """

    middle: float
    variance: float
    number: int

    def of_median(self, variance: float) -> float:
        """Take a variance of one arm to that of the median of all, were they normal and many."""
        return variance * (math.pi / 2 if self.number > 2 else 1.0) / self.number

    @property
    def as_median(self) -> "BlockScatter":
        """The same of the median instead of an arm."""
        return self._replace(variance=self.of_median(self.variance))


def by_block(arms: Sequence[Arm]) -> dict[str | None, BlockScatter]:
    """Say how each block moved, whatever its groups did as a whole.

    By medians and the median of absolute deviations from them: a few arms that something disturbed
    change neither, and a change of all arms of a block alike is no deviation.
    """
    groups: dict[Hashable, list[float]] = defaultdict(list)
    for arm in arms:
        groups[arm.group].append(arm.moved)
    middles = {group: median(moved) for group, moved in groups.items()}
    blocks: dict[str | None, list[float]] = defaultdict(list)
    for arm in arms:
        blocks[arm.block].append(arm.moved - middles[arm.group])
    return {
        block: BlockScatter(median(moved), _spread(moved) ** 2, len(moved))
        for block, moved in blocks.items()
    }


def _spread(values: Sequence[float]) -> float:
    """Standard deviation of normal values of which some are not; 0 where there are under three.

    With the factor for few of Croux and Rousseeuw (COMPSTAT 1992).
    """
    if len(values) < 3:
        return 0.0
    middle = median(values)
    few = len(values) / (len(values) - 0.8)
    return 1.4826 * few * median(abs(value - middle) for value in values)


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
    reach = student_t(len(parts) - 1, ERROR_RATE) * math.sqrt(variance / len(parts))
    return Interval(mean, mean - reach, mean + reach).or_unknown()
