"""From raw samples to medians, intervals, ratios and verdicts, and only here.

The table and the stopping rule share these functions. The unit of inference is the replicate:
samples inside one replicate share their place in memory, so only replicates are independent
(Kalibera and Jones, ISMM 2013). Intervals are exact order-statistic intervals of a median (Nair,
1940).
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gcbench.records import ComparisonRecord, Timing

Verdict = Literal["baseline", "faster", "slower", "same", "unresolved", "untrusted"]

ERROR_RATE = 0.05
# Tukey's outer fence: told, never trimmed
FAR_OUT_QUARTILES = 3.0
# where samples are so alike that the fence vanishes, a clock's step is not far out
FAR_OUT_SHARE = 0.05


class Interval(NamedTuple):
    """A median and the interval that covers the true one; infinite ends mean too few replicates."""

    mid: float
    lo: float
    hi: float

    @property
    def half_width(self) -> float:
        """Half of the interval's length, in the unit of its ends."""
        return (self.hi - self.lo) / 2

    @property
    def known(self) -> bool:
        """Whether there were enough replicates for an interval."""
        return math.isfinite(self.half_width)

    def exp(self) -> "Interval":
        """Take an interval of logarithms back to ratios."""
        return Interval(*(math.exp(end) if end < math.inf else math.inf for end in self))

    def reach(self) -> float:
        """Distance from zero to the farther end."""
        return max(abs(self.lo), abs(self.hi))


class Noise(NamedTuple):
    """What a verdict is held against: the A/A intervals of the groups involved (logarithms)."""

    intervals: tuple[Interval, ...]
    precision: float

    @property
    def aa(self) -> Interval:
        """The A/A interval that reaches farthest from zero."""
        return max(self.intervals, key=Interval.reach)

    @property
    def limit(self) -> float:
        """The precision asked for, as a logarithm."""
        return math.log1p(self.precision)

    @property
    def floor(self) -> float:
        """The logarithm of a ratio below which no difference is believed."""
        return max(self.limit, self.aa.reach())

    @property
    def excludes_one(self) -> bool:
        """Whether two copies of one thing differ by more than the precision, in any group."""
        return any(
            aa.known and (aa.lo > self.limit or aa.hi < -self.limit) for aa in self.intervals
        )


class Summary(NamedTuple):
    """What the samples of one case say. Latencies are nanoseconds per call, ratios are plain.

    `far_out` counts samples outside Tukey's outer fence of their replicate; `drift` is the change
    of the latency from the first third of the replicates to the last.
    """

    latency: Interval
    minimum: float
    replicates: int
    samples: int
    calls: int
    far_out: int
    drift: float
    copies: float
    relative: Interval | None
    noise: Noise | None
    verdict: Verdict | None


def fewest_replicates(others: int) -> int:
    """Fewest replicates that give an interval when `others` cases share the error rate.

    >>> [fewest_replicates(k) for k in (1, 2, 3, 4, 6, 7, 12)]
    [6, 7, 7, 8, 8, 9, 9]
    """
    return math.ceil(1 + math.log2(max(others, 1) / ERROR_RATE))


def median_interval(values: Sequence[float], error_rate: float = ERROR_RATE) -> Interval:
    """Median of the values, and the shortest symmetric rank interval that covers the true median.

    The interval from the r-th smallest to the r-th largest of n covers it with probability
    1 - 2 P(Binomial(n, 1/2) < r), whatever the distribution. With too few values for the error rate
    the ends are infinite.

    >>> median_interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    Interval(mid=3.5, lo=1.0, hi=6.0)
    >>> median_interval([1.0, 2.0, 3.0]).known
    False
    """
    ordered = sorted(values)
    mid = float(np.median(ordered)) if ordered else math.nan
    rank = _rank(len(ordered), error_rate)
    if rank == 0:
        return Interval(mid, -math.inf, math.inf)
    return Interval(mid, ordered[rank - 1], ordered[-rank])


def medians(timing: Timing, arm: int) -> NDArray[np.float64]:
    """Median duration of a call of an arm, in ns, for each replicate; nan where not timed."""
    calls = timing.arms[arm].calls
    return np.array(
        [
            np.median(replicate.samples_ns[arm]) / calls if replicate.samples_ns[arm] else math.nan
            for replicate in timing.replicates
        ]
    )


def log_ratios(timing: Timing, arm: int, base: int) -> list[float]:
    """Logarithm of arm over base, one number for each replicate that timed both.

    Arms of one group shared their rounds, so the ratios are taken round by round and their median
    stands for the replicate; across groups it is the ratio of the two medians.
    """
    if timing.arms[arm].group != timing.arms[base].group:
        ratios = np.log(medians(timing, arm)) - np.log(medians(timing, base))
        return [float(ratio) for ratio in ratios if not math.isnan(ratio)]
    pairs = [
        (replicate.samples_ns[arm], replicate.samples_ns[base]) for replicate in timing.replicates
    ]
    return [float(np.median(np.log(ours) - np.log(theirs))) for ours, theirs in pairs if ours]


