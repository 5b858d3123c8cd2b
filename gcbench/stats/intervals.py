"""From raw samples to medians, intervals, ratios and verdicts, and only here.

The table and the stopping rule share these functions. The unit of inference is the replicate:
samples inside one replicate share their place in memory, so only replicates are independent
(Kalibera and Jones, ISMM 2013). Intervals are exact order-statistic intervals of a median (Nair,
1940).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gcbench.records import ComparisonRecord, Role, Timing

# one for each process
Timings = Sequence[Timing]
Verdict = Literal[
    "baseline", "faster", "slower", "same", "unresolved", "untrusted", "too_few_replicates"
]

ERROR_RATE = 0.05
# an interval of a ratio that holds 1 and is this wide to each side (a logarithm) says nothing
USELESS = math.log(100)
# Tukey's outer fence: told, never trimmed
FAR_OUT_QUARTILES = 3.0
# where samples are so alike that the fence vanishes, a clock's step is not far out
FAR_OUT_SHARE = 0.05
# a case is disturbed where its threads waited for a core in more than this share of its samples; in
# fewer, where they also waited so much of the time; or where its median is so many times its
# fastest sample. A wait in one sample of a hundred moves no median, however long.
WAITED_SHARE, WAITED_RARELY, WAITING_SHARE, CONTENDED = 0.10, 0.03, 0.10, 3.0
# by what the logarithm of a ratio of unlike things differs from run to run of one quiet machine,
# beyond what a run sees of itself: its standard deviation with one thread, and with more
RUNS_APART = {"one thread": 0.008, "more": 0.012}


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

    def variance(self, error_rate: float = ERROR_RATE) -> float:
        """Variance of a normal estimate whose interval, missing so often, is as wide."""
        return (self.half_width / NormalDist().inv_cdf(1 - error_rate / 2)) ** 2

    def or_unknown(self) -> "Interval":
        """The same of logarithms, without ends where they hold zero and a factor of 10,000.

        Student's interval of two values may reach from a millionth to a million.
        """
        useless = self.lo < 0 < self.hi and self.half_width > USELESS
        return Interval(self.mid, -math.inf, math.inf) if useless else self

    def reach(self) -> float:
        """Distance from zero to the farther end."""
        return max(abs(self.lo), abs(self.hi))

    def log(self) -> "Interval":
        """Take an interval of ratios or times to logarithms; an end that is not known stays so."""
        return Interval(*(math.log(end) if 0 < end < math.inf else end for end in self))

    def minus(self, other: "Interval") -> "Interval":
        """The interval of a difference of two independent estimates.

        The distances from the middles to the ends are added like the sides of a right triangle (the
        method MOVER: Donner and Zou, Statistical Methods in Medical Research 21, 2012).
        """
        mid = self.mid - other.mid
        below = math.hypot(self.mid - self.lo, other.hi - other.mid)
        above = math.hypot(self.hi - self.mid, other.mid - other.lo)
        return Interval(mid, mid - below, mid + above)

    def mirrored(self) -> "Interval":
        """The interval on the other side of zero: that of the inverse ratio, for logarithms."""
        return Interval(-self.mid, -self.hi, -self.lo)


class Absolute(NamedTuple):
    """One case by itself: its latency and that of a clone of its input, in ns a call, and its A/A.

    The interval of the latency misses the truth at `error_rate`, that of the clone at `ERROR_RATE`.
    The A/A interval, of logarithms, is that of the group in which the case was timed.
    """

    latency: Interval
    error_rate: float
    copy: Interval
    aa: Interval


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
    def excludes_one(self) -> bool:
        """Whether two copies of one thing differ by more than the precision, in any group."""
        return any(
            aa.known and (aa.lo > self.limit or aa.hi < -self.limit) for aa in self.intervals
        )

    def clears(self, relative: Interval) -> bool:
        """Whether an interval lies above the precision, and above what copies differ by.

        Both that and the relative are measured with an error, and the errors are added like the
        sides of a right triangle. They share the baseline: where both lean the same way, which is
        when this decides, that makes the rule stricter than it need be.
        """
        return relative.lo > self.limit and all(
            relative.mid - abs(aa.mid)
            > math.hypot(relative.mid - relative.lo, aa.reach() - abs(aa.mid))
            for aa in self.intervals
        )


class Summary(NamedTuple):
    """What the samples of one case say. Latencies are nanoseconds per call, ratios are plain.

    `faults` are the minor page faults of a call: the median over replicates, and their mean;
    `waited` is the share of samples in which threads waited for a core, `waiting` that of the time.
    `far_out` counts samples outside Tukey's outer fence of their replicate; `drift` is the change
    of the latency from the first third of the replicates to the last; `calls` is None where
    processes took different ones; `exposed` counts samples that may hold waiting for the host.
    """

    latency: Interval
    minimum: float
    replicates: int
    samples: int
    calls: int | None
    far_out: int
    drift: float
    exposed: int
    faults: tuple[float, float]
    waited: float
    waiting: float
    copies: float
    relative: Interval | None
    noise: Noise | None
    verdict: Verdict | None

    @property
    def disturbed(self) -> bool:
        """Whether this case's own samples say that other programs took its cores."""
        often = self.waited > WAITED_SHARE
        long = self.waited > WAITED_RARELY and self.waiting > WAITING_SHARE
        return often or long or self.latency.mid > CONTENDED * self.minimum


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
    rows = [replicate.samples_ns[arm] for replicate in timing.replicates]
    found = np.full(len(rows), math.nan)
    for alike, block in _blocks(rows):
        found[alike] = np.median(block, axis=1)
    return found / timing.arms[arm].calls


