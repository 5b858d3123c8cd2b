"""What the whole way from samples to verdicts says of machines whose truth is known."""

import pytest
from fakes import FakeClock, FakeMake, compare, summaries

from gcbench.stats.intervals import summarise

UNIT_NS = 10_000
LIGHT_NS = 200_000
SIMULATIONS = 150


def drifting(session_s):
    """A machine that is 30 % slower at the end of the session than at its beginning."""
    return lambda second: 1 + 0.3 * min(second / session_s, 1)


def assert_within(relative, distance):
    """Both ends of the interval lie this close to 1, however wide the noise floor."""
    assert 1 - distance < relative.lo <= relative.hi < 1 + distance, relative


def assert_verdict(summary, expected):
    assert summary.verdict == expected, summary


@pytest.mark.parametrize(("calls", "against"), [(21, 20), (34, 33), (40, 20), (20, 40), (7, 7)])
def test_without_noise_the_ratio_of_counted_calls_is_exact(calls, against):
    make = FakeMake(FakeClock(), {0: against * UNIT_NS, 1: calls * UNIT_NS})
    relative = summaries(make)[1].relative
    assert relative == pytest.approx((calls / against,) * 3, rel=1e-12)


def test_without_noise_latencies_and_copies_are_exact():
    make = FakeMake(FakeClock(), {0: 20 * UNIT_NS, 1: 30 * UNIT_NS}, copy_ns=15 * UNIT_NS)
    found = summaries(make)
    assert found[1].latency == (300_000, 300_000, 300_000)
    assert found[1].minimum == 300_000
    assert found[1].copies == pytest.approx(2)
    assert found[0].copies == pytest.approx(4 / 3)


def test_a_call_shorter_than_a_sample_is_read_per_call():
    make = FakeMake(FakeClock(), {0: 700, 1: 1_400}, copy_ns=300)
    found = summaries(make)
    assert found[0].calls == found[1].calls == 143
    assert found[0].latency.mid == pytest.approx(700)
    assert found[1].relative.mid == pytest.approx(2)


def test_preparation_is_not_timed():
    make = FakeMake(FakeClock(), {0: LIGHT_NS, 1: 2 * LIGHT_NS}, preparation_ns=5 * LIGHT_NS)
    found = summaries(make)
    assert found[0].latency.mid == LIGHT_NS
    assert found[1].relative.mid == pytest.approx(2)


def test_drift_of_the_machine_does_not_part_equal_arms():
    clock = FakeClock(drifting(session_s=0.4))
    found = summaries(FakeMake(clock, {0: LIGHT_NS, 1: LIGHT_NS}, noise=0.005))
    assert found[1].drift > 0.1, "the session ended before the machine drifted"
    assert_verdict(found[1], "same")
    assert_within(found[1].relative, 0.005)


def test_drift_inside_every_replicate_does_not_part_equal_arms():
    """The pairing has teeth: arms that took their samples one after the other would differ."""
    clock = FakeClock(lambda second: 1 + 0.3 * (second / 0.02 % 1))
    found = summaries(FakeMake(clock, {0: LIGHT_NS, 1: LIGHT_NS}), max_time_s=0.5)
    assert_verdict(found[1], "same")
    # consecutive samples differ by 0.3 %
    assert_within(found[1].relative, 0.003)


@pytest.mark.parametrize("noise", [0.0, 0.005])
def test_a_heavy_arm_does_not_part_equal_light_arms(noise):
    clock = FakeClock(drifting(session_s=10), eviction=0.5)
    make = FakeMake(clock, {0: LIGHT_NS, 1: LIGHT_NS, 2: 300 * LIGHT_NS}, noise=noise)
    found = summaries(make, max_time_s=10)
    assert_verdict(found[1], "same")
    assert_within(found[1].relative, 0.005)
    # only samples right after a heavy call are slow; the median is not
    assert found[1].latency.mid < 1.3 * 1.01 * LIGHT_NS
    assert_verdict(found[2], "slower")
    assert found[2].relative.mid == pytest.approx(300, rel=0.05)


