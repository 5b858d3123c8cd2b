"""Intervals, ratios and verdicts against slow and obvious versions of themselves."""

import math
from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from fakes import record_of
from hypothesis import given, settings
from hypothesis import strategies as st

from gcbench.records import Arm, Disturbance, Replicate, Timing
from gcbench.stats.intervals import (
    ERROR_RATE,
    Interval,
    Noise,
    aa_intervals,
    case_arms,
    fewest_replicates,
    log_ratios,
    median_interval,
    medians,
    relatives,
    resolvable,
    summarise,
    verdict,
    widest,
)
from gcbench.stats.machine_flags import machine_flags

exactly = settings(derandomize=True, deadline=None, max_examples=60)
durations = st.integers(1_000, 10_000_000)
UNKNOWN = Interval(0.0, -math.inf, math.inf)
QUIET = Disturbance(0, 0, None, 0)
# every case is divided by the first
ALL_BY_FIRST = [0] * 20


def miss_probability(n, rank):
    """Chance that the rank-th smallest and largest of n values do not enclose the median."""
    return Fraction(2 * sum(math.comb(n, below) for below in range(rank)), 2**n)


def brute_rank(n, error_rate):
    fitting = [
        rank for rank in range(1, n // 2 + 1) if miss_probability(n, rank) <= Fraction(error_rate)
    ]
    return max(fitting, default=0)


def timing_of(arms, *replicates):
    """A timing of arms, given the samples of each arm in each replicate."""
    return Timing(
        tuple(arms),
        tuple(Replicate(tuple(map(tuple, samples)), QUIET) for samples in replicates),
        "time",
    )


def light_arms(count, calls=1):
    """Cases 0 to count - 1, the A/A arm of case 0 and the copy arm, all of one group."""
    arms = [Arm("case", case, 0, calls) for case in range(count)]
    return [*arms, Arm("aa", 0, 0, calls), Arm("copy", 0, 0, calls)]


def timing_of_biases(count, biases, base_ns=1_000_000):
    """One sample of each arm a replicate; of the case or arm `i` it is biases[i] times the base."""
    rows = [[[round(base_ns * factor)] for factor in row] for row in zip(*biases, strict=True)]
    return timing_of(light_arms(count), *rows)


# two arms of group 1, heavy, that took part in every other of twelve replicates
MIXED_ARMS = [*light_arms(2), Arm("case", 2, 1, 1), Arm("aa", 2, 1, 1)]


def mixed_timing():
    light = [[100, 110, 120], [200, 220, 240], [100, 110, 120], [50, 55, 60]]
    rows = []
    for number in range(12):
        heavy = [[], []] if number % 2 else [[11_000 + 110 * number], [11_000 + 1_100 * number]]
        rows.append(light + heavy)
    return timing_of(MIXED_ARMS, *rows)


@pytest.mark.parametrize("n", [*range(1, 60), 100, 400])
@pytest.mark.parametrize("others", [1, 2, 7, 30])
def test_the_ranks_of_an_interval_are_those_of_the_binomial_sums(n, others):
    rate = ERROR_RATE / others
    rank = brute_rank(n, rate)
    found = median_interval(range(1, n + 1), rate)
    expected = (rank, n + 1 - rank) if rank else (-math.inf, math.inf)
    assert (found.lo, found.hi) == expected
    assert found.mid == (n + 1) / 2


@pytest.mark.parametrize("n", range(6, 12))
def test_an_interval_covers_the_median_in_enough_of_all_sign_patterns_and_no_more_than_needed(n):
    covered = 0
    for signs in product((-1, 1), repeat=n):
        interval = median_interval([sign * (1 + place) for place, sign in enumerate(signs)])
        covered += interval.lo <= 0 <= interval.hi
    rank = brute_rank(n, ERROR_RATE)
    assert Fraction(covered, 2**n) == 1 - miss_probability(n, rank)
    assert Fraction(covered, 2**n) >= 1 - Fraction(ERROR_RATE)
    assert miss_probability(n, rank + 1) > Fraction(ERROR_RATE), "a shorter interval would do"


@exactly
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60))
def test_an_interval_holds_its_median_and_ends_at_values_whatever_their_order(values):
    interval = median_interval(values)
    assert interval == median_interval(values[::-1])
    assert interval.lo <= interval.mid <= interval.hi
    assert interval.mid == np.median(values)
    assert not interval.known or {interval.lo, interval.hi} <= set(values)