def log_ratios(timing: Timing, arm: int, base: int) -> list[float]:
    """Logarithm of arm over base, one number for each replicate that timed both.

    Arms of one group shared their rounds, so the ratios are taken round by round and their median
    stands for the replicate; across groups it is the ratio of the two medians.
    """
    if timing.arms[arm].group != timing.arms[base].group:
        return _known(np.log(medians(timing, arm)) - np.log(medians(timing, base)))
    timed = [replicate.samples_ns for replicate in timing.replicates if replicate.samples_ns[arm]]
    ratios = np.empty(len(timed))
    theirs = [samples[base] for samples in timed]
    for alike, block in _blocks([samples[arm] for samples in timed]):
        beside = _stacked([theirs[row] for row in alike])
        ratios[alike] = np.median(np.log(block) - np.log(beside), axis=1)
    return ratios.tolist()


def verdict(relative: Interval, noise: Noise) -> Verdict:
    """Judge an interval of log ratios against the noise.

    faster or slower where it lies wholly beyond the precision and clearly beyond what two copies of
    one thing differ by; same where it lies wholly inside the precision that was asked for, since a
    noisy machine must not make things equal; untrusted where two copies of one thing differ;
    otherwise unresolved.
    """
    if noise.excludes_one:
        return "untrusted"
    if noise.clears(relative):
        return "slower"
    if noise.clears(relative.mirrored()):
        return "faster"
    if relative.reach() < noise.limit and noise.aa.known:
        return "same"
    return "unresolved"


def resolvable(relative: Interval, noise: Noise) -> float:
    """The smallest logarithm of a ratio that an interval as wide as this one would resolve."""
    width = relative.half_width
    copies = [abs(aa.mid) + math.hypot(width, aa.reach() - abs(aa.mid)) for aa in noise.intervals]
    return max(noise.limit + width, *copies)


def relatives(timings: Timings, baselines: Sequence[int]) -> dict[int, Interval]:
    """Interval of log(case / its baseline) for every timed case that has one, Bonferroni shared."""
    timed = timed_cases(timings)
    others = [case for case in timed if baselines[case] != case and baselines[case] in timed]
    rate = ERROR_RATE / max(len(others), 1)
    return {
        case: _over_processes([_case_ratios(t, case, baselines[case]) for t in timings], rate)
        for case in others
    }


def aa_intervals(timings: Timings, baselines: Sequence[int]) -> dict[int, Interval]:
    """For each timed case the interval of log(A/A arm / what it copies) that judges it.

    That is its own copy where it has one, and else that of its baseline, or, where that is in
    another group, a copy in its own.
    """
    found: dict[tuple[tuple[int, int], ...], Interval] = {}
    # cases of one group share its A/A arm, and are not worked out again
    asked = {
        case: tuple(_aa_arms(timing, case, baselines[case]) for timing in timings)
        for case in timed_cases(timings)
    }
    for arms in asked.values():
        if arms not in found:
            ratios = [log_ratios(t, *pair) for t, pair in zip(timings, arms, strict=True)]
            found[arms] = _over_processes(ratios)
    return {case: found[arms] for case, arms in asked.items()}


