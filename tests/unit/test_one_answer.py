"""Cores that are taken away: what is claimed beside another process, on the simulated machine."""

import math
import random
from dataclasses import replace
from itertools import pairwise

import pytest
from fakes import FakeClock, FakeMake, Neighbour, compare, record_of, summaries

from gcbench.measure.timing.replicates import SOFT_FACTOR
from gcbench.records import Arm, Disturbance, Replicate, Timing
from gcbench.stats.intervals import WAITED_SHARE, fewest_replicates, judge_pairs, summarise

LIGHT_NS = 60_000
NOISE, LAYOUT = 0.03, 0.005
CLAIMS = ("faster", "slower")


def beside(seed, threads, costs_ns=None, busy_ns=4e8):
    """A pair of arms that use so many threads each, beside a process drawn from a seed."""
    clock = FakeClock(neighbour=Neighbour(seed, busy_ns))
    return FakeMake(
        clock,
        costs_ns or {0: LIGHT_NS, 1: LIGHT_NS},
        noise=NOISE,
        layout=LAYOUT,
        threads=threads,
        seed=seed,
    )


def test_a_neighbour_takes_a_core_in_turns_and_the_same_every_time():
    neighbour, again = Neighbour(3), Neighbour(3)
    moments = [1e6 * step for step in range(3000)]
    taken = [neighbour.at(moment)[0] for moment in moments]
    assert taken == [again.at(moment)[0] for moment in moments]
    assert 0.05 < sum(taken) / len(taken) < 0.6
    assert all(neighbour.at(moment)[1] > moment for moment in moments)


def test_work_of_two_threads_takes_longer_by_what_the_neighbour_took():
    clock = FakeClock(neighbour=Neighbour(1, busy_ns=1e12, idle_ns=1.0))
    with clock._watching() as watch:
        clock.work(20e6, threads=2)
        waited_ns = watch().waiting_ns
    assert waited_ns > 0
    assert clock.now() == pytest.approx(20e6 + waited_ns, abs=2)
    alone = FakeClock(neighbour=Neighbour(1, busy_ns=1e12, idle_ns=1.0))
    alone.work(20e6, threads=1)
    assert alone.now() == 20_000_000


def test_where_the_block_alone_waits_for_a_core_its_verdict_is_untrusted():
    found = summaries(beside(2, {1: 2}, {0: LIGHT_NS, 1: 100 * LIGHT_NS}, busy_ns=1e12))
    assert not found[0].disturbed
    assert found[1].disturbed
    assert found[1].verdict == "untrusted"


def test_where_the_baseline_waits_nothing_is_claimed_of_what_does_not():
    found = summaries(beside(2, {0: 2}, {0: 100 * LIGHT_NS, 1: LIGHT_NS}, busy_ns=1e12))
    assert found[0].disturbed
    assert found[1].verdict == "untrusted"


def test_where_nothing_waits_verdicts_are_as_before():
    found = summaries(beside(2, {}, {0: LIGHT_NS, 1: 2 * LIGHT_NS}, busy_ns=1e12))
    assert not found[0].disturbed
    assert found[1].verdict == "slower"
    assert found[1].waited == 0


@pytest.mark.slow
@pytest.mark.parametrize("threads", [{1: 2}, {0: 2}, {0: 2, 1: 2}], ids=str)
def test_an_untouched_pair_is_claimed_to_differ_in_at_most_one_of_twenty_schedules(threads):
    schedules = 334
    rng = random.Random(str(threads))
    claimed = 0
    for seed in range(schedules):
        cost_ns = LIGHT_NS * rng.choice([1, 4, 40])
        make = beside(seed, threads, {0: cost_ns, 1: cost_ns}, 10 ** rng.uniform(7.5, 10))
        claimed += summaries(make, max_time_s=1.0, precision=0.02)[1].verdict in CLAIMS
    assert claimed <= schedules // 20