@pytest.mark.parametrize("n", range(6))
def test_too_few_values_give_infinite_ends(n):
    interval = median_interval(range(n))
    assert (interval.lo, interval.hi) == (-math.inf, math.inf)
    assert not interval.known
    assert interval.half_width == math.inf


@pytest.mark.parametrize("n", [1_000, 1_023, 1_024, 2_000, 5_000])
def test_an_interval_of_very_many_values_is_about_two_standard_errors_wide(n):
    interval = median_interval(range(n))
    assert interval.half_width == pytest.approx(1.96 * math.sqrt(n) / 2, abs=2)


@pytest.mark.parametrize("others", range(1, 31))
def test_the_fewest_replicates_are_those_that_first_give_an_interval(others):
    rate = ERROR_RATE / others
    needed = next(n for n in range(1, 100) if brute_rank(n, rate))
    assert fewest_replicates(others) == needed
    assert median_interval(range(needed), rate).known
    assert not median_interval(range(needed - 1), rate).known


def test_a_lone_case_needs_the_replicates_of_the_aa_interval():
    assert fewest_replicates(0) == fewest_replicates(1) == 6


def test_an_interval_of_logarithms_becomes_one_of_ratios():
    ratios = Interval(math.log(2), math.log(1.5), math.log(3)).exp()
    assert ratios == pytest.approx((2, 1.5, 3))
    assert UNKNOWN.exp() == (1, 0, math.inf)


@pytest.mark.parametrize("count", [2, 3, 9])
def test_the_error_rate_is_shared_by_the_other_cases_and_not_by_the_aa_arm(count):
    rng = np.random.default_rng(0)
    biases = 1 + rng.normal(0, 0.02, (count + 2, 31))
    timing = timing_of_biases(count, biases)
    found = relatives([timing], ALL_BY_FIRST)
    assert set(found) == set(range(1, count))
    rate = ERROR_RATE / (count - 1)
    for case, interval in found.items():
        assert interval == median_interval(log_ratios(timing, case, 0), rate)
    aa = median_interval(log_ratios(timing, count, 0))
    assert aa_intervals([timing], ALL_BY_FIRST) == dict.fromkeys(range(count), aa)
    assert brute_rank(31, rate) < brute_rank(31, ERROR_RATE) or count == 2


def test_relatives_to_a_case_that_was_not_timed_are_none_at_all():
    timing = timing_of_biases(2, np.ones((4, 12)))
    assert relatives([timing], [7, 7]) == {}


@exactly
@given(
    st.lists(st.tuples(durations, durations, durations), min_size=1, max_size=9), st.integers(1, 9)
)
def test_arms_of_a_group_are_compared_round_by_round(rounds, calls):
    first, second, third = zip(*rounds, strict=True)
    timing = timing_of(light_arms(2, calls), [first, second, third, first])
    [found] = log_ratios(timing, 1, 0)
    assert found == pytest.approx(np.median([math.log(b / a) for a, b, _ in rounds]), abs=1e-12)
    # pairing takes away what both arms of a round share
    slowed = [[(place + 1) * sample for place, sample in enumerate(arm)] for arm in (first, second)]
    [again] = log_ratios(timing_of(light_arms(2, calls), [*slowed, third, first]), 1, 0)
    assert again == pytest.approx(found, abs=1e-9)


def test_ratios_across_groups_are_of_the_medians_of_the_same_replicate():
    timing = mixed_timing()
    expected = [math.log((11_000 + 110 * number) / 110) for number in range(0, 12, 2)]
    assert log_ratios(timing, 4, 0) == pytest.approx(expected)
    assert log_ratios(timing, 0, 4) == pytest.approx([-ratio for ratio in expected])


