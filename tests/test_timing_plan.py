"""Which arms share rounds, how the time is shared out, and that the loop follows the plan."""

import random
from collections import Counter
from itertools import pairwise

import pytest
from fakes import FakeClock, FakeMake, compare
from hypothesis import given, settings
from hypothesis import strategies as st

from gcbench.statistics import fewest_replicates
from gcbench.timing.plan import (
    GROUP_FACTOR,
    HEAVY_SHARE,
    MIN_REPLICATES,
    MIN_SAMPLE_NS,
    Group,
    cost_groups,
    make_plan,
)

LIGHT_NS = 200_000
SECOND_NS = 1_000_000_000

exactly = settings(derandomize=True, deadline=None, max_examples=100)
costs = st.dictionaries(st.integers(0, 20), st.integers(0, 10**9), min_size=1, max_size=8)


def roles(plan, group):
    return Counter(plan.arms[arm].role for arm in group.arms)


def cases(plan, group):
    return [plan.arms[arm].case for arm in group.arms if plan.arms[arm].role == "case"]


def twin(plan, group):
    return next(plan.arms[arm].case for arm in group.arms if plan.arms[arm].role == "aa")


def planned_ns(plan, group, costs_ns, copy_ns):
    """Timed nanoseconds of a group over all the replicates that are planned for it."""
    calls_ns = [
        copy_ns if plan.arms[arm].case is None else costs_ns[plan.arms[arm].case]
        for arm in group.arms
    ]
    return group.due * group.rounds * group.calls * sum(calls_ns)


@exactly
@given(costs)
def test_cost_groups_part_the_cases_from_light_to_heavy(costs_ns):
    groups = cost_groups(costs_ns)
    flat = [case for group in groups for case in group]
    assert sorted(flat) == sorted(costs_ns)
    assert [costs_ns[case] for case in flat] == sorted(costs_ns.values())


@exactly
@given(costs)
def test_cases_of_a_group_are_of_like_cost_and_groups_are_not(costs_ns):
    groups = cost_groups(costs_ns)
    lightest = [max(costs_ns[group[0]], 1) for group in groups]
    for group, least in zip(groups, lightest, strict=True):
        assert all(costs_ns[case] < GROUP_FACTOR * least for case in group)
    for least, next_least in pairwise(lightest):
        assert next_least >= GROUP_FACTOR * least


def test_a_heavy_arm_has_a_group_and_an_aa_arm_of_its_own():
    costs_ns = {0: LIGHT_NS, 1: 300 * LIGHT_NS, 2: 2 * LIGHT_NS}
    plan = make_plan(costs_ns, LIGHT_NS, 0, 10 * SECOND_NS)
    heavy, light = plan.groups
    assert cases(plan, heavy) == [1]
    assert roles(plan, heavy) == {"case": 1, "aa": 1}
    assert twin(plan, heavy) == 1
    assert cases(plan, light) == [0, 2]
    assert roles(plan, light) == {"case": 2, "aa": 1, "copy": 1}
    assert twin(plan, light) == 0


@pytest.mark.parametrize("baseline", [0, 1, 2])
def test_the_aa_arm_copies_the_baseline_where_it_is_and_else_the_lightest(baseline):
    costs_ns = {0: 2 * LIGHT_NS, 1: 300 * LIGHT_NS, 2: LIGHT_NS}
    plan = make_plan(costs_ns, LIGHT_NS, baseline, 10 * SECOND_NS)
    heavy, light = plan.groups
    assert twin(plan, heavy) == 1
    assert twin(plan, light) == (baseline if baseline != 1 else 2)


@exactly
@given(costs, st.integers(0, 10**9), st.integers(0, 20), st.integers(0, 10**11), st.booleans())
def test_every_plan_keeps_the_rules(costs_ns, copy_ns, baseline, budget_ns, repeatable):
    plan = make_plan(costs_ns, copy_ns, baseline, budget_ns, repeatable)
    members = [arm for group in plan.groups for arm in group.arms]
    assert sorted(members) == list(range(len(plan.arms)))
    assert sorted(case for group in plan.groups for case in cases(plan, group)) == sorted(costs_ns)
    assert plan.min_replicates >= MIN_REPLICATES
    for group in plan.groups:
        own = [plan.arms[arm] for arm in group.arms]
        assert {arm.calls for arm in own} == {group.calls}
        assert len({arm.group for arm in own}) == 1
        assert roles(plan, group)["aa"] == 1
        assert twin(plan, group) in cases(plan, group)
        assert group.rounds >= 1
        assert 1 <= group.due <= group.of
        if not repeatable:
            assert group.calls == 1
    lightest = plan.groups[-1]
    assert [roles(plan, group)["copy"] for group in plan.groups] == [0] * (len(plan.groups) - 1) + [
        1
    ]
    assert lightest.due == lightest.of


