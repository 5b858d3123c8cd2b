"""Which arms share rounds, how the time is shared out, and that the loop follows the plan."""

import random
from collections import Counter
from itertools import pairwise

import pytest
from fakes import FakeClock, FakeMake, compare
from hypothesis import given, settings
from hypothesis import strategies as st

from gcbench.measure.timing import plan as planning
from gcbench.measure.timing.plan import (
    FIRST_CALLS,
    GROUP_FACTOR,
    HEAVY_SHARE,
    MAX_ROUNDS,
    MIN_REPLICATES,
    MIN_SAMPLE_NS,
    REFILL_NS,
    Cost,
    Group,
    cost_groups,
)
from gcbench.stats.intervals import fewest_replicates

LIGHT_NS = 200_000
SECOND_NS = 1_000_000_000

exactly = settings(derandomize=True, deadline=None, max_examples=100)
costs = st.dictionaries(st.integers(0, 20), st.integers(0, 10**9), min_size=1, max_size=8)


def make_plan(costs_ns, copy_ns, baseline, budget_ns, repeatable=True, cold=False, **more):
    """Plan for cases that are all divided by the same one and share their input."""
    more = {"repeatable": repeatable, "cold": cold, **more}
    costs = {case: Cost(cost_ns, settle_ns=cost_ns, **more) for case, cost_ns in costs_ns.items()}
    copies = {min(costs): Cost(copy_ns, settle_ns=copy_ns, **more)}
    baselines = (baseline,) * (1 + max(*costs, baseline))
    return planning.make_plan(costs, copies, baselines, budget_ns)


def roles(plan, group):
    return Counter(plan.arms[arm].role for arm in group.arms)


def cases(plan, group):
    return [plan.arms[arm].case for arm in group.arms if plan.arms[arm].role == "case"]


def twin(plan, group):
    return next(plan.arms[arm].case for arm in group.arms if plan.arms[arm].role == "aa")


