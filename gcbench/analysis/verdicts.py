"""Verdicts on what two runs say of the same things: faster, slower, same, or not to be told; pure.

Each case is judged by itself, and each block by the median of its cases.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from statistics import fmean, median

from gcbench.analysis.random_effects import Arm, BlockScatter, ControlGroup, by_block
from gcbench.stats.intervals import ERROR_RATE, Interval, Noise, Verdict, resolvable, verdict


@dataclass(frozen=True, slots=True)
class Judgement:
    """What two runs say of one thing's latency, in ratios of B to A.

    `b_over_a` is what was seen, with the interval that the replicates of both runs give; `beside`
    what the things measured beside it moved by, with the interval in which an unchanged one would
    lie; `own` is the one over the other. `resolves` is the smallest difference that would have been
    told, as a share.
    """

    b_over_a: Interval
    beside: Interval
    own: Interval
    resolves: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class BlockResult:
    """All cells of one block together, of which there are intervals.

    `cells` counts them, `judgement` is of their median.
    """

    block: str
    cells: int
    verdicts: Mapping[str, int]
    judgement: Judgement

    @property
    def changed(self) -> bool:
        """Whether it was found faster or slower, as a whole or in a cell."""
        return bool({self.judgement.verdict, *self.verdicts} & {"faster", "slower"})


@dataclass(frozen=True, slots=True)
class Timed:
    """A case that both runs timed, in logarithms: how it moved, and what that is held against.

    Cases of one `group` were timed together in both runs; `clone` is how a clone of the case's
    `input` moved there. `variance` is that of `moved.mid`, as far as replicates show it.
    """

    key: str
    block: str
    group: tuple[int, int]
    input: tuple[object, ...]
    moved: Interval
    variance: float
    clone: Interval
    noise: Noise

    @property
    def known(self) -> bool:
        """Whether there were replicates enough for every interval."""
        return all(each.known for each in (self.moved, *self.noise.intervals))

    @property
    def arm(self) -> Arm:
        """What others are held against."""
        return Arm(self.group, self.block, self.moved.mid, self.variance)


def clones_of(timed: Sequence[Timed]) -> list[Arm]:
    """How clones of the inputs moved, each once."""
    found = {(each.group, each.input): each.clone for each in timed}
    return [
        Arm(group, None, moved.mid, moved.variance())
        for (group, _), moved in found.items()
        if moved.known
    ]


def judge(
    timed: Sequence[Timed], clones: Sequence[Arm]
) -> tuple[dict[str, Judgement], list[BlockResult]]:
    """Judge each case by its key, and each block, against what moved beside them.

    A block found faster or slower is no measure of the others, so they are judged again without it.
    What has too few replicates for an interval is no measure of others either.
    """
    cells, blocks = _judged_without(frozenset(), timed, clones)
    changed = frozenset(whole.block for whole in blocks if whole.changed)
    if not changed:
        return cells, blocks
    again, others = _judged_without(changed, timed, clones)
    return (
        {t.key: (cells if t.block in changed else again)[t.key] for t in timed},
        [
            whole if whole.block in changed else other
            for whole, other in zip(blocks, others, strict=True)
        ],
    )


def _judged_without(
    changed: Set[str], timed: Sequence[Timed], clones: Sequence[Arm]
) -> tuple[dict[str, Judgement], list[BlockResult]]:
    """Judge everything against what moved beside it and is not known to have changed."""
    known = [each for each in timed if each.known]
    arms = [*(each.arm for each in known), *clones]
    calm = by_block(arms)
    beside = ControlGroup(
        [
            replace(arm, variance=max(arm.variance, calm[arm.block].variance))
            for arm in arms
            if arm.block not in changed
        ]
    )
    rate = ERROR_RATE / max(len(timed), 1)
    cells = {
        each.key: _judged(
            each.moved,
            beside.expected(each.group, each.block, rate, calm.get(each.block)),
            each.noise,
        )
        for each in timed
    }
    return cells, _wholes(changed, known, clones, calm, cells)


def _wholes(
    changed: Set[str],
    known: Sequence[Timed],
    clones: Sequence[Arm],
    calm: Mapping[str | None, BlockScatter],
    judged: Mapping[str, Judgement],
) -> list[BlockResult]:
    """Judge the median of each block's cells against those of the other blocks and of clones.

    Where the machine moves, one block's cells move alike: so blocks, not cells, are counted.
    """
    cells: dict[str, list[Timed]] = {}
    for each in known:
        cells.setdefault(each.block, []).append(each)
    errors: dict[str | None, float] = {
        block: fmean(each.variance for each in own) for block, own in cells.items()
    }
    if clones:
        errors[None] = fmean(arm.variance for arm in clones)
    arms = {
        block: Arm(None, block, found.middle, found.of_median(max(found.variance, errors[block])))
        for block, found in calm.items()
    }
    beside = ControlGroup([arm for block, arm in arms.items() if block not in changed])
    rate = ERROR_RATE / max(len(cells), 1)
    return [
        BlockResult(
            block,
            len(own),
            Counter(judged[each.key].verdict for each in own),
            _whole(
                own,
                calm[block].middle,
                beside.expected(None, block, rate, calm[block].as_median),
            ),
        )
        for block, own in cells.items()
    ]


def _whole(cells: Sequence[Timed], middle: float, beside: Interval) -> Judgement:
    """Judge a block's median: cells err each by itself, copies may differ alike in all of them."""
    moved = _median([each.moved for each in cells])
    noise = Noise(
        tuple(_mean_alike([each.noise.intervals[side] for each in cells]) for side in (0, 1)),
        max(each.noise.precision for each in cells),
    )
    # what the groups moved by stands in one and not in the other
    shift = moved.mid - middle
    expected = Interval(beside.mid + shift, beside.lo + shift, beside.hi + shift)
    return _judged(moved, expected, noise)


def _median(intervals: Sequence[Interval]) -> Interval:
    """The median of independent estimates, with the interval that their own ones leave it."""
    mid = median(each.mid for each in intervals)
    factor = math.sqrt(BlockScatter(mid, 0.0, len(intervals)).of_median(1.0) / len(intervals))
    below = factor * math.hypot(*(each.mid - each.lo for each in intervals))
    above = factor * math.hypot(*(each.hi - each.mid for each in intervals))
    return Interval(mid, mid - below, mid + above)


def _mean_alike(intervals: Sequence[Interval]) -> Interval:
    """The interval of a mean of estimates that may err together."""
    return Interval(*(fmean(ends) for ends in zip(*intervals, strict=True)))


def _judged(moved: Interval, expected: Interval, noise: Noise) -> Judgement:
    own = moved.minus(expected).or_unknown()
    return Judgement(
        moved.exp(),
        expected.exp(),
        own.exp(),
        math.expm1(resolvable(own, noise)),
        verdict(own, noise),
    )