def replicate(samples, waited=(), waiting_ns=(), faults=()):
    return Replicate(
        samples,
        Disturbance(10**9, 10**9, 0, 0, 0),
        faults=faults,
        waited=waited,
        waiting_ns=waiting_ns,
    )


ARMS = (Arm("case", 0, 0, 2), Arm("case", 1, 0, 2), Arm("aa", 0, 0, 2), Arm("copy", 0, 0, 2))


def recorded(number=12, **met):
    """A record of two cases, the second twice as slow; samples hold two calls."""
    rng = random.Random(0)
    timed = []
    for _ in range(number):
        base = [round(1000 * math.exp(rng.gauss(0, 0.002))) for _ in range(10)]
        timed.append(
            replicate((tuple(base), tuple(2 * b for b in base), tuple(base), tuple(base)), **met)
        )
    return record_of(Timing(ARMS, tuple(timed), "time"))


def test_a_case_that_waited_in_more_samples_than_may_be_is_disturbed():
    allowed = int(WAITED_SHARE * 10)
    assert summarise(recorded(waited=(0, allowed, 0, 0)))[1].verdict == "slower"
    found = summarise(recorded(waited=(0, allowed + 1, 0, 0)))
    assert found[1].waited == (allowed + 1) / 10
    assert found[1].verdict == "untrusted"
    assert found[0].verdict == "baseline"


def test_a_case_that_waited_for_long_in_few_samples_is_disturbed():
    found = summarise(recorded(waited=(0, 1, 0, 0), waiting_ns=(0, 8000, 0, 0)))
    assert found[1].waiting == pytest.approx(0.4, rel=0.01)
    assert found[1].verdict == "untrusted"


def test_a_rare_wait_is_no_disturbance_however_long():
    quiet = recorded(100, waited=(0, 0, 0, 0))
    [timing] = quiet.timings
    rare = [
        replace(replicate, waited=(0, 1, 0, 0), waiting_ns=(0, 90_000, 0, 0))
        if number % 5 == 0
        else replicate
        for number, replicate in enumerate(timing.replicates)
    ]
    found = summarise(replace(quiet, timings=(replace(timing, replicates=tuple(rare)),)))
    assert found[1].waited == 0.02
    assert found[1].waiting > 0.5
    assert found[1].verdict == "slower"


def test_a_pair_that_is_no_baseline_is_untrusted_too():
    [duel] = judge_pairs(recorded(waited=(9, 0, 0, 0)), [(1, 0)])
    assert duel.verdict == "untrusted"
    [duel] = judge_pairs(recorded(), [(1, 0)])
    assert duel.verdict == "slower"


def test_page_faults_are_those_of_a_call():
    found = summarise(recorded(faults=(0, 60, 0, 0)))
    assert found[0].faults == (0.0, 0.0)
    # ten samples of two calls
    assert found[1].faults == (3.0, 3.0)


def test_with_too_few_replicates_no_verdict_is_given():
    fewest = fewest_replicates(1)
    assert summarise(recorded(fewest))[1].verdict == "slower"
    assert summarise(recorded(fewest - 1))[1].verdict == "too_few_replicates"


@pytest.mark.parametrize("max_time_s", [0.05, 0.2, 1.0])
def test_a_comparison_that_is_short_of_replicates_takes_up_to_twice_its_time(max_time_s):
    # a replicate takes some 20 ms to make
    make = FakeMake(FakeClock(), {0: LIGHT_NS, 1: LIGHT_NS}, make_ns=5_000_000, noise=0.02)
    seen = []
    compare(make, max_time_s=max_time_s, precision=1e-6, on_progress=seen.append)
    longest = max(b.elapsed_s - a.elapsed_s for a, b in pairwise(seen))
    enough = seen[-1].replicates >= fewest_replicates(1)
    assert enough or seen[-1].elapsed_s >= SOFT_FACTOR * max_time_s
    assert seen[-1].elapsed_s <= SOFT_FACTOR * max_time_s + longest