def test_many_cases_ask_for_more_replicates_than_the_usual_fewest():
    plan = make_plan(dict.fromkeys(range(104), LIGHT_NS), LIGHT_NS, 0, SECOND_NS)
    assert plan.min_replicates == fewest_replicates(103) == 13
    assert make_plan({0: LIGHT_NS}, LIGHT_NS, 0, SECOND_NS).min_replicates == MIN_REPLICATES


@exactly
@given(costs, st.integers(0, 20))
def test_heavier_groups_come_first_and_the_lightest_last(costs_ns, baseline):
    plan = make_plan(costs_ns, LIGHT_NS, baseline, SECOND_NS)
    heaviest = [max(costs_ns[case] for case in cases(plan, group)) for group in plan.groups]
    assert heaviest == sorted(heaviest, reverse=True)


@exactly
@given(costs)
def test_a_sample_of_repeatable_works_is_long_enough_to_read_the_clock(costs_ns):
    plan = make_plan(costs_ns, LIGHT_NS, 0, SECOND_NS)
    for group in plan.groups:
        least = max(1, min(costs_ns[case] for case in cases(plan, group)))
        assert group.calls * least >= MIN_SAMPLE_NS
        assert (group.calls - 1) * least < MIN_SAMPLE_NS


@exactly
@given(costs, st.integers(10**8, 10**11))
def test_heavy_groups_keep_to_their_share_where_a_round_of_each_is_affordable(costs_ns, budget_ns):
    plan = make_plan(costs_ns, LIGHT_NS, 0, budget_ns)
    *heavy, _ = plan.groups
    for group in heavy:
        share_ns = HEAVY_SHARE * budget_ns / len(heavy)
        spent_ns = planned_ns(plan, group, costs_ns, LIGHT_NS)
        affordable = spent_ns / group.due / group.rounds <= share_ns
        assert spent_ns <= share_ns if affordable else (group.due, group.rounds) == (1, 1)


@exactly
@given(st.integers(1, 60), st.data())
def test_a_groups_turns_are_as_many_as_are_due_evenly_spread(of, data):
    due = data.draw(st.integers(1, of))
    group = Group((0, 1), 1, 1, due, of, 0, 1)
    turns = [group.takes_part(replicate) for replicate in range(3 * of)]
    for start in range(2 * of + 1):
        assert sum(turns[start : start + of]) == due
    # evenly: no stretch of the replicates has more than one turn more or less than its part
    for length in range(1, of + 1):
        counts = [sum(turns[start : start + length]) for start in range(of)]
        assert max(counts) - min(counts) <= 1


@exactly
@given(st.integers(1, 60), st.data())
def test_every_group_takes_part_in_the_first_replicate(of, data):
    assert Group((0, 1), 1, 1, data.draw(st.integers(1, of)), of, 0, 1).takes_part(0)


@pytest.fixture
def heavy_session():
    """A comparison with a heavy arm that is timed in some replicates only."""
    make = FakeMake(FakeClock(), {0: LIGHT_NS, 1: LIGHT_NS, 2: 300 * LIGHT_NS}, layout=0.01)
    record = compare(make, precision=1e-5, max_time_s=1.5)
    return make, record.timing


def replicates_made(make):
    """For each replicate what was made in it; what was made before the first is calibration."""
    made = {}
    for replicate, role, case in make.made:
        made.setdefault(replicate, []).append((role, case))
    made.pop(0)
    return list(made.values())


def test_every_replicate_makes_each_arm_that_takes_part_once(heavy_session):
    make, timing = heavy_session
    for made, replicate in zip(replicates_made(make), timing.replicates, strict=True):
        part = [
            (arm.role, arm.case)
            for arm, samples in zip(timing.arms, replicate.samples_ns, strict=True)
            if samples
        ]
        assert Counter(made) == Counter(part)
    assert {len(made) for made in replicates_made(make)} == {4, 6}


def test_arms_are_made_in_an_order_that_changes(heavy_session):
    make, _ = heavy_session
    light_only = [tuple(made) for made in replicates_made(make) if len(made) == 4]
    assert len(set(light_only)) > 1
    assert len({made[0] for made in light_only}) > 1


