"""Arms in processes of their own, on a machine of numbers: turns are fair, or the control tells."""

import random
import threading
from dataclasses import dataclass, field

import pytest
from fakes import FakeClock, FakeMake, FakeWork, compare

from gcbench.engines.timed import lineup_of
from gcbench.errors import CaseError
from gcbench.measure.timing.clocks import CpuClock, Sample, WorkError
from gcbench.measure.timing.replicates import time_comparison
from gcbench.measure.timing.turns import LEAD_CALLS, LEAD_NS, TurnClock, turn, wait_until_idle
from gcbench.spec.cases import Axes, Block, Effort
from gcbench.spec.cases import comparison_of as compared
from gcbench.stats.intervals import summarise

LIGHT_NS = 200_000
# GNU's OpenMP, on the machine where the mechanism was made
SPIN_NS, ROUND_TRIP_NS = 8_600_000, 60_000


@dataclass
class FakeProcess:
    """A process of the machine: its speed, and how long its threads spin after a turn.

    Unless it `waits`, it answers while they do.
    """

    slowness: float = 1.0
    spin_ns: int = 0
    waits: bool = True
    spins_until_ns: float = 0.0


@dataclass
class FakeFar:
    """A work in a process; while threads of another one spin, it takes twice as long."""

    work: FakeWork
    process: FakeProcess
    others: list[FakeProcess]
    sampled_ns: list[int] = field(default_factory=list)

    def __post_init__(self):
        self.repeatable, self.cold = self.work.repeatable, self.work.cold
        self.queueing, self.turns = self.work.queueing, self.work.turns

    def prepare(self):
        pass

    def call(self):
        self.settle()

    def settle(self):
        self._in_turn(self.work.settle)

    def sampled(self, calls, before):
        return self._in_turn(lambda: turn(self.work, calls, before, self.work.clock))

    def _in_turn(self, do):
        clock, own_ns = self.work.clock, self.work.cost_ns
        clock.at_ns += ROUND_TRIP_NS
        spun = any(other.spins_until_ns > clock.at_ns for other in self.others)
        self.work.cost_ns = own_ns * self.process.slowness * (2 if spun else 1)
        found = do()
        self.work.cost_ns = own_ns
        self.process.spins_until_ns = clock.at_ns + self.process.spin_ns
        if self.process.waits:
            clock.at_ns = self.process.spins_until_ns
        return found


@dataclass
class FarMake(FakeMake):
    """Makes works in processes: each case in one, second copies of baselines in another."""

    processes: dict[int, FakeProcess] = field(default_factory=dict)
    twins: FakeProcess = field(default_factory=FakeProcess)

    def __call__(self, role, case):
        process = self.twins if role == "aa" else self.processes[case]
        everyone = [*self.processes.values(), self.twins]
        others = [each for each in everyone if each is not process]
        return FakeFar(super().__call__(role, case), process, others)


def found(make, **options):
    clock = TurnClock(make.clock.now, make.clock.sleep)
    return summarise(compare(make, clock=clock, **options))


def two(costs_ns=(LIGHT_NS, LIGHT_NS), slow=1.0, twin=1.0, seed=0, **more):
    processes = {0: FakeProcess(**more), 1: FakeProcess(slow, **more)}
    costs = dict(enumerate(costs_ns))
    twins = FakeProcess(twin, **more)
    return FarMake(FakeClock(), costs, processes=processes, twins=twins, noise=0.003, seed=seed)


def test_two_processes_of_different_speed_have_the_ratio_of_their_speeds():
    make = two(slow=1.2)
    make.noise = 0.0
    summary = found(make)[1]
    assert summary.relative == pytest.approx((1.2, 1.2, 1.2), abs=0.05)
    assert summary.relative.mid == pytest.approx(1.2, rel=1e-9)
    assert summary.noise.aa.exp() == pytest.approx((1, 1, 1))
    assert summary.verdict == "slower"


def test_processes_of_equal_speed_are_seldom_told_apart():
    summaries = []
    for seed in range(30):
        make = two(seed=seed)
        make.layout = 0.01
        summaries.append(found(make, precision=0.02)[1])
    hold = [summary.relative.lo < 1 < summary.relative.hi for summary in summaries]
    assert sum(hold) >= 26
    assert not any(summary.verdict in ("faster", "slower") for summary in summaries)


def test_drift_of_the_machine_is_paired_across_processes():
    make = two(slow=1.2)
    make.clock = FakeClock(lambda second: 1 + second)
    assert found(make)[1].relative.mid == pytest.approx(1.2, rel=0.01)


def test_a_process_that_is_slower_at_the_same_work_is_seen_by_the_copies_in_it():
    summary = found(two(slow=1.1, twin=1.1))[1]
    assert summary.noise.excludes_one
    assert summary.verdict == "untrusted"


