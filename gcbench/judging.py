"""Verdicts on what two runs say of the same things: faster, slower, same, or not to be told; pure.

Each case is judged by itself, and each block by the mean of its cases, which tells less from more.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from gcbench.movement import Arm, Surroundings
from gcbench.statistics import ERROR_RATE, Interval, Noise, Verdict, resolvable, verdict

# cells and whole blocks are two looks for the same thing, and share the error rate
LOOKS = 2


@dataclass(frozen=True, slots=True)
class Judgement:
    """What two runs say of one thing's latency, in ratios of B to A.

    `ratio` is what was seen, with the interval that the replicates of both runs give; `beside` what
    the things measured beside it moved by, with the interval in which an unchanged one would lie;
    `own` is the one over the other. `resolves` is the smallest difference that would have been
    told, as a share.
    """

    ratio: Interval
    beside: Interval
    own: Interval
    resolves: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Whole:
    """All cells of one block together, of which there are intervals.

    `cells` counts them, `judgement` is of their geometric mean.
    """

    block: str
    cells: int
    verdicts: Mapping[str, int]
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class Timed:
    """A case that both runs timed, in logarithms: how it moved, and what that is held against.

    Cases of one `group` were timed together in both runs; `clone` is how a clone of the case's
    `input` moved there.
    """

    key: str
    block: str
    group: tuple[int, int]
    input: tuple[object, ...]
    moved: Interval
    clone: float
    noise: Noise

    @property
    def known(self) -> bool:
        """Whether there were replicates enough for every interval."""
        return all(each.known for each in (self.moved, *self.noise.intervals))


def clones_of(timed: Sequence[Timed]) -> list[Arm]:
    """How clones of the inputs moved, each once."""
    found = {(each.group, each.input): each.clone for each in timed}
    return [Arm(group, None, moved) for (group, _), moved in found.items()]


def judge(timed: Sequence[Timed], clones: Sequence[Arm]) -> dict[str, Judgement]:
    """Judge each case by its key, against what moved beside it.

    What has too few replicates for an interval is no measure of others.
    """
    known = [each for each in timed if each.known]
    beside = Surroundings([*(Arm(t.group, t.block, t.moved.mid) for t in known), *clones])
    rate = ERROR_RATE / LOOKS / max(len(timed), 1)
    return {
        each.key: _judged(each.moved, beside.expected(each.group, each.block, rate), each.noise)
        for each in timed
    }


def wholes(
    timed: Sequence[Timed], clones: Sequence[Arm], judged: Mapping[str, Judgement]
) -> list[Whole]:
    """Judge the mean of each block's cells, against the means of the other blocks and of clones.

    Where the machine moves, one block's cells move alike: so blocks, not cells, are counted.
    """
    timed = [each for each in timed if each.known]
    means = _group_means(timed, clones)
    by_block: dict[str | None, list[Timed]] = {}
    for each in timed:
        by_block.setdefault(each.block, []).append(each)
    # in each group from the mean of all in it, so that blocks of unlike groups compare
    moved = {
        block: fmean(each.moved.mid - means[each.group] for each in cells)
        for block, cells in by_block.items()
    }
    if clones:
        moved[None] = fmean(arm.moved - means[arm.group] for arm in clones)
    beside = Surroundings([Arm(None, block, value) for block, value in moved.items()])
    rate = ERROR_RATE / LOOKS / max(len(by_block), 1)
    return [
        Whole(
            str(block),
            len(cells),
            Counter(judged[each.key].verdict for each in cells),
            _whole(cells, means, beside.expected(None, str(block), rate)),
        )
        for block, cells in by_block.items()
    ]


def _group_means(timed: Sequence[Timed], clones: Sequence[Arm]) -> dict[Any, float]:
    moved: dict[Any, list[float]] = {}
    for each in timed:
        moved.setdefault(each.group, []).append(each.moved.mid)
    for arm in clones:
        moved.setdefault(arm.group, []).append(arm.moved)
    return {group: fmean(values) for group, values in moved.items()}


def _whole(cells: Sequence[Timed], means: Mapping[Any, float], beside: Interval) -> Judgement:
    """Judge a block's mean: cells err each by itself, copies may differ alike in all of them."""
    shift = fmean(means[each.group] for each in cells)
    moved = _mean([each.moved for each in cells])
    noise = Noise(
        tuple(_mean_alike([each.noise.intervals[side] for each in cells]) for side in (0, 1)),
        max(each.noise.precision for each in cells),
    )
    expected = Interval(beside.mid + shift, beside.lo + shift, beside.hi + shift)
    return _judged(moved, expected, noise)


def _mean(intervals: Sequence[Interval]) -> Interval:
    """The interval of a mean of independent estimates."""
    mid = fmean(each.mid for each in intervals)
    below = math.hypot(*(each.mid - each.lo for each in intervals)) / len(intervals)
    above = math.hypot(*(each.hi - each.mid for each in intervals)) / len(intervals)
    return Interval(mid, mid - below, mid + above)


def _mean_alike(intervals: Sequence[Interval]) -> Interval:
    """The interval of a mean of estimates that may err together."""
    return Interval(*(fmean(ends) for ends in zip(*intervals, strict=True)))


def _judged(moved: Interval, expected: Interval, noise: Noise) -> Judgement:
    own = moved.less(expected)
    return Judgement(
        moved.exp(),
        expected.exp(),
        own.exp(),
        math.expm1(resolvable(own, noise)),
        verdict(own, noise),
    )
