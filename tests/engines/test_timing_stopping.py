"""When a comparison stops, what it says of that, and what it leaves behind."""

import gc
import math
import random
from itertools import pairwise

import pytest
from fakes import FakeClock, FakeMake, FakeWork, compare

from gcbench.errors import CaseError
from gcbench.measure.timing.plan import MIN_REPLICATES
from gcbench.measure.timing.replicates import AHEAD_NS, HEAT_NS, Lineup, time_comparison
from gcbench.spec.cases import Effort
from gcbench.stats.intervals import fewest_replicates, summarise, widest

LIGHT_NS = 200_000


def light_pair(**options):
    return FakeMake(FakeClock(), {0: LIGHT_NS, 1: LIGHT_NS}, **options)


def test_it_stops_on_precision_after_the_fewest_replicates():
    timing = compare(light_pair()).timings[0]
    assert timing.stopped_by == "precision"
    assert len(timing.replicates) == MIN_REPLICATES


def test_it_goes_on_until_the_precision_is_reached_and_not_a_replicate_longer():
    seen = []
    make = light_pair(noise=0.01, layout=0.01)
    timing = compare(make, precision=0.008, max_time_s=3, on_progress=seen.append).timings[0]
    assert timing.stopped_by == "precision"
    assert len(timing.replicates) > MIN_REPLICATES
    limit = math.log1p(0.008)
    assert seen[-1].half_width <= limit
    assert all(progress.half_width > limit for progress in seen[MIN_REPLICATES - 1 : -1])


def test_it_stops_on_time_and_says_so():
    seen = []
    make = light_pair(noise=0.01, layout=0.02)
    timing = compare(make, precision=1e-4, max_time_s=0.5, on_progress=seen.append).timings[0]
    assert timing.stopped_by == "time"
    assert seen[-1].elapsed_s >= 0.5 > seen[-2].elapsed_s


def test_it_overruns_its_time_by_less_than_a_replicate():
    seen = []
    compare(light_pair(layout=0.02), precision=1e-4, max_time_s=0.5, on_progress=seen.append)
    longest = max(b.elapsed_s - a.elapsed_s for a, b in pairwise(seen))
    assert seen[-1].elapsed_s <= 0.5 + longest


def test_it_never_stops_because_an_interval_excludes_one():
    seen = []
    make = FakeMake(FakeClock(), {0: LIGHT_NS, 1: 3 * LIGHT_NS}, noise=0.02, layout=0.1)
    record = compare(make, precision=0.001, max_time_s=1, on_progress=seen.append)
    assert record.timings[0].stopped_by == "time"
    assert seen[-1].elapsed_s >= 1
    assert summarise(record)[1].relative.lo > 2


def test_a_budget_too_small_still_gives_one_replicate():
    record = compare(light_pair(), max_time_s=1e-6)
    assert record.timings[0].stopped_by == "time"
    assert len(record.timings[0].replicates) == 1
    found = summarise(record)
    assert found[0].latency.mid == LIGHT_NS
    assert not found[1].relative.known
    assert found[1].verdict == "too_few_replicates"


def test_a_budget_too_small_for_the_heavy_arm_still_times_every_arm():
    make = FakeMake(FakeClock(), {0: LIGHT_NS, 1: LIGHT_NS, 2: 300 * LIGHT_NS})
    record = compare(make, max_time_s=0.02)
    found = summarise(record)
    assert found[1].latency.mid == LIGHT_NS
    assert found[2].latency.mid == 300 * LIGHT_NS
    assert found[2].verdict == "too_few_replicates"


def test_a_heavy_arm_that_is_not_due_every_time_is_reported_on_from_the_start():
    seen = []
    make = FakeMake(FakeClock(), {0: LIGHT_NS, 1: LIGHT_NS, 2: 300 * LIGHT_NS})
    record = compare(make, max_time_s=1.5, on_progress=seen.append)
    assert seen[0].half_width is None
    found = summarise(record)
    assert 1 <= found[2].replicates < found[1].replicates
    assert found[1].verdict == "same"


def test_more_cases_than_twelve_replicates_can_judge_get_more_replicates():
    cases = 104
    needed = fewest_replicates(cases - 1)
    assert needed > MIN_REPLICATES
    make = FakeMake(FakeClock(), dict.fromkeys(range(cases), LIGHT_NS))
    timing = compare(make, max_time_s=60).timings[0]
    assert timing.stopped_by == "precision"
    assert len(timing.replicates) == needed
    assert widest([timing], [0] * cases) <= math.log1p(0.01)


def test_a_single_case_stops_on_the_precision_of_its_aa_arm():
    seen = []
    make = FakeMake(FakeClock(), {0: LIGHT_NS}, noise=0.01, layout=0.01)
    record = compare(make, precision=0.01, max_time_s=3, on_progress=seen.append)
    assert record.timings[0].stopped_by == "precision"
    assert seen[-1].half_width <= math.log1p(0.01)
    assert summarise(record)[0].verdict == "baseline"