def planned_ns(plan, group, costs_ns, copy_ns):
    """Timed nanoseconds of a group over all the replicates that are planned for it."""
    calls_ns = [
        copy_ns if plan.arms[arm].role == "copy" else costs_ns[plan.arms[arm].case]
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
        if not affordable or spent_ns > share_ns:
            # no more than an interval needs
            assert group.rounds == 1
            assert group.due <= plan.fewest


@exactly
@given(st.integers(1, 60), st.data())
def test_a_groups_turns_are_as_many_as_are_due_evenly_spread(of, data):
    due = data.draw(st.integers(1, of))
    group = Group((0, 1), 1, 0, 1, due, of, 0, 1)
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
    assert Group((0, 1), 1, 0, 1, data.draw(st.integers(1, of)), of, 0, 1).takes_part(0)


@pytest.fixture
def heavy_session():
    """A comparison with a heavy arm that is timed in some replicates only."""
    make = FakeMake(FakeClock(), {0: LIGHT_NS, 1: LIGHT_NS, 2: 300 * LIGHT_NS}, layout=0.01)
    record = compare(make, precision=1e-5, max_time_s=1.5)
    return make, record.timings[0]


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

    def time(rounds):
        used.update((id(sample.work), len(clock.slept)) for turns in rounds for sample in turns)
        return inner(rounds)

    clock.time = time
    compare(tracking)
    assert used
    assert all(alive[work][1] == replicate for work, replicate in used)


def test_samples_of_a_group_come_from_balanced_rounds_of_equal_calls():
    make = FakeMake(FakeClock(), {0: LIGHT_NS, 1: 2 * LIGHT_NS, 2: LIGHT_NS})
    timing = compare(make).timings[0]
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


def test_arms_are_settled_before_their_rounds_and_the_light_ones_after_the_heavy():
    make = FakeMake(FakeClock(), {0: LIGHT_NS, 1: LIGHT_NS, 2: 300 * LIGHT_NS})
    compare(make, max_time_s=10)
    rounds = [len(batch) for batch in make.clock.batches]
    # what came before the first pause is calibration
    heavy = [number for number, length in enumerate(rounds) if length == 2]
    for number in heavy:
        # the next batch is that of the four light arms, each of which was settled in between
        settled = [work for at, work in make.clock.settled if at == number + 1]
        assert len(settled) == len({id(work) for work in settled}) == 4
        batch = make.clock.batches[number + 1]
        assert {id(sample.work) for sample in batch} == {id(work) for work in settled}


@exactly
@given(costs, st.booleans())
def test_short_calls_come_once_untimed_before_each_sample_unless_they_must_be_cold(costs_ns, cold):
    plan = make_plan(costs_ns, LIGHT_NS, 0, SECOND_NS, cold=cold)
    for group in plan.groups:
        lightest = min(costs_ns[case] for case in cases(plan, group))
        before = 0 if cold or lightest > REFILL_NS else 1
        assert group.before == (before,) * len(group.arms)
        assert before + group.settle <= max(FIRST_CALLS, 1)


def test_a_cold_case_beside_a_warm_one_has_no_call_before_its_sample_and_the_warm_one_has():
    costs_ns = {0: LIGHT_NS, 1: 2 * LIGHT_NS}
    make = FakeMake(FakeClock(), costs_ns, cold_cases=[1], preparation_ns=LIGHT_NS / 4)
    timing = compare(make, max_time_s=0.5).timings[0]
    # one call a sample: what is cold in the first is warm in the second
    assert {arm.calls for arm in timing.arms} == {1}
    batches = [batch for batch in make.clock.batches if len(batch) > 1]
    assert {(sample.work.cold, sample.before) for batch in batches for sample in batch} == {
        (True, 0),
        (False, 1),
    }
    [group] = {arm.group for arm in timing.arms}
    assert group == 0


def test_rounds_are_as_many_as_a_rebuild_is_dear():
    costs_ns = {0: LIGHT_NS, 1: LIGHT_NS}
    rounds = [
        make_plan(costs_ns, LIGHT_NS, 0, 100 * SECOND_NS, make_ns=make_ns).groups[0].rounds
        for make_ns in (0, 10**6, 10**7, 10**8, 10**9)
    ]
    assert rounds == sorted(rounds)
    assert rounds[0] < rounds[-1] == MAX_ROUNDS
    # four times as long a round, four times fewer of them
    longer = {case: 4 * cost_ns for case, cost_ns in costs_ns.items()}
    light, heavy = (
        make_plan(costs, 4 * LIGHT_NS, 0, 100 * SECOND_NS, make_ns=10**7).groups[0]
        for costs in (costs_ns, longer)
    )
    assert light.rounds / heavy.rounds == pytest.approx(3, rel=0.35)


@exactly
@given(costs, st.integers(0, 10**7), st.integers(0, 10**7), st.integers(10**9, 10**11))
def test_what_is_planned_fits_the_budget_unless_the_fewest_replicates_do_not(
    costs_ns, make_ns, prepare_ns, budget_ns
):
    plan = make_plan(costs_ns, LIGHT_NS, 0, budget_ns, make_ns=make_ns, prepare_ns=prepare_ns)
    planned_ns = sum(
        group.due * (group.rounds * group.round_ns + len(group.arms) * make_ns)
        for group in plan.groups
    )
    lightest = plan.groups[-1]
    fewest = lightest.of == plan.min_replicates or lightest.rounds == 1
    assert planned_ns <= budget_ns or fewest


def test_every_baseline_has_an_aa_arm_in_its_group():
    costs = dict.fromkeys(range(4), Cost(LIGHT_NS))
    plan = planning.make_plan(costs, {0: Cost(LIGHT_NS)}, (0, 0, 2, 2), SECOND_NS)
    assert [arm.case for arm in plan.arms if arm.role == "aa"] == [0, 2]


def test_controls_have_aa_arms_beside_those_of_baselines_each_in_its_group():
    costs = {0: Cost(LIGHT_NS), 1: Cost(LIGHT_NS), 2: Cost(100 * LIGHT_NS)}
    plan = planning.make_plan(costs, {0: Cost(LIGHT_NS)}, (0, 0, 0), SECOND_NS, controls=(1, 2))
    twins = [arm for arm in plan.arms if arm.role == "aa"]
    assert [arm.case for arm in twins] == [0, 1, 2]
    assert [arm.group for arm in twins] == [0, 0, 1]


def test_every_kind_of_input_has_a_copy_arm():
    costs = dict.fromkeys(range(2), Cost(LIGHT_NS))
    plan = planning.make_plan(costs, {0: Cost(1), 1: Cost(2)}, (0, 0), SECOND_NS)
    assert [arm.case for arm in plan.arms if arm.role == "copy"] == [0, 1]


def test_works_that_cannot_be_repeated_are_called_once_a_sample():
    make = FakeMake(FakeClock(), {0: 700, 1: 1_400}, copy_ns=300, repeatable=False)
    timing = compare(make, max_time_s=0.1).timings[0]
    assert {arm.calls for arm in timing.arms} == {1}
    assert {sample.calls for batch in make.clock.batches for sample in batch} == {1}


def test_slow_arms_alone_get_replicates_enough_for_an_interval():
    """Replicates, not rounds, are the unit of inference: rounds give way first."""
    make = FakeMake(FakeClock(), {0: 150e6, 1: 150e6}, copy_ns=LIGHT_NS)
    timing = compare(make, max_time_s=10).timings[0]
    assert len(timing.replicates) >= MIN_REPLICATES


def test_the_loop_uses_the_callers_generator_alone():
    state = random.getstate()
    compare(FakeMake(FakeClock(), {0: LIGHT_NS, 1: LIGHT_NS}))
    assert random.getstate() == state


def test_preparing_a_sample_comes_out_of_the_same_budget():
    costs = {0: 1_000_000, 1: 900_000}
    quick = make_plan(costs, 100_000, 0, 10**10, repeatable=False).groups[0]
    slow = make_plan(costs, 100_000, 0, 10**10, repeatable=False, prepare_ns=10**7).groups[0]
    # the call before each sample is prepared too
    assert slow.round_ns == quick.round_ns + 2 * 4 * 10**7
    assert slow.of * slow.rounds * slow.round_ns <= 10**10


def test_what_preparing_takes_is_learnt_while_warming_up():
    clock = FakeClock()
    make = FakeMake(clock, {0: 1_000_000, 1: 900_000})

    def slow_to_prepare(role, case):
        work = make(role, case)
        work.repeatable = False
        work.prepare = lambda: clock.sleep(0.05)
        return work

    slow_to_prepare.costs_ns, slow_to_prepare.clock, slow_to_prepare.seed = make.costs_ns, clock, 0
    timing = compare(slow_to_prepare, max_time_s=10, precision=1e-9).timings[0]
    # 4 arms of 50 ms: a replicate of 60 unforeseen rounds would have taken 12 s alone
    assert len(timing.replicates) >= 12
