"""A machine that exists only in numbers: its clock moves when a fake work is called."""

import bisect
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from gcbench.measure.timing.clocks import Clock, CpuClock, Reading, Round, Sample
from gcbench.measure.timing.replicates import Lineup, Progress, time_comparison
from gcbench.measure.timing.watching import Met, Usage, Watch
from gcbench.records import ComparisonRecord, Measurement, Role, Timing
from gcbench.spec.cases import Axes, Block, Effort
from gcbench.spec.cases import comparison_of as compared
from gcbench.stats.intervals import Summary, summarise

# a call that takes this long leaves nothing of the next one's data in the caches
HEAVY_NS = 10_000_000


class Neighbour:
    """Another process on a machine of two cores: when it takes one of them away, drawn from a seed.

    It is busy for a while and idle for a while. While it is busy it and the second thread of what
    is timed take turns on one core, each for some milliseconds; the first thread has the other.
    """

    def __init__(self, seed: int, busy_ns: float = 4e8, idle_ns: float = 4e8) -> None:
        """Draw phases of such lengths in the mean, and slices of 1 to 6 ms."""
        self._rng = random.Random(f"neighbour {seed}")
        self._means_ns = {True: busy_ns, False: idle_ns}
        self._ends_ns, self._taken = [0.0], [False]
        self._busy = self._rng.random() < busy_ns / (busy_ns + idle_ns)

    def at(self, ns: float) -> tuple[bool, float]:
        """Whether the core is taken at a moment, and until when that is so."""
        while self._ends_ns[-1] <= ns:
            self._draw()
        place = bisect.bisect_right(self._ends_ns, ns)
        return self._taken[place], self._ends_ns[place]

    def _draw(self) -> None:
        end_ns = self._ends_ns[-1] + self._rng.expovariate(1 / self._means_ns[self._busy])
        taken = True
        while self._busy and self._ends_ns[-1] < end_ns:
            self._add(self._ends_ns[-1] + self._rng.uniform(1e6, 6e6), taken)
            taken = not taken
        if not self._busy:
            self._add(end_ns, False)
        self._busy = not self._busy

    def _add(self, end_ns: float, taken: bool) -> None:
        self._ends_ns.append(end_ns)
        self._taken.append(taken)


class FakeClock:
    """gcbench's CpuClock on time that only works and sleeps pass, at a speed that may drift.

    `slowness` gives the factor on every cost at a moment in seconds. After a call of `HEAVY_NS` or
    more the next call costs `eviction` times its cost extra. Work of two threads stands still while
    the `neighbour` has one of the two cores.
    """

    burst_ns = None
    queues = False

    def __init__(
        self,
        slowness: Callable[[float], float] = lambda second: 1.0,
        eviction: float = 0.0,
        neighbour: Neighbour | None = None,
    ) -> None:
        self.at_ns = 0.0
        self.slept: list[float] = []
        self.batches: list[list[Sample]] = []
        # each work that was settled, with the number of batches before it
        self.settled: list[tuple[int, FakeWork]] = []
        self._slowness = slowness
        self._eviction = eviction
        self._evicted = False
        self._neighbour = neighbour
        self._waiting_ns = 0.0
        self._cpu = CpuClock(now=self.now, sleep=self.sleep, watching=self._watching)

    def now(self) -> int:
        return round(self.at_ns)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at_ns += 1e9 * seconds

    def time(self, rounds: Sequence[Round]) -> Reading:
        self.batches.append([sample for turns in rounds for sample in turns])
        return self._cpu.time(rounds)

    @contextmanager
    def _watching(self) -> Iterator[Watch]:
        yield lambda: Met(0, round(self._waiting_ns))

    def work(self, cost_ns: float, threads: int = 1) -> None:
        cost_ns *= self._slowness(self.at_ns / 1e9)
        evicted_ns = cost_ns * (1 + self._eviction if self._evicted else 1)
        if self._neighbour and threads > 1:
            self._work_beside(self._neighbour, evicted_ns)
        else:
            self.at_ns += evicted_ns
        self._evicted = cost_ns >= HEAVY_NS

    def _work_beside(self, neighbour: Neighbour, left_ns: float) -> None:
        while left_ns > 0:
            taken, until_ns = neighbour.at(self.at_ns)
            step_ns = until_ns - self.at_ns if taken else min(left_ns, until_ns - self.at_ns)
            self.at_ns += step_ns
            self._waiting_ns += step_ns if taken else 0
            left_ns -= 0 if taken else step_ns

    def usage(self) -> Usage:
        return Usage(self.now(), self.now(), None, 0, None)