def test_progress_is_reported_after_every_replicate():
    seen = []
    make = light_pair(layout=0.02)
    timing = compare(make, precision=0.001, max_time_s=0.5, on_progress=seen.append).timings[0]
    assert [progress.replicates for progress in seen] == [
        number + 1 for number in range(len(timing.replicates))
    ]
    elapsed = [progress.elapsed_s for progress in seen]
    assert elapsed == sorted(set(elapsed))
    assert elapsed[-1] == pytest.approx(make.clock.at_ns / 1e9, abs=1e-8)
    assert {progress.budget_s for progress in seen} == {0.5}
    fewest = fewest_replicates(1)
    assert all(progress.half_width is None for progress in seen[: fewest - 1])
    assert all(0 < progress.half_width < math.inf for progress in seen[fewest - 1 :])


def test_without_its_baseline_a_comparison_has_latencies_and_no_relatives():
    make = FakeMake(FakeClock(), {1: LIGHT_NS, 2: 2 * LIGHT_NS})
    record = compare(make, baseline=0)
    assert record.timings[0].stopped_by == "precision"
    found = summarise(record)
    assert {case: summary.latency.mid for case, summary in found.items()} == {
        1: LIGHT_NS,
        2: 2 * LIGHT_NS,
    }
    for summary in found.values():
        assert (summary.relative, summary.noise, summary.verdict) == (None, None, None)


def test_a_work_that_raises_is_named_with_its_case_and_the_collector_is_back_on():
    make = light_pair()

    def failing(role, case):
        work = make(role, case)
        if len(make.clock.slept) == 3 and case == 1:
            work.noise = lambda: 1 / 0
        return work

    failing.costs_ns, failing.clock, failing.seed = make.costs_ns, make.clock, 0
    with pytest.raises(CaseError) as raised:
        compare(failing)
    assert raised.value.case == 1
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    assert gc.isenabled()


class CollectorWatch(FakeWork):
    """Notes whether the garbage collector is on while it is prepared and called."""

    def prepare(self):
        super().prepare()
        self.seen.append(gc.isenabled())

    def call(self):
        super().call()
        self.seen.append(gc.isenabled())


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_off_inside_batches_and_as_before_outside(enabled):
    inside, outside = [], []
    clock = FakeClock()

    def make(role, case):
        outside.append(gc.isenabled())
        work = CollectorWatch(clock, LIGHT_NS)
        work.seen = inside
        return work

    make.costs_ns, make.clock, make.seed = {0: LIGHT_NS, 1: LIGHT_NS}, clock, 0
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        compare(make, max_time_s=0.1)
        after = gc.isenabled()
    finally:
        (gc.enable if before else gc.disable)()
    assert inside
    assert not any(inside)
    assert set(outside) == {enabled}
    assert after == enabled


def test_a_replicate_begins_with_a_short_random_pause():
    make = light_pair()
    timing = compare(make).timings[0]
    pauses = make.clock.slept
    assert len(pauses) == len(timing.replicates)
    assert len(set(pauses)) == len(pauses)
    assert all(0 <= pause <= 0.05 for pause in pauses)


def test_the_disturbance_of_a_replicate_is_the_difference_of_its_readings():
    make = light_pair()
    for replicate in compare(make).timings[0].replicates:
        timed_ns = sum(map(sum, replicate.samples_ns))
        assert replicate.disturbance.wall_ns >= timed_ns
        # twice the calls, since one comes untimed before each, and settling
        assert replicate.disturbance.wall_ns < 3 * timed_ns
        assert replicate.disturbance.steal_ns is None
        assert replicate.disturbance.involuntary_switches == 0


def test_a_sustained_device_is_busy_before_anything_is_timed_and_as_long_as_it_ever_paused():
    # cold, so that a sample is one call and nothing comes before it
    make = FakeMake(FakeClock(), {0: 400_000, 1: 600_000}, make_ns=20_000_000, cold=True)
    clock, worked, before = make.clock, [], []
    called = clock.work

    def work(cost_ns, threads=1):
        called(cost_ns, threads)
        worked.append(cost_ns)

    def noting(role, case):
        before.append(sum(worked))
        return make(role, case)

    clock.work = work
    timing = time_comparison(
        noting,
        Lineup((0, 1), (0, 0), (0,)),
        Effort(1e-9, 1.0),
        clock,
        random.Random(0),
        usage=clock.usage,
        regime="sustained",
    )
    assert clock.slept == []
    # both cases are made for heating, then the copy and both for what they cost
    assert HEAT_NS <= before[2] <= HEAT_NS + AHEAD_NS
    # and four arms for each replicate, a pause of 20 ms each
    ends = [*before[5::4], sum(worked)]
    for replicate, (start, end) in zip(timing.replicates, pairwise(ends), strict=True):
        timed = sum(map(sum, replicate.samples_ns))
        assert 80_000_000 <= end - start - timed <= 80_000_000 + AHEAD_NS


def test_a_case_that_raises_while_a_device_is_heated_is_named():
    make = FakeMake(FakeClock(), {0: 400_000, 1: 600_000})

    def fragile(role, case):
        work = make(role, case)
        if case == 1:
            work.call = lambda: 1 / 0
        return work

    with pytest.raises(CaseError) as raised:
        time_comparison(
            fragile,
            Lineup((0, 1), (0, 0), (0,)),
            Effort(0.01, 1.0),
            make.clock,
            random.Random(0),
            usage=make.clock.usage,
            regime="sustained",
        )
    assert raised.value.case == 1