def test_ratios_across_groups_are_per_call_where_the_groups_have_different_calls():
    arms = [*light_arms(1, calls=10), Arm("case", 1, 1, 1), Arm("aa", 1, 1, 1)]
    timing = timing_of(arms, [[1_000], [1_000], [1_000], [300], [300]])
    assert log_ratios(timing, 3, 0) == pytest.approx([math.log(3)])


def test_replicates_without_a_heavy_arm_are_left_out_of_what_is_said_of_it():
    timing = mixed_timing()
    assert len(log_ratios(timing, 4, 0)) == len(log_ratios(timing, 5, 4)) == 6
    assert len(log_ratios(timing, 1, 0)) == 12
    assert list(np.isnan(medians(timing, 4))) == [bool(number % 2) for number in range(12)]
    found = summarise(record_of(timing))
    assert (found[2].replicates, found[2].samples) == (6, 6)
    assert (found[1].replicates, found[1].samples) == (12, 36)


def test_a_heavy_case_is_held_against_the_copies_of_both_groups_and_a_light_one_its_own():
    timing = mixed_timing()
    found = summarise(record_of(timing))
    aa = aa_intervals([timing], ALL_BY_FIRST)
    assert aa[0] == aa[1]
    assert aa[2].reach() > aa[0].reach()
    assert found[0].noise == found[1].noise == Noise((aa[0],), 0.01)
    assert found[2].noise == Noise((aa[0], aa[2]), 0.01)
    assert found[2].noise.aa == aa[2]
    # the same where the baseline is the heavy one
    against_heavy = summarise(record_of(timing, baseline=2))
    assert all(summary.noise.aa == aa[2] for summary in against_heavy.values())


def test_a_case_that_has_a_copy_is_held_against_that_and_the_one_of_its_baseline():
    arms = [Arm("case", case, 0, 1) for case in range(3)]
    arms += [Arm("aa", 0, 0, 1), Arm("aa", 2, 0, 1), Arm("copy", 0, 0, 1)]
    # the copy of the last case takes half as long again: something disturbs the one or the other
    rows = [[[100], [200], [200], [101], [300 + n], [10]] for n in range(12)]
    timing = timing_of(arms, *rows)
    aa = aa_intervals([timing], ALL_BY_FIRST)
    assert aa[0] == aa[1] == pytest.approx(median_interval([math.log(1.01)] * 12))
    own = median_interval([math.log((300 + n) / 200) for n in range(12)])
    assert aa[2] == pytest.approx(own)
    found = summarise(record_of(timing, precision=0.05))
    assert [found[case].verdict for case in range(3)] == ["baseline", "slower", "untrusted"]


def test_each_of_several_baselines_is_held_against_its_own_copy():
    arms = [Arm("case", case, 0, 1) for case in range(4)]
    arms += [Arm("aa", 0, 0, 1), Arm("aa", 2, 0, 1), Arm("copy", 0, 0, 1)]
    rows = [[[100], [200], [50], [60], [101], [55 + n], [10]] for n in range(12)]
    timing = timing_of(arms, *rows)
    aa = aa_intervals([timing], [0, 0, 2, 2])
    assert aa[0] == aa[1] == pytest.approx(median_interval([math.log(1.01)] * 12))
    own = median_interval([math.log((55 + n) / 50) for n in range(12)])
    assert aa[2] == aa[3] == pytest.approx(own)
    found = relatives([timing], [0, 0, 2, 2])
    assert {case: interval.exp().mid for case, interval in found.items()} == {
        1: pytest.approx(2),
        3: pytest.approx(1.2),
    }


# two copies: as measured alike, give or take 0.02
TIGHT = Noise((Interval(0.0, -0.02, 0.015),), 0.01)