def widest(timings: Timings, baselines: Sequence[int]) -> float:
    """The widest half-width of all that a verdict rests on, as a logarithm.

    Those are the relatives and the A/A intervals; infinite while one of them is unknown.
    """
    intervals = [
        *relatives(timings, baselines).values(),
        *aa_intervals(timings, baselines).values(),
    ]
    return max((interval.half_width for interval in intervals), default=math.inf)


def timed_cases(timings: Timings) -> list[int]:
    """The cases that every process timed, by their position in the comparison."""
    if not timings:
        return []
    return [case for case in case_arms(timings[0]) if all(case in case_arms(t) for t in timings)]


def case_arms(timing: Timing) -> dict[int, int]:
    """For each timed case, by its position in the comparison, the arm that it is."""
    return {arm.case: position for position, arm in enumerate(timing.arms) if arm.role == "case"}


def summarise(record: ComparisonRecord) -> dict[int, Summary]:
    """Summarise every timed case of a comparison that is ok, by its position there."""
    timings = [timing for timing in record.timings if timing.replicates]
    logs = relatives(timings, record.baselines)
    aa = aa_intervals(timings, record.baselines)
    found = {
        case: _summary(record, timings, case, *_judged(record, case, logs, aa))
        for case in timed_cases(timings)
        if record.measurements[case].status == "ok"
    }
    return {
        case: summary._replace(verdict="untrusted")
        if summary.relative and _doubtful(record, found, case, record.baselines[case])
        else summary
        for case, summary in found.items()
    }


def _doubtful(
    record: ComparisonRecord, found: Mapping[int, Summary], case: int, beside: int
) -> bool:
    """Whether a ratio of two cases means nothing, whatever its interval: one was disturbed."""
    if case == beside:
        return False
    disturbed = any(found[each].disturbed for each in (case, beside) if each in found)
    return disturbed or _unlike(record, found, case, beside)


def _unlike(record: ComparisonRecord, found: Mapping[int, Summary], case: int, base: int) -> bool:
    """Whether a ratio is of a device's time and of a host's.

    So it is where most samples of one, and not of the other, hold waiting for the host. One that
    waits for the device inside its calls has no time of the device alone, and is what it is.
    """
    if base not in found:
        return False
    pair = [found[case], found[base]]
    lagging = [2 * summary.exposed > summary.samples for summary in pair]
    syncs = any("syncs_inside" in record.measurements[each].flags for each in (case, base))
    return lagging[0] != lagging[1] and not syncs


def absolutes(record: ComparisonRecord) -> dict[int, Absolute]:
    """Say of every timed case that is ok what it takes by itself, by its position in a comparison.

    The intervals of the latencies share the error rate (Bonferroni); that of a clone does not.
    """
    timings = [timing for timing in record.timings if timing.replicates]
    aa = aa_intervals(timings, range(len(record.measurements)))
    rate = ERROR_RATE / max(len(aa), 1)
    return {
        case: Absolute(
            _over_processes([_durations(t, case_arms(t)[case]) for t in timings], rate),
            rate,
            _over_processes([_durations(t, _copy_arm(record, t, case)) for t in timings]),
            copies,
        )
        for case, copies in aa.items()
        if record.measurements[case].status == "ok"
    }


def _durations(timing: Timing, arm: int) -> list[float]:
    return _known(medians(timing, arm))


class Pairwise(NamedTuple):
    """One case against another of its comparison: the ratio of their latencies, and a verdict."""

    relative: Interval
    verdict: Verdict