def test_a_turn_ends_when_threads_are_asleep():
    honest = found(two(costs_ns=(LIGHT_NS, LIGHT_NS), slow=1.2, spin_ns=SPIN_NS), max_time_s=10)
    assert honest[0].latency.mid == pytest.approx(LIGHT_NS, rel=0.01)
    assert honest[1].relative.mid == pytest.approx(1.2, rel=0.01)
    # so it would be without
    careless = found(two(slow=1.2, spin_ns=SPIN_NS, waits=False), max_time_s=10)
    assert careless[0].latency.mid > 1.5 * LIGHT_NS


def test_what_a_turn_costs_beside_its_sample_is_planned_for():
    """Each waits 8.6 ms, and there are replicates enough for an interval all the same."""
    make = two(spin_ns=SPIN_NS)
    summary = found(make, max_time_s=10, precision=0.0001)[1]
    assert summary.replicates >= 12
    assert make.clock.now() < 12e9


def test_far_arms_measure_what_near_ones_do():
    costs = {0: LIGHT_NS, 1: 1.5 * LIGHT_NS, 2: 100 * LIGHT_NS}
    near = summarise(compare(FakeMake(FakeClock(), costs)))
    process = FakeProcess()
    far = found(FarMake(FakeClock(), costs, processes=dict.fromkeys(costs, process), twins=process))
    for case in costs:
        assert far[case].latency == pytest.approx(near[case].latency)
        assert far[case].relative == pytest.approx(near[case].relative, rel=0.1)
        assert far[case].relative.mid == pytest.approx(near[case].relative.mid)


@pytest.mark.parametrize("cost_ns", [1_000, 100_000, LEAD_NS, 3_000_000])
def test_a_turn_begins_with_calls_that_are_not_timed(cost_ns):
    clock, calls = FakeClock(), []
    work = FakeWork(clock, cost_ns, lambda: calls.append(clock.at_ns) or 1.0)
    duration_ns, _ = turn(work, 5, 1, clock)
    assert duration_ns == 5 * cost_ns
    assert len(calls) >= LEAD_CALLS + 5
    assert calls[-5] >= LEAD_NS
    # and with no more than that takes
    assert calls[-5] < LEAD_NS + (LEAD_CALLS + 1) * cost_ns


def test_a_turn_of_what_is_cold_begins_with_none():
    clock, calls = FakeClock(), []
    work = FakeWork(clock, LIGHT_NS, lambda: calls.append(1) or 1.0, cold=True, repeatable=False)
    assert turn(work, 1, 0, clock)[0] == LIGHT_NS
    assert len(calls) == 1


class Failing(FakeFar):
    def sampled(self, calls, before):
        raise ValueError("it ended")


def test_what_fails_in_its_process_names_its_work():
    work = Failing(FakeWork(FakeClock(), 1), FakeProcess(), [])
    with pytest.raises(WorkError) as caught:
        TurnClock().time([[Sample(work, 1)]])
    assert caught.value.work is work


def test_the_case_that_fails_far_away_is_named_and_its_cause_kept():
    make = two()

    def failing(role, case):
        made = make(role, case)
        return Failing(made.work, made.process, []) if case == 1 else made

    clock = TurnClock(make.clock.now, make.clock.sleep)
    [block] = [Block("fake", "fake", None, False)]
    cases = compared([block] * 2, Axes(), "cpu").cases
    with pytest.raises(CaseError) as caught:
        time_comparison(
            failing,
            lineup_of(cases, (0, 1), (0, 0)),
            Effort(0.01, 1.0),
            clock,
            random.Random(0),
            usage=make.clock.usage,
        )
    assert caught.value.case == 1
    assert isinstance(caught.value.__cause__, ValueError)


def test_threads_that_sleep_are_idle_and_one_that_works_is_not():
    asleep, busy, end = threading.Event(), threading.Event(), threading.Event()

    def spin():
        busy.set()
        while not end.is_set():
            pass

    sleeper = threading.Thread(target=asleep.wait)
    sleeper.start()
    assert wait_until_idle(5.0)
    spinner = threading.Thread(target=spin)
    spinner.start()
    busy.wait()
    assert not wait_until_idle(0.05)
    end.set()
    spinner.join()
    assert wait_until_idle(5.0)
    asleep.set()
    sleeper.join()


def test_a_turn_is_timed_by_the_clock_of_its_own_process():
    clock = FakeClock()
    work = FakeWork(clock, 1_000, repeatable=True)
    duration_ns, met = turn(work, 3, 1, CpuClock(now=clock.now, sleep=clock.sleep))
    assert duration_ns == 3_000
    assert met.faults >= 0