@pytest.mark.parametrize(
    ("mid", "half", "expected"),
    [
        (0.06, 0.01, "slower"),
        (0.045, 0.03, "slower"),
        # sides of a right triangle: 0.015 and 0.02 make 0.025
        (0.0251, 0.015, "slower"),
        (0.0249, 0.015, "unresolved"),
        # clear of the copies, but its end is not clear of the precision of log(1.01) = 0.00995
        (0.041, 0.031, "slower"),
        (0.041, 0.0315, "unresolved"),
        (-0.06, 0.01, "faster"),
        (-0.0251, 0.015, "faster"),
        (-0.0249, 0.015, "unresolved"),
        (-0.041, 0.0315, "unresolved"),
        (0.0, 0.0099, "same"),
        (0.0075, 0.0024, "same"),
        # inside what copies differ by, but not inside the precision: noise makes nothing equal
        (0.012, 0.007, "unresolved"),
        (-0.012, 0.007, "unresolved"),
        (0.0, 0.05, "unresolved"),
        (0.0, math.inf, "unresolved"),
    ],
)
def test_a_verdict_asks_for_an_interval_clear_of_the_precision_and_of_the_copies(
    mid, half, expected
):
    assert verdict(Interval(mid, mid - half, mid + half), TIGHT) == expected


def test_copies_that_came_out_apart_push_the_verdict_off_by_as_much():
    apart = Noise((Interval(0.02, 0.0, 0.04),), 0.01)
    assert verdict(Interval(0.043, 0.032, 0.054), apart) == "slower"
    assert verdict(Interval(0.042, 0.031, 0.053), apart) == "unresolved"


@exactly
@given(st.floats(0.001, 0.1), st.floats(-0.004, 0.004), st.floats(0, 0.1))
def test_what_an_interval_would_resolve_is_where_its_verdict_turns(half, aa_mid, aa_half):
    noise = Noise((Interval(aa_mid, aa_mid - aa_half, aa_mid + aa_half),), 0.01)
    edge = resolvable(Interval(0.0, -half, half), noise)
    for shift, expected in ((1e-9, "slower"), (-1e-9, "unresolved")):
        at = edge + shift
        assert verdict(Interval(at, at - half, at + half), noise) == expected


@exactly
@given(st.floats(-0.2, 0.2), st.floats(0, 0.1), st.floats(0, 0.1))
def test_a_verdict_turns_around_with_the_sign(mid, half, noise_half):
    turned = {"faster": "slower", "slower": "faster"}
    noise = Noise((Interval(0.0, -noise_half, noise_half),), 0.01)
    found = verdict(Interval(mid, mid - half, mid + half), noise)
    other = verdict(Interval(-mid, -mid - half, -mid + half), noise)
    assert other == turned.get(found, found)


@pytest.mark.parametrize("lo", [0.0101, -0.05])
@pytest.mark.parametrize("relative", [(0.5, 0.6), (-0.001, 0.001), (-0.6, -0.5)])
def test_copies_that_differ_by_more_than_the_precision_make_any_verdict_untrusted(lo, relative):
    noise = Noise((Interval(lo + 0.01, lo, lo + 0.02),), 0.01)
    assert noise.excludes_one
    assert verdict(Interval(sum(relative) / 2, *relative), noise) == "untrusted"


@pytest.mark.parametrize(
    "aa", [(0.001, 0.05), (math.log1p(0.01), 0.05), (-0.05, -0.001), (-0.05, 0.05)]
)
def test_copies_whose_interval_touches_the_precision_are_trusted(aa):
    assert not Noise((Interval(sum(aa) / 2, *aa),), 0.01).excludes_one


def test_copies_that_differ_in_either_group_make_the_verdict_untrusted():
    light, heavy = Interval(0.03, 0.02, 0.04), Interval(0.0, -0.2, 0.2)
    assert verdict(Interval(0.6, 0.5, 0.7), Noise((light, heavy), 0.01)) == "untrusted"


