"""The loop: rebuild every arm, time its rounds, stop on precision or on time."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from gcbench.errors import CaseError
from gcbench.records import Disturbance, Effort, Replicate, Role, Timing
from gcbench.statistics import widest
from gcbench.timing.clocks import Clock, Sample, Work, WorkError
from gcbench.timing.order import balanced_rounds
from gcbench.timing.plan import Group, Plan, make_plan
from gcbench.timing.usage import Usage, read_usage

# A new work for a role and a case, with a module and buffers of its own at a new place in memory
Make = Callable[[Role, int | None], Work]

WARM_UP_CALLS, WARM_UP_NS = 3, 100_000_000
# warming one arm up may take this share of the budget; a heavy arm is content with a single call
WARM_UP_SHARE = 0.02
# the intervals are looked at after each of so many replicates, then after every so many
LOOK_ALWAYS, LOOK_EVERY = 50, 10
# each replicate begins at a random phase of what the machine does periodically, such as quota
# periods
PHASE_S = 0.01


@dataclass(frozen=True)
class Progress:
    """How far a comparison is. `half_width` is the widest relative's, as a logarithm."""

    elapsed_s: float
    budget_s: float
    replicates: int
    half_width: float


def time_comparison(
    make: Make,
    cases: Sequence[int],
    baseline: int,
    effort: Effort,
    clock: Clock,
    rng: random.Random,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    usage: Callable[[], Usage] = read_usage,
) -> Timing:
    """Time cases, given by their position, against the baseline until the effort is spent.

    Returns every sample. Raises CaseError, which names the case, where one of them raises.
    """
    start_ns = clock.now()
    budget_ns = round(effort.max_time_s * 1e9)
    plan = _calibrated(make, cases, baseline, budget_ns, clock)
    replicates: list[Replicate] = []
    half_width = math.inf
    while True:
        replicates.append(_replicate(plan, len(replicates), make, clock, rng, usage))
        timing = Timing(plan.arms, tuple(replicates), "time")
        number = len(replicates)
        if number <= LOOK_ALWAYS or number % LOOK_EVERY == 0:
            half_width = widest(timing, baseline)
        elapsed_ns = clock.now() - start_ns
        on_progress(Progress(elapsed_ns / 1e9, effort.max_time_s, number, half_width))
        # never because an interval excludes 1: looking for that is how false verdicts are made
        if number >= plan.min_replicates and half_width <= math.log1p(effort.precision):
            return replace(timing, stopped_by="precision")
        if elapsed_ns >= budget_ns:
            return timing


def _calibrated(
    make: Make, cases: Sequence[int], baseline: int, budget_ns: int, clock: Clock
) -> Plan:
    start_ns = clock.now()
    copy = make("copy", None)
    limit_ns = WARM_UP_SHARE * budget_ns
    copy_ns, prepare_ns = _cost(copy, None, clock, limit_ns)
    costs_ns = {}
    for case in cases:
        costs_ns[case], spent_ns = _cost(make("case", case), case, clock, limit_ns)
        prepare_ns = max(prepare_ns, spent_ns)
    left_ns = max(0, budget_ns - (clock.now() - start_ns))
    return make_plan(costs_ns, copy_ns, baseline, left_ns, copy.repeatable, prepare_ns)


def _cost(work: Work, case: int | None, clock: Clock, limit_ns: float) -> tuple[int, int]:
    """Warm a work up; return the nanoseconds of its fastest call, and of the least preparation."""
    durations: list[int] = []
    prepared_ns: list[int] = []
    spent_ns = 0
    while not durations or (
        spent_ns < limit_ns and (len(durations) < WARM_UP_CALLS or spent_ns < WARM_UP_NS)
    ):
        start_ns = clock.now()
        try:
            durations += clock.time([Sample(work, 1)])
        except WorkError as failure:
            raise CaseError(case) from failure.__cause__
        took_ns = clock.now() - start_ns
        spent_ns += took_ns
        prepared_ns.append(max(0, took_ns - durations[-1]))
    return min(durations), min(prepared_ns)


def _replicate(
    plan: Plan,
    number: int,
    make: Make,
    clock: Clock,
    rng: random.Random,
    usage: Callable[[], Usage],
) -> Replicate:
    clock.sleep(rng.uniform(0, PHASE_S))
    due = [group for group in plan.groups if group.takes_part(number)]
    order = [arm for group in due for arm in group.arms]
    rng.shuffle(order)
    works = {arm: make(plan.arms[arm].role, plan.arms[arm].case) for arm in order}
    samples: list[tuple[int, ...]] = [()] * len(plan.arms)
    before = usage()
    try:
        for group in due:
            for arm, durations in _time_group(group, works, clock, rng).items():
                samples[arm] = tuple(durations)
    except WorkError as failure:
        guilty = next(arm for arm, work in works.items() if work is failure.work)
        raise CaseError(plan.arms[guilty].case) from failure.__cause__
    return Replicate(tuple(samples), _disturbance(before, usage()))


def _time_group(
    group: Group, works: dict[int, Work], clock: Clock, rng: random.Random
) -> dict[int, list[int]]:
    """Run the rounds of a group; return the durations of each arm, by round."""
    for _ in range(group.untimed):
        clock.time([Sample(works[arm], 1) for arm in group.arms])
    orders = balanced_rounds(len(group.arms), group.rounds, rng)
    durations: dict[int, list[int]] = {arm: [] for arm in group.arms}
    for batch in _bursts(orders, group, clock):
        turns = [group.arms[place] for order in batch for place in order]
        batch_ns = clock.time([Sample(works[arm], group.calls) for arm in turns])
        for arm, duration in zip(turns, batch_ns, strict=True):
            durations[arm].append(duration)
    return durations


def _bursts(orders: list[list[int]], group: Group, clock: Clock) -> Iterator[list[list[int]]]:
    """Cut rounds into batches no longer than the clock wants them, of whole rounds."""
    size = len(orders)
    if clock.burst_ns is not None:
        size = max(1, clock.burst_ns // max(group.round_ns, 1))
    for start in range(0, len(orders), size):
        yield orders[start : start + size]


def _disturbance(before: Usage, after: Usage) -> Disturbance:
    steal_ns = None
    if before.steal_ns is not None and after.steal_ns is not None:
        steal_ns = after.steal_ns - before.steal_ns
    return Disturbance(
        wall_ns=after.wall_ns - before.wall_ns,
        cpu_ns=after.cpu_ns - before.cpu_ns,
        steal_ns=steal_ns,
        involuntary_switches=after.involuntary_switches - before.involuntary_switches,
    )
