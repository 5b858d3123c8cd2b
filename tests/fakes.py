"""A machine that exists only in numbers: its clock moves when a fake work is called."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gcbench.records import ComparisonRecord, Effort, Measurement, Role, Timing
from gcbench.spec import Axes, Block
from gcbench.spec import compare as compared
from gcbench.statistics import Summary, summarise
from gcbench.timing.clocks import CpuClock, Reading, Round, Sample
from gcbench.timing.replicates import Lineup, Progress, time_comparison
from gcbench.timing.usage import Usage

# a call that takes this long leaves nothing of the next one's data in the caches
HEAVY_NS = 10_000_000


class FakeClock:
    """gcbench's CpuClock on time that only works and sleeps pass, at a speed that may drift.

    `slowness` gives the factor on every cost at a moment in seconds. After a call of `HEAVY_NS` or
    more the next call costs `eviction` times its cost extra.
    """

    burst_ns = None
    queues = False

    def __init__(
        self, slowness: Callable[[float], float] = lambda second: 1.0, eviction: float = 0.0
    ) -> None:
        self.at_ns = 0.0
        self.slept: list[float] = []
        self.batches: list[list[Sample]] = []
        # each work that was settled, with the number of batches before it
        self.settled: list[tuple[int, FakeWork]] = []
        self._slowness = slowness
        self._eviction = eviction
        self._evicted = False
        self._cpu = CpuClock(now=self.now, sleep=self.sleep)

    def now(self) -> int:
        return round(self.at_ns)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at_ns += 1e9 * seconds

    def time(self, rounds: Sequence[Round]) -> Reading:
        self.batches.append([sample for turns in rounds for sample in turns])
        return self._cpu.time(rounds)

    def work(self, cost_ns: float) -> None:
        cost_ns *= self._slowness(self.at_ns / 1e9)
        self.at_ns += cost_ns * (1 + self._eviction if self._evicted else 1)
        self._evicted = cost_ns >= HEAVY_NS

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

    def prepare(self) -> None:
        self.clock.work(self.preparation_ns)

    def call(self) -> None:
        self.clock.work(self.cost_ns * self.noise())

    def settle(self) -> None:
        self.clock.settled.append((len(self.clock.batches), self))
        self.prepare()
        self.call()


@dataclass
class FakeMake:
    """Makes works from a table of costs, each at a place in memory that is good or bad for it.

    `layout` is the deviation of the logarithm of the bias that a work keeps from its making on, and
    `noise` that of each call; `aa_bias` is a factor on every A/A arm, for good. Making a work takes
    `make_ns`. Of the cases those of `cold_cases` lose in a call what was prepared. What was made is
    in `made`, with the number of sleeps before it: each replicate begins with one.
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
) -> ComparisonRecord:
    """Time every case that `make` has a cost for, on its clock."""
    cases = tuple(make.costs_ns)
    baselines = (baseline,) * (1 + max(*cases, baseline, 0))
    timing = time_comparison(
        make,
        Lineup(cases, baselines, cases[:1]),
        Effort(precision, max_time_s),
        make.clock,
        random.Random(f"order {make.seed}"),
        on_progress,
        make.clock.usage,
    )
    return record_of(timing, baseline=baseline, precision=precision)


def summaries(make: FakeMake, **options: float) -> dict[int, Summary]:
    """Time every case that `make` has a cost for, and summarise."""
    return summarise(compare(make, **options))