@pytest.mark.parametrize("relative", [(-0.001, 0.001), (0.5, 0.6), (-0.6, -0.5)])
def test_nothing_is_resolved_while_the_noise_is_unknown(relative):
    assert verdict(Interval(sum(relative) / 2, *relative), Noise((UNKNOWN,), 0.01)) == "unresolved"


def test_the_precision_is_asked_of_every_relative_and_of_the_copies():
    rng = np.random.default_rng(1)
    quiet, loud = np.ones(12), 1 + rng.normal(0, 0.1, 12)
    assert widest([timing_of_biases(3, [quiet, quiet, quiet, quiet, loud])], ALL_BY_FIRST) == 0
    assert widest([timing_of_biases(3, [quiet, quiet, quiet, loud, quiet])], ALL_BY_FIRST) > 0.01
    assert widest(
        [timing_of_biases(3, [quiet, quiet, loud, quiet, quiet])], ALL_BY_FIRST
    ) > math.log1p(0.01)
    # a lone case has only its A/A arm to settle
    assert widest([timing_of_biases(1, [quiet, quiet, loud])], ALL_BY_FIRST) <= math.log1p(0.01)
    assert widest([timing_of_biases(1, [quiet, loud, quiet])], ALL_BY_FIRST) > math.log1p(0.01)


def test_the_widest_half_width_is_that_of_the_worst_relative():
    rng = np.random.default_rng(2)
    timing = timing_of_biases(4, 1 + rng.normal(0, 0.05, (6, 20)))
    both = relatives([timing], ALL_BY_FIRST), aa_intervals([timing], ALL_BY_FIRST)
    assert widest([timing], ALL_BY_FIRST) == max(
        interval.half_width for found in both for interval in found.values()
    )
    assert widest([timing_of_biases(2, np.ones((4, 3)))], ALL_BY_FIRST) == math.inf


def test_far_out_samples_are_counted_and_never_dropped():
    calm = [100 + place % 5 for place in range(20)]
    torn = [*calm[:-2], 100_000, 1]
    arms = light_arms(2)
    found = summarise(record_of(timing_of(arms, *[[calm, torn, calm, calm]] * 12)))
    assert (found[0].far_out, found[1].far_out) == (0, 24)
    assert found[1].samples == 12 * 20
    assert found[1].minimum == 1
    assert found[1].latency.mid == np.median(torn)


def test_a_replicate_torn_as_a_whole_stays_in_the_interval():
    biases = np.ones((4, 7))
    biases[1, 3] = 50
    biases[1, 5] = 50
    timing = timing_of_biases(2, biases)
    assert len(log_ratios(timing, 1, 0)) == 7
    assert relatives([timing], ALL_BY_FIRST)[1].hi == pytest.approx(math.log(50))


def test_a_summary_is_per_call():
    arms = light_arms(2, calls=10)
    row = [[1_000, 1_200, 1_100], [2_000, 2_400, 2_200], [1_000, 1_200, 1_100], [500, 600, 550]]
    found = summarise(record_of(timing_of(arms, *[row] * 8)))
    assert found[0].latency == (110, 110, 110)
    assert found[1].latency == (220, 220, 220)
    assert (found[0].minimum, found[1].minimum) == (100, 200)
    assert (found[1].samples, found[1].replicates, found[1].calls) == (24, 8, 10)
    assert found[1].relative == pytest.approx((2, 2, 2))
    assert (found[0].copies, found[1].copies) == pytest.approx((2, 4))
    assert (found[0].relative, found[0].verdict) == ((1, 1, 1), "baseline")
    assert found[1].verdict == "slower"


@exactly
@given(st.lists(durations, min_size=6, max_size=40))
def test_the_latency_is_the_interval_of_the_medians_of_the_replicates(values):
    rows = [[[value - 500, value, 3 * value]] * 3 for value in values]
    found = summarise(record_of(timing_of(light_arms(1), *rows)))
    assert found[0].latency == median_interval(values)
    assert found[0].minimum == min(values) - 500