def test_works_of_one_replicate_are_never_used_in_another():
    clock = FakeClock()
    make = FakeMake(clock, {0: LIGHT_NS, 1: LIGHT_NS})
    alive = {}

    def tracking(role, case):
        work = make(role, case)
        alive[id(work)] = work, len(clock.slept)
        return work

    tracking.costs_ns, tracking.clock, tracking.seed = make.costs_ns, clock, 0
    used = set()
    inner = clock.time

    def time(batch):
        used.update((id(sample.work), len(clock.slept)) for sample in batch)
        return inner(batch)

    clock.time = time
    compare(tracking)
    assert used
    assert all(alive[work][1] == replicate for work, replicate in used)


def test_samples_of_a_group_come_from_balanced_rounds_of_equal_calls():
    make = FakeMake(FakeClock(), {0: LIGHT_NS, 1: 2 * LIGHT_NS, 2: LIGHT_NS})
    timing = compare(make).timing
    [rounds] = {len(samples) for samples in timing.replicates[0].samples_ns}
    batches = [batch for batch in make.clock.batches if len(batch) == rounds * len(timing.arms)]
    assert len(batches) == len(timing.replicates)
    orders = set()
    for batch in batches:
        assert len({sample.calls for sample in batch}) == 1
        for start in range(0, len(batch), len(timing.arms)):
            order = [id(sample.work) for sample in batch[start : start + len(timing.arms)]]
            assert len(set(order)) == len(timing.arms)
            orders.add(tuple(order))
    assert len(orders) > len(batches)


def test_light_arms_are_called_untimed_between_a_heavy_arm_and_their_rounds():
    make = FakeMake(FakeClock(), {0: LIGHT_NS, 1: LIGHT_NS, 2: 300 * LIGHT_NS})
    compare(make, max_time_s=10)
    sizes = [len(batch) for batch in make.clock.batches if len(batch) > 1]
    # a heavy round of two arms, two untimed rounds of the four light ones, then their rounds
    replicate = sizes[:4]
    assert replicate[:3] == [2, 4, 4]
    assert replicate[3] % 4 == 0
    assert sizes == replicate * (len(sizes) // 4)


def test_works_that_cannot_be_repeated_are_called_once_a_sample():
    make = FakeMake(FakeClock(), {0: 700, 1: 1_400}, copy_ns=300, repeatable=False)
    timing = compare(make, max_time_s=0.1).timing
    assert {arm.calls for arm in timing.arms} == {1}
    assert {sample.calls for batch in make.clock.batches for sample in batch} == {1}


def test_slow_arms_alone_get_replicates_enough_for_an_interval():
    """Replicates, not rounds, are the unit of inference: rounds give way first."""
    make = FakeMake(FakeClock(), {0: 150e6, 1: 150e6}, copy_ns=LIGHT_NS)
    timing = compare(make, max_time_s=10).timing
    assert len(timing.replicates) >= MIN_REPLICATES


def test_the_loop_uses_the_callers_generator_alone():
    state = random.getstate()
    compare(FakeMake(FakeClock(), {0: LIGHT_NS, 1: LIGHT_NS}))
    assert random.getstate() == state


def test_preparing_a_sample_comes_out_of_the_same_budget():
    costs = {0: 1_000_000, 1: 900_000}
    quick = make_plan(costs, 100_000, 0, 10**10, repeatable=False).groups[0]
    slow = make_plan(costs, 100_000, 0, 10**10, repeatable=False, prepare_ns=10**7).groups[0]
    assert quick.rounds == 60
    assert slow.round_ns == quick.round_ns + 4 * 10**7
    assert slow.of * (slow.rounds + slow.untimed) * slow.round_ns <= 10**10


def test_what_preparing_takes_is_learnt_while_warming_up():
    clock = FakeClock()
    make = FakeMake(clock, {0: 1_000_000, 1: 900_000})

    def slow_to_prepare(role, case):
        work = make(role, case)
        work.repeatable = False
        work.prepare = lambda: clock.sleep(0.05)
        return work

    slow_to_prepare.costs_ns, slow_to_prepare.clock, slow_to_prepare.seed = make.costs_ns, clock, 0
    timing = compare(slow_to_prepare, max_time_s=10, precision=1e-9).timing
    # 4 arms of 50 ms: a replicate of 60 unforeseen rounds would have taken 12 s alone
    assert len(timing.replicates) >= 12