def test_equal_heavy_arms_beside_a_light_baseline_are_equally_slow():
    clock = FakeClock(eviction=0.5)
    make = FakeMake(clock, {0: LIGHT_NS, 1: 100 * LIGHT_NS, 2: 100 * LIGHT_NS})
    found = summaries(make, max_time_s=20)
    assert found[1].relative.mid == pytest.approx(found[2].relative.mid, rel=0.01)


@pytest.mark.parametrize(("factor", "expected"), [(1.1, "slower"), (1 / 1.1, "faster")])
def test_a_difference_of_a_tenth_is_found_under_noise_and_layout_bias(factor, expected):
    for seed in range(20):
        costs = {0: LIGHT_NS, 1: factor * LIGHT_NS}
        make = FakeMake(FakeClock(), costs, noise=0.02, layout=0.02, seed=seed)
        assert_verdict(summaries(make, precision=0.02, max_time_s=0.5)[1], expected)


@pytest.fixture(scope="module")
def equal_arms():
    """Summaries of the second of two equal arms, laid out anew, 1.5 % apart, by each replicate."""
    found = []
    for seed in range(SIMULATIONS):
        costs = {0: LIGHT_NS, 1: LIGHT_NS}
        make = FakeMake(FakeClock(), costs, noise=0.01, layout=0.015, seed=seed)
        found.append(summaries(make, max_time_s=0.3)[1])
    return found


def test_the_interval_covers_the_truth_as_often_as_it_says(equal_arms):
    missed = sum(not found.relative.lo <= 1 <= found.relative.hi for found in equal_arms)
    # nominal 5 %; looking until the precision is reached may add a little
    assert 1 <= missed <= 0.08 * SIMULATIONS


def test_equal_arms_are_told_apart_in_at_most_one_of_twenty_sessions(equal_arms):
    false = [found for found in equal_arms if found.verdict in ("faster", "slower")]
    assert len(false) <= 0.05 * SIMULATIONS
    untrusted = [found for found in equal_arms if found.verdict == "untrusted"]
    assert len(untrusted) <= 0.05 * SIMULATIONS


def test_a_bias_that_stays_for_good_would_have_been_missed_by_the_interval():
    """The simulation has teeth: a bias that is not drawn anew is outside the interval."""
    make = FakeMake(FakeClock(), {0: LIGHT_NS, 1: 1.026 * LIGHT_NS}, noise=0.01)
    relative = summaries(make, max_time_s=0.3)[1].relative
    assert relative.lo > 1.01


@pytest.mark.parametrize("bias", [1.05, 1 / 1.05])
def test_an_aa_arm_that_differs_for_good_makes_every_verdict_untrusted(bias):
    costs = {0: LIGHT_NS, 1: LIGHT_NS, 2: 2 * LIGHT_NS}
    found = summaries(FakeMake(FakeClock(), costs, noise=0.005, aa_bias=bias))
    assert_verdict(found[0], "baseline")
    assert_verdict(found[1], "untrusted")
    assert_verdict(found[2], "untrusted")
    assert found[2].relative.mid == pytest.approx(2, rel=0.01)


def test_an_aa_arm_that_differs_by_less_than_the_precision_is_trusted():
    costs = {0: LIGHT_NS, 1: LIGHT_NS, 2: 2 * LIGHT_NS}
    found = summaries(FakeMake(FakeClock(), costs, aa_bias=1.005))
    assert_verdict(found[1], "same")
    assert_verdict(found[2], "slower")


def test_a_difference_far_below_the_noise_is_neither_faster_nor_slower():
    for seed in range(20):
        make = FakeMake(FakeClock(), {0: LIGHT_NS, 1: 1.01 * LIGHT_NS}, layout=0.2, seed=seed)
        record = compare(make, precision=0.001, max_time_s=0.3)
        assert record.timings[0].stopped_by == "time"
        found = summarise(record)[1]
        assert found.noise.aa.reach() > 0.01
        assert found.verdict in ("unresolved", "same", "untrusted")


def test_the_same_seed_gives_the_same_samples():
    def samples(seed):
        make = FakeMake(FakeClock(), {0: LIGHT_NS, 1: LIGHT_NS}, noise=0.01, seed=seed)
        return compare(make, max_time_s=0.2).timings[0].replicates

    assert samples(1) == samples(1)
    assert samples(1) != samples(2)