def judge_pairs(
    record: ComparisonRecord, pairs: Iterable[tuple[int, int]]
) -> list[Pairwise | None]:
    """Judge pairs of cases of a comparison, the first against the second, baselines or not.

    They are paired within replicates and held against the A/A intervals as a relative is; the error
    rate is shared by all pairs that there are. None where one of a pair was not timed.
    """
    timings = [timing for timing in record.timings if timing.replicates]
    timed = [c for c in timed_cases(timings) if record.measurements[c].status == "ok"]
    aa = aa_intervals(timings, record.baselines)
    rate = ERROR_RATE / max(math.comb(len(timed), 2), 1)
    summaries = summarise(record)

    def duel(case: int, beside: int) -> Pairwise | None:
        if case not in timed or beside not in timed:
            return None
        seen = _over_processes([_case_ratios(t, case, beside) for t in timings], rate)
        logs = _of_the_next_run(seen, record, case, beside, rate)
        noise = Noise(tuple(dict.fromkeys((aa[beside], aa[case]))), record.precision)
        doubtful = _doubtful(record, summaries, case, beside)
        return Pairwise(logs.exp(), "untrusted" if doubtful else _of_enough(logs, noise))

    return [duel(*pair) for pair in pairs]


def _judged(
    record: ComparisonRecord, case: int, logs: dict[int, Interval], aa: dict[int, Interval]
) -> tuple[Interval | None, Noise | None, Verdict | None]:
    baseline = record.baselines[case]
    if baseline not in aa or record.measurements[baseline].status != "ok":
        return None, None, None
    # cases of one group share its A/A interval
    noise = Noise(tuple(dict.fromkeys((aa[baseline], aa[case]))), record.precision)
    if case == baseline:
        return Interval(1.0, 1.0, 1.0), noise, "baseline"
    found = _of_the_next_run(logs[case], record, case, baseline, ERROR_RATE / max(len(logs), 1))
    return found.exp(), noise, _of_enough(found, noise)


def _of_enough(relative: Interval, noise: Noise) -> Verdict:
    """The verdict, where there are replicates enough for one."""
    known = relative.known and all(aa.known for aa in noise.intervals)
    return verdict(relative, noise) if known else "too_few_replicates"


def _of_the_next_run(
    seen: Interval, record: ComparisonRecord, case: int, beside: int, error_rate: float
) -> Interval:
    """Widen an interval of log ratios by what a run cannot see of itself: how runs differ.

    The machine's state over seconds and minutes moves the ratio of unlike things, and not that of
    like ones. Each of several processes is a draw of its own. Both errors are added like the sides
    of a right triangle.
    """
    ours, theirs = (record.measurements[each].case for each in (case, beside))
    if not seen.known or replace(ours, copy=theirs.copy) == theirs or ours.device != "cpu":
        return seen
    apart = RUNS_APART["one thread" if ours.threads == theirs.threads == 1 else "more"]
    reach = NormalDist().inv_cdf(1 - error_rate / 2) * apart / math.sqrt(len(record.timings))
    below, above = (math.hypot(end - seen.mid, reach) for end in (seen.lo, seen.hi))
    return Interval(seen.mid, seen.mid - below, seen.mid + above)


def _summary(
    record: ComparisonRecord,
    timings: Timings,
    case: int,
    relative: Interval | None,
    noise: Noise | None,
    judged: Verdict | None,
) -> Summary:
    arms = [case_arms(timing)[case] for timing in timings]
    durations = [_durations(t, arm) for t, arm in zip(timings, arms, strict=True)]
    sampled = [
        (replicate.samples_ns[arm], timing.arms[arm].calls)
        for timing, arm in zip(timings, arms, strict=True)
        for replicate in timing.replicates
        if replicate.samples_ns[arm]
    ]
    calls = {calls for _, calls in sampled}
    clones = [
        log_ratios(timing, arm, _copy_arm(record, timing, case))
        for timing, arm in zip(timings, arms, strict=True)
    ]
    return Summary(
        latency=_over_processes(durations),
        minimum=min(min(samples) / calls for samples, calls in sampled),
        replicates=len(sampled),
        samples=sum(len(samples) for samples, _ in sampled),
        calls=calls.pop() if len(calls) == 1 else None,
        far_out=_far_out([samples for samples, _ in sampled]),
        drift=max(map(_drift, durations), key=abs),
        exposed=sum(
            replicate.exposed[arm]
            for timing, arm in zip(timings, arms, strict=True)
            for replicate in timing.replicates
            if replicate.exposed
        ),
        faults=_faults(timings, case),
        waited=_share_of(timings, arms, "waited", len),
        waiting=_share_of(timings, arms, "waiting_ns", sum),
        copies=math.exp(_over_processes(clones).mid),
        relative=relative,
        noise=noise,
        verdict=judged,
    )


