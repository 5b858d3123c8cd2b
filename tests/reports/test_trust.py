"""What `check` makes of trials: exact shares, false verdicts, complaints."""

import math
from dataclasses import replace
from itertools import product

import pytest

from gcbench.report import calibration as form
from gcbench.report.terminal import write as plain
from gcbench.stats import calibration
from gcbench.stats.intervals import Interval


def finding(mid=1.0, half=0.01, truth=1.0, verdict="unresolved", trial="gc", resolves=0.03, ns=1e6):
    return calibration.Finding(
        trial, truth, Interval(mid, mid - half, mid + half), verdict, ns, resolves, ()
    )


def good(rounds=10):
    """Trials of a machine that is as it should be: one interval of twenty misses."""
    copies = [finding(mid=1 + 0.004 * (-1) ** n) for n in range(2 * rounds)]
    known = [finding(1.05, 0.01, 1.05, "slower", "calls") for _ in range(rounds)]
    return [*copies, *known]


def tail(hits, trials, p):
    """Chance of at least so many hits."""
    return sum(
        math.comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(hits, trials + 1)
    )


@pytest.mark.parametrize("trials", [1, 7, 40])
def test_the_interval_of_a_share_ends_where_the_tails_become_unlikely(trials):
    for hits in range(trials + 1):
        found = calibration.share([True] * hits + [False] * (trials - hits))
        assert (found.hits, found.trials) == (hits, trials)
        assert found.lo <= hits / trials <= found.hi
        if hits:
            assert tail(hits, trials, found.lo) == pytest.approx(0.025, abs=1e-4)
        if hits < trials:
            assert 1 - tail(hits + 1, trials, found.hi) == pytest.approx(0.025, abs=1e-4)


def test_the_interval_of_a_share_is_the_published_one():
    # Clopper and Pearson 1934: 3 of 10
    found = calibration.share([True] * 3 + [False] * 7)
    assert (found.lo, found.hi) == pytest.approx((0.0667, 0.6525), abs=1e-4)


@pytest.mark.parametrize("tosses", [1, 2, 5, 8])
def test_the_sign_test_counts_the_sequences_that_are_as_uneven(tosses):
    for above in range(tosses + 1):
        uneven = abs(2 * above - tosses)
        as_uneven = [
            signs for signs in product((-1, 1), repeat=tosses) if abs(sum(signs)) >= uneven
        ]
        expected = min(1.0, len(as_uneven) / 2**tosses)
        assert calibration.sign_test(above, tosses - above) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("truth", "verdict", "false"),
    [
        (1.0, "faster", True),
        (1.0, "slower", True),
        (1.0, "same", False),
        (1.0, "unresolved", False),
        (1.0, "untrusted", False),
        (1.05, "slower", False),
        (1.05, "faster", True),
        (1.05, "same", True),
        (1.05, "unresolved", False),
    ],
)
def test_a_verdict_is_false_where_it_claims_what_is_not_so(truth, verdict, false):
    assert finding(truth=truth, verdict=verdict).false == false


def test_a_machine_as_it_should_be_has_no_complaint():
    report = calibration.report(good(), 3.0, 0.005)
    assert report.complaints == ()
    assert report.trustworthy
    assert (report.above, report.below, report.lean) == (10, 10, 1.0)
    assert (report.known_found.hits, report.known_found.trials) == (10, 10)
    assert report.resolution == 0.03
    # 2.5 % beyond the precision are to become 0.5 %: a fifth, which takes 25 times as long
    assert report.seconds_for(0.01) == pytest.approx(75)
    assert report.seconds_for(0.5) == 3
    assert "can be believed" in form.advice(report)
    assert "--precision 0.5% --max-time 75s" in form.advice(report)


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        ([finding(1.05, 0.01, verdict="slower")] * 12, "too many verdicts"),
        ([finding(1.02 * (-1) ** n, 0.001) for n in range(20)], "held 1 for two copies"),
        ([finding(1.09, 0.01, 1.05, "slower", "calls")] * 10, "known ratio of calls"),
        ([finding(mid=1.001) for _ in range(40)], "one side too often"),
        ([finding(verdict="untrusted")] * 60, "differed in most trials"),
        ([finding(resolves=0.6)] * 60, "cannot be told"),
    ],
)
def test_what_is_wrong_is_complained_of(spoilt, words):
    report = calibration.report([*good(), *spoilt], 3.0, 0.005)
    assert any(words in complaint for complaint in report.complaints), report.complaints
    assert not report.trustworthy
    assert words in form.advice(report)


def test_one_false_verdict_by_chance_is_no_complaint():
    report = calibration.report([*good(), finding(1.03, 0.01, verdict="slower")], 3.0, 0.005)
    assert report.false_verdicts.hits == 1
    assert report.trustworthy


def test_drift_is_that_of_the_cell_that_drifted_most():
    cells = [
        finding(trial=trial, ns=ns) for trial, ns in (("a", 100), ("b", 50), ("a", 90), ("b", 80))
    ]
    known = [finding(1.05, 0.01, 1.05, "slower", "c")]
    assert calibration.report([*cells, *known], 1.0, 0.005).drift == pytest.approx(0.6)


def test_the_coarsest_cell_is_named_by_its_median():
    cells = [finding(trial="a", resolves=x) for x in (0.01, 0.02, 0.9)]
    cells += [finding(trial="b", resolves=x) for x in (0.03, 0.04, 0.05)]
    known = [finding(1.05, 0.01, 1.05, "slower", "c")]
    assert calibration.report([*cells, *known], 1.0, 0.005).coarsest == ("b", 0.04)


def test_an_interval_that_is_not_known_holds_nothing_and_is_complained_of():
    unknown = calibration.Finding(
        "gc", 1.0, Interval(1.0, 0.0, math.inf), "unresolved", 1e6, math.inf, ()
    )
    assert not unknown.holds
    report = calibration.report([*good(), unknown], 3.0, 0.005)
    assert (report.coverage.hits, report.coverage.trials) == (20, 20)
    assert report.trustworthy
    report = calibration.report([*good(2), *[unknown] * 20], 3.0, 0.005)
    assert "the time was too short for intervals" in report.complaints


def test_a_trial_that_tells_nothing_is_named_where_the_machine_is_believed():
    blind = [finding(trial="nl beside gc", resolves=math.inf) for _ in range(3)]
    report = calibration.report([*good(), *blind], 3.0, 0.005)
    assert report.trustworthy
    assert "of about 3 %, but nothing of nl beside gc" in form.advice(report)
    assert "but" not in form.advice(calibration.report(good(), 3.0, 0.005))


def test_trials_too_short_for_an_interval_are_counted_where_they_are_missing():
    none = Interval(1.05, -math.inf, math.inf)
    short = replace(finding(1.05, 0.01, 1.05, "unresolved", "calls"), relative=none)
    report = calibration.report([*good(), short], 3.0, 0.005)
    assert (report.known_found.hits, report.known_found.trials) == (10, 11)
    shown = "".join(plain(form.document(report, "here")))
    assert "10 of 10, 1 without" in shown