@dataclass
class FakeWork:
    """A call that costs what it says, times a noise factor, and an untimed preparation."""

    clock: FakeClock
    cost_ns: float
    noise: Callable[[], float] = lambda: 1.0
    preparation_ns: float = 0.0
    repeatable: bool = True
    cold: bool = False
    queueing: str = "fits"
    turns: int = 1
    threads: int = 1

    def prepare(self) -> None:
        self.clock.work(self.preparation_ns)

    def call(self) -> None:
        self.clock.work(self.cost_ns * self.noise(), self.threads)

    def settle(self) -> None:
        self.clock.settled.append((len(self.clock.batches), self))
        self.prepare()
        self.call()


@dataclass
class FakeMake:
    """Makes works from a table of costs, each at a place in memory that is good or bad for it.

    `layout` is the deviation of the logarithm of the bias that a work keeps from its making on, and
    `noise` that of each call; `aa_bias` is a factor on every A/A arm, for good. Making a work takes
    `make_ns`. A case has one thread unless `threads` says more; of the cases those of `cold_cases`
    lose in a call what was prepared. What was made is in `made`, with the number of sleeps before
    it: each replicate begins with one.
    """

    clock: FakeClock
    costs_ns: Mapping[int, float]
    copy_ns: float = 200_000
    noise: float = 0.0
    layout: float = 0.0
    aa_bias: float = 1.0
    preparation_ns: float = 0.0
    make_ns: float = 2_000_000
    repeatable: bool = True
    cold: bool = False
    cold_cases: Sequence[int] = ()
    threads: Mapping[int, int] = field(default_factory=dict)
    seed: int = 0
    made: list[tuple[int, Role, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = random.Random(f"machine {self.seed}")

    def __call__(self, role: Role, case: int) -> FakeWork:
        self.made.append((len(self.clock.slept), role, case))
        self.clock.at_ns += self.make_ns
        cost_ns = self.copy_ns if role == "copy" else self.costs_ns[case]
        cost_ns *= self.aa_bias if role == "aa" else 1.0
        return FakeWork(
            self.clock,
            cost_ns * self._factor(self.layout),
            lambda: self._factor(self.noise),
            self.preparation_ns,
            self.repeatable and case not in self.cold_cases,
            self.cold or case in self.cold_cases,
            threads=self.threads.get(case, 1) if role != "copy" else 1,
        )

    def _factor(self, deviation: float) -> float:
        return math.exp(self._rng.gauss(0, deviation)) if deviation else 1.0


def measurements(count: int) -> tuple[Measurement, ...]:
    """Ok measurements of so many cases that share their input."""
    block = Block("fake", "fake", None, False)
    return tuple(map(Measurement, compared([block] * count, Axes(), "cpu").cases))


def record_of(*timings: Timing, baseline: int = 0, precision: float = 0.01) -> ComparisonRecord:
    """A record of timings, one for each process, of cases that are all divided by the same one."""
    count = 1 + max([baseline, *(arm.case for timing in timings for arm in timing.arms)])
    return ComparisonRecord(measurements(count), (baseline,) * count, precision, timings)


def compare(
    make: FakeMake,
    baseline: int = 0,
    precision: float = 0.01,
    max_time_s: float = 1.0,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    clock: Clock | None = None,
) -> ComparisonRecord:
    """Time every case that `make` has a cost for, on its clock or another."""
    cases = tuple(make.costs_ns)
    baselines = (baseline,) * (1 + max(*cases, baseline, 0))
    timing = time_comparison(
        make,
        Lineup(cases, baselines, cases[:1]),
        Effort(precision, max_time_s),
        clock or make.clock,
        random.Random(f"order {make.seed}"),
        on_progress,
        make.clock.usage,
    )
    return record_of(timing, baseline=baseline, precision=precision)


def summaries(make: FakeMake, **options: float) -> dict[int, Summary]:
    """Time every case that `make` has a cost for, and summarise."""
    return summarise(compare(make, **options))