def test_drift_is_the_change_from_the_first_third_to_the_last():
    biases = np.array([[1.0] * 4 + [5.0] * 4 + [1.2] * 4] * 3)
    found = summarise(record_of(timing_of_biases(1, biases)))
    assert found[0].drift == pytest.approx(0.2)
    few = summarise(record_of(timing_of_biases(1, biases[:, :5])))
    assert few[0].drift == 0


def test_a_comparison_without_timing_has_no_summary():
    assert summarise(record_of()) == {}
    assert summarise(record_of(timing_of(light_arms(1)))) == {}


def test_case_arms_leave_the_aa_and_copy_arms_out():
    assert case_arms(mixed_timing()) == {0: 0, 1: 1, 2: 4}


def test_the_interval_of_several_processes_holds_the_median_of_each():
    rng = np.random.default_rng(3)
    shifts = (1.0, 1.1, 1.2)
    timings = [
        timing_of_biases(
            2, [np.ones(12), shift * (1 + rng.normal(0, 0.001, 12)), *np.ones((2, 12))]
        )
        for shift in shifts
    ]
    found = relatives(timings, [0, 0])[1].exp()
    pooled = median_interval([v for t in timings for v in log_ratios(t, 1, 0)]).exp()
    assert found.mid == pooled.mid
    mids = [math.exp(np.median(log_ratios(timing, 1, 0))) for timing in timings]
    assert found.lo == pytest.approx(min(pooled.lo, *mids))
    assert found.hi == pytest.approx(max(pooled.hi, *mids))
    assert found.lo <= 1.001
    assert found.hi >= 1.199


def test_a_case_that_one_process_did_not_time_is_compared_in_none():
    whole = timing_of_biases(2, np.ones((4, 12)))
    alone = timing_of(light_arms(1), *[[[100], [100], [50]]] * 12)
    assert relatives([whole, alone], [0, 0]) == {}
    assert set(summarise(record_of(whole, alone))) == {0}


@pytest.mark.parametrize(
    ("field", "quiet_ns", "much", "flag"),
    [
        ("steal_ns", 0, 30_000_000, "steal"),
        ("pressure_ns", 1_000_000, 60_000_000, "pressure"),
        ("involuntary_switches", 50, 200, "preempted"),
        ("cpu_ns", 1_000_000_000, 700_000_000, "low_cpu_share"),
    ],
)
def test_what_the_machine_did_is_flagged_where_it_was_much(field, quiet_ns, much, flag):
    for value, expected in ((quiet_ns, []), (much, [flag])):
        usual = {
            "wall_ns": 10**9,
            "cpu_ns": 10**9,
            "steal_ns": None,
            "involuntary_switches": 0,
            "pressure_ns": None,
        }
        seen = Disturbance(**(usual | {field: value}))
        replicate = Replicate(((100,), (100,), (100,)), seen)
        record = record_of(Timing(tuple(light_arms(1)), (replicate,) * 6, "time"))
        assert machine_flags(record, summarise(record)) == expected


@pytest.mark.parametrize(
    ("exposed", "flags", "expected"),
    [
        ((0, 0), (), "slower"),
        ((9, 9), (), "slower"),
        ((0, 9), (), "untrusted"),
        ((9, 0), (), "untrusted"),
        ((0, 4), (), "slower"),
        ((0, 9), ("syncs_inside",), "slower"),
    ],
)
def test_a_host_that_lags_for_one_of_two_makes_their_ratio_untrusted(exposed, flags, expected):
    arms = (*(Arm("case", case, 0, 1) for case in (0, 1)), Arm("aa", 0, 0, 1), Arm("copy", 0, 0, 1))
    quiet = Disturbance(1, 1, 0, 0)
    replicates = tuple(
        Replicate(tuple((ns + i,) * 9 for ns in (100, 300, 100, 50)), quiet, (*exposed, 0, 0))
        for i in range(12)
    )
    record = record_of(Timing(arms, replicates, "time"))
    second = replace(record.measurements[1], flags=flags)
    record = replace(record, measurements=(record.measurements[0], second))
    assert summarise(record)[1].verdict == expected