def _faults(timings: Timings, case: int) -> tuple[float, float]:
    """Minor page faults of a call: the median over a case's replicates, the mean over all copies.

    Whether a call faults may change from one replicate, or one copy, to the next.
    """
    found: dict[Role, list[float]] = {"case": [], "aa": []}
    for timing in timings:
        for position, arm in enumerate(timing.arms):
            if arm.case == case and arm.role in found:
                found[arm.role] += _faults_of(timing, position)
    return float(np.median(found["case"])), float(np.mean(found["case"] + found["aa"]))


def _faults_of(timing: Timing, arm: int) -> list[float]:
    """Minor page faults of a call of an arm, one number for each replicate that timed it."""
    return [
        (replicate.faults[arm] if replicate.faults else 0)
        / (len(replicate.samples_ns[arm]) * timing.arms[arm].calls)
        for replicate in timing.replicates
        if replicate.samples_ns[arm]
    ]


def _share_of(
    timings: Timings,
    arms: Sequence[int],
    field: Literal["waited", "waiting_ns"],
    whole: Callable[[tuple[int, ...]], int],
) -> float:
    """The share that a field of the replicates is of an arm's samples, or of their duration."""
    part = of = 0
    for timing, arm in zip(timings, arms, strict=True):
        for replicate in timing.replicates:
            counts: tuple[int, ...] = getattr(replicate, field)
            part += counts[arm] if counts else 0
            of += whole(replicate.samples_ns[arm])
    return part / max(of, 1)


def _case_ratios(timing: Timing, case: int, base: int) -> list[float]:
    arms = case_arms(timing)
    return log_ratios(timing, arms[case], arms[base])


def _aa_arms(timing: Timing, case: int, baseline: int) -> tuple[int, int]:
    """The A/A arm that judges a case, and the arm that it copies: the case, or its baseline."""
    arms = case_arms(timing)
    group = timing.arms[arms[case]].group
    twins = [i for i, a in enumerate(timing.arms) if a.role == "aa" and a.group == group]
    copied = {timing.arms[twin].case: twin for twin in reversed(twins)}
    twin = copied.get(case, copied.get(baseline, twins[0]))
    return twin, arms[timing.arms[twin].case]


def _copy_arm(record: ComparisonRecord, timing: Timing, case: int) -> int:
    wanted = record.measurements[case].case.input
    return next(
        position
        for position, arm in enumerate(timing.arms)
        if arm.role == "copy" and record.measurements[arm.case].case.input == wanted
    )


def _over_processes(
    processes: Sequence[Sequence[float]], error_rate: float = ERROR_RATE
) -> Interval:
    """Median of all replicates and its interval, one list of values for each process.

    Replicates of one process share what changes from process to process, so the interval of several
    is widened until it holds the median of each.
    """
    pooled = median_interval([value for values in processes for value in values], error_rate)
    mids = [float(np.median(values)) for values in processes if len(values)]
    if len(mids) < 2:
        return pooled
    return Interval(pooled.mid, min(pooled.lo, *mids), max(pooled.hi, *mids))


def _known(values: NDArray[np.float64]) -> list[float]:
    return [float(value) for value in values if not math.isnan(value)]


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


def _far_out(rows: Sequence[Sequence[int]]) -> int:
    """Count the samples that lie beyond the fence of their row."""
    found = 0
    for _, values in _blocks(rows):
        low, high = np.percentile(values, [25, 75], axis=1, keepdims=True)
        fence = np.maximum(FAR_OUT_QUARTILES * (high - low), FAR_OUT_SHARE * high)
        found += int(np.sum((values > high + fence) | (values < low - fence)))
    return found


def _blocks(rows: Sequence[Sequence[int]]) -> Iterator[tuple[list[int], NDArray[np.float64]]]:
    """Put rows of one length together, with their positions: numpy is slow on one row at a time.

    Rows without a number are left out.
    """
    by_length: dict[int, list[int]] = {}
    for position, row in enumerate(rows):
        by_length.setdefault(len(row), []).append(position)
    for length, alike in by_length.items():
        if length:
            yield alike, _stacked([rows[position] for position in alike])


def _stacked(rows: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """Rows of one length as a matrix."""
    numbers = np.fromiter(chain.from_iterable(rows), np.float64)
    return numbers.reshape(len(rows), -1)