def verdict(relative: Interval, noise: Noise) -> Verdict:
    """Judge an interval of log ratios against the noise floor.

    faster or slower where it lies wholly outside the floor; same where it lies wholly inside the
    precision that was asked for, since a noisy machine must not make things equal; untrusted where
    two copies of one thing differ; otherwise unresolved.
    """
    if noise.excludes_one:
        return "untrusted"
    if relative.lo > noise.floor:
        return "slower"
    if relative.hi < -noise.floor:
        return "faster"
    if relative.reach() < noise.limit and noise.aa.known:
        return "same"
    return "unresolved"


def relatives(timing: Timing, baseline: int) -> dict[int, Interval]:
    """Interval of log(case / baseline) for every other timed case, Bonferroni among them."""
    arms = case_arms(timing)
    if baseline not in arms:
        return {}
    others = [case for case in arms if case != baseline]
    rate = ERROR_RATE / max(len(others), 1)
    return {
        case: median_interval(log_ratios(timing, arms[case], arms[baseline]), rate)
        for case in others
    }


def widest(timing: Timing, baseline: int) -> float:
    """The widest half-width among the relatives, as a logarithm; infinite while one is unknown.

    Where no case has another to be compared with, the A/A intervals stand for them.
    """
    intervals = list(relatives(timing, baseline).values()) or list(aa_intervals(timing).values())
    return max((interval.half_width for interval in intervals), default=math.inf)


def case_arms(timing: Timing) -> dict[int, int]:
    """For each timed case, by its position in the comparison, the arm that it is."""
    return {
        arm.case: position
        for position, arm in enumerate(timing.arms)
        if arm.role == "case" and arm.case is not None
    }


def aa_intervals(timing: Timing) -> dict[int, Interval]:
    """For each group the interval of log(A/A arm / what it copies), at the plain error rate."""
    arms = case_arms(timing)
    return {
        arm.group: median_interval(log_ratios(timing, position, arms[arm.case]))
        for position, arm in enumerate(timing.arms)
        if arm.role == "aa" and arm.case is not None
    }


def summarise(record: ComparisonRecord) -> dict[int, Summary]:
    """Summarise every timed case of a comparison, by its position there."""
    timing = record.timing
    if timing is None or not timing.replicates:
        return {}
    logs = relatives(timing, record.baseline)
    aa = aa_intervals(timing)
    return {
        case: _summary(timing, arm, *_judged(record, timing, case, logs, aa))
        for case, arm in case_arms(timing).items()
    }


def _judged(
    record: ComparisonRecord,
    timing: Timing,
    case: int,
    logs: dict[int, Interval],
    aa: dict[int, Interval],
) -> tuple[Interval | None, Noise | None, Verdict | None]:
    arms = case_arms(timing)
    if record.baseline not in arms:
        return None, None, None
    groups = {timing.arms[arms[position]].group for position in (case, record.baseline)}
    noise = Noise(tuple(aa[group] for group in sorted(groups)), record.precision)
    if case == record.baseline:
        return Interval(1.0, 1.0, 1.0), noise, "baseline"
    return logs[case].exp(), noise, verdict(logs[case], noise)


def _summary(
    timing: Timing,
    arm: int,
    relative: Interval | None,
    noise: Noise | None,
    judged: Verdict | None,
) -> Summary:
    durations = [float(d) for d in medians(timing, arm) if not math.isnan(d)]
    samples = [r.samples_ns[arm] for r in timing.replicates if r.samples_ns[arm]]
    copy_arm = next(i for i, other in enumerate(timing.arms) if other.role == "copy")
    calls = timing.arms[arm].calls
    return Summary(
        latency=median_interval(durations),
        minimum=min(map(min, samples)) / calls,
        replicates=len(samples),
        samples=sum(map(len, samples)),
        calls=calls,
        far_out=sum(map(_far_out, samples)),
        drift=_drift(durations),
        copies=math.exp(float(np.median(log_ratios(timing, arm, copy_arm)))),
        relative=relative,
        noise=noise,
        verdict=judged,
    )


def _drift(durations: Sequence[float]) -> float:
    """Change from the first third of the replicates to the last, as a share; 0 with under six."""
    third = len(durations) // 3
    if third < 2:
        return 0.0
    return float(np.median(durations[-third:]) / np.median(durations[:third]) - 1)


@lru_cache(maxsize=4096)
def _rank(n: int, error_rate: float) -> int:
    """Largest r with 2 P(Binomial(n, 1/2) < r) <= error_rate; 0 where there is none."""
    tail, rank = 0, 0
    while rank < n // 2:
        tail += math.comb(n, rank)
        if tail / 2**n > error_rate / 2:
            break
        rank += 1
    return rank


def _far_out(samples: Sequence[int]) -> int:
    low, high = np.percentile(samples, [25, 75])
    fence = max(FAR_OUT_QUARTILES * (high - low), FAR_OUT_SHARE * high)
    values = np.asarray(samples)
    return int(np.sum((values > high + fence) | (values < low - fence)))
