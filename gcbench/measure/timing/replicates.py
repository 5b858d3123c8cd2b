"""The loop: rebuild every arm, time its rounds, stop on precision or on time."""

import math
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from gcbench.errors import CaseError
from gcbench.measure.timing.clocks import (
    Clock,
    Reading,
    Sample,
    Work,
    WorkError,
    blaming,
    collector_off,
    together,
)
from gcbench.measure.timing.order import balanced_rounds
from gcbench.measure.timing.plan import PHASE_S, Cost, Group, Plan, make_plan
from gcbench.measure.timing.standing import Standing
from gcbench.measure.timing.watching import Met, Usage, between, read_usage
from gcbench.records import DeviceState, Disturbance, Replicate, Role, Timing
from gcbench.spec.cases import Effort, Regime
from gcbench.stats.intervals import widest

# A new work for a role and a case, with a module and buffers of its own at a new place in memory
Make = Callable[[Role, int], Work]

WARM_UP_CALLS, WARM_UP_NS = 3, 100_000_000
# warming one arm up may take this share of the budget; a heavy arm is content with a single call
WARM_UP_SHARE = 0.02
# in the regime sustained a device is kept busy so long before anything is timed; the host is never
# further ahead of it than so much
HEAT_NS, AHEAD_NS = 5_000_000_000, 50_000_000
# a sample waited for a core where its threads did for more than this share of it
WAIT_OF_SAMPLE = 0.05
# a comparison whose replicates are too few for an interval may take so many times its time
SOFT_FACTOR = 2
# the intervals are looked at again when the replicates have grown by this share
LOOK_SHARE = 0.05


@dataclass(frozen=True)
class Progress:
    """How far a comparison is.

    `half_width` is that of the widest interval, as a logarithm, None while one is unknown; `doing`
    says what comes before the first replicate, `news` what is to stay: a case that failed;
    `standings` are those of its cases, where somebody asked for them.
    """

    elapsed_s: float
    budget_s: float
    replicates: int = 0
    half_width: float | None = None
    doing: str | None = None
    news: str | None = None
    standings: tuple[Standing, ...] = ()


@dataclass(frozen=True)
class Lineup:
    """What stands in a comparison, by the positions of its cases.

    `baselines` says for each position what it is divided by, whether it is timed or not; `copies`
    are the cases whose inputs are cloned as a unit of memory traffic; `controls` those that have an
    A/A arm though nothing is divided by them.
    """

    cases: tuple[int, ...]
    baselines: tuple[int, ...]
    copies: tuple[int, ...]
    controls: tuple[int, ...] = ()


@dataclass
class Taken:
    """What the arms of a replicate gave so far: durations by round, and what the clock met."""

    samples_ns: list[list[int]]
    exposed: list[int]
    faults: list[int]
    waited: list[int]
    waiting_ns: list[int]
    discarded: int = 0
    device: DeviceState | None = None

    @classmethod
    def of(cls, arms: int) -> "Taken":
        """Nothing yet, of so many arms."""
        none = [0] * arms
        return cls([[] for _ in range(arms)], none, list(none), list(none), list(none))

    def enter(self, orders: list[list[int]], reading: Reading) -> None:
        """Enter a reading of rounds in which the arms took their turns in these orders."""
        for number, (turns, durations) in enumerate(zip(orders, reading.durations_ns, strict=True)):
            for turn, (arm, duration) in enumerate(zip(turns, durations, strict=True)):
                self.samples_ns[arm].append(duration)
                self.exposed[arm] += (number, turn) in reading.exposed
        for turns, durations, mets in zip(orders, reading.durations_ns, reading.met, strict=False):
            for arm, duration, met in zip(turns, durations, mets, strict=True):
                self._meet(arm, duration, met)
        self.discarded += reading.discarded
        self.device = together((self.device, reading.device))

    def _meet(self, arm: int, duration_ns: int, met: Met) -> None:
        self.faults[arm] += met.faults
        if met.waiting_ns is not None:
            self.waiting_ns[arm] += met.waiting_ns
            self.waited[arm] += met.waiting_ns > WAIT_OF_SAMPLE * duration_ns

    def replicate(self, disturbance: Disturbance) -> Replicate:
        """Make the record."""
        return Replicate(
            tuple(map(tuple, self.samples_ns)),
            disturbance,
            _unless_none(self.exposed),
            self.device,
            self.discarded,
            _unless_none(self.faults),
            _unless_none(self.waited),
            _unless_none(self.waiting_ns),
        )


def _unless_none(counts: list[int]) -> tuple[int, ...]:
    return tuple(counts) if any(counts) else ()


def time_comparison(
    make: Make,
    lineup: Lineup,
    effort: Effort,
    clock: Clock,
    rng: random.Random,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    usage: Callable[[], Usage] = read_usage,
    regime: Regime = "burst",
    keep: Callable[[Timing], None] = lambda timing: None,
) -> Timing:
    """Time the cases of a lineup side by side until the effort is spent.

    The time may be exceeded, up to `SOFT_FACTOR` times, where there is no interval yet.
    In the regime `sustained` the device is kept busy for some seconds before, which are no part of
    the effort, and after each pause for as long as that was. `keep` gets what there is so far,
    whenever that is more. Returns every sample. Raises CaseError, which names the case, where one
    of them raises.
    """
    busy = regime == "sustained"
    if busy:
        on_progress(Progress(0.0, effort.max_time_s, doing=f"heating, for {HEAT_NS / 1e9:g} s"))
        works = {case: _made(make, "case", case) for case in lineup.cases}
        with _naming(works, lambda case: case):
            _keep_busy(tuple(works.values()), clock, HEAT_NS)
        del works
    start_ns = clock.now()
    budget_ns = round(effort.max_time_s * 1e9)
    plan = _calibrated(make, lineup, budget_ns, clock, busy)
    replicates: list[Replicate] = []
    half_width, look_at = math.inf, 1
    while True:
        replicates.append(_replicate(plan, len(replicates), make, clock, rng, usage, busy))
        timing = Timing(plan.arms, tuple(replicates), "time")
        keep(timing)
        number = len(replicates)
        if number >= look_at:
            half_width = widest((timing,), lineup.baselines)
            look_at = number + math.ceil(LOOK_SHARE * number)
        elapsed_ns = clock.now() - start_ns
        known = half_width if math.isfinite(half_width) else None
        on_progress(Progress(elapsed_ns / 1e9, effort.max_time_s, number, known))
        # never because an interval excludes 1: looking for that is how false verdicts are made
        if number >= plan.min_replicates and half_width <= math.log1p(effort.precision):
            return replace(timing, stopped_by="precision")
        if elapsed_ns >= (1 if plan.suffices(number) else SOFT_FACTOR) * budget_ns:
            return timing


def _calibrated(
    make: Make, lineup: Lineup, budget_ns: int, clock: Clock, busy: bool = False
) -> Plan:
    start_ns = clock.now()
    limit_ns = WARM_UP_SHARE * budget_ns
    costs: dict[Role, dict[int, Cost]] = {"copy": {}, "case": {}}
    turns: list[tuple[Role, int]] = [("copy", case) for case in lineup.copies]
    turns += [("case", case) for case in lineup.cases]
    for role, case in turns:
        made_ns = clock.now()
        work = _made(make, role, case)
        made_ns = clock.now() - made_ns
        costs[role][case] = _cost(work, case, clock, limit_ns)._replace(
            # after it is made the device is kept busy for as long
            make_ns=(1 + busy) * made_ns,
            repeatable=work.repeatable,
            cold=work.cold,
        )
    left_ns = max(0, budget_ns - (clock.now() - start_ns))
    return make_plan(costs["case"], costs["copy"], lineup.baselines, left_ns, lineup.controls)


def _made(make: Make, role: Role, case: int) -> Work:
    try:
        return make(role, case)
    except (Exception, SystemExit) as error:  # a block's own copying may raise anything
        raise CaseError(case) from error


def _cost(work: Work, case: int, clock: Clock, limit_ns: float) -> Cost:
    """Warm a work up; tell the nanoseconds of its fastest call, of preparing and of settling it."""
    durations: list[int] = []
    took_ns: list[int] = []
    spent_ns = 0

    def timed(rounds: int) -> int:
        start_ns = clock.now()
        reading = clock.time([[Sample(work, 1)]] * rounds)
        durations.extend(turns[0] for turns in reading.durations_ns)
        return clock.now() - start_ns

    try:
        while not durations or (
            spent_ns < limit_ns and (len(durations) < WARM_UP_CALLS or spent_ns < WARM_UP_NS)
        ):
            took_ns.append(timed(1))
            spent_ns += took_ns[-1]
        # what a clock needs once for many rounds is no part of a round
        once_ns = 2 * min(took_ns) - timed(2) if clock.queues else 0
        start_ns = clock.now()
        with blaming(work), collector_off():
            work.settle()
        settle_ns = clock.now() - start_ns
    except WorkError as failure:
        raise CaseError(case) from failure.__cause__
    call_ns = min(durations)
    return Cost(call_ns, max(0, min(took_ns) - max(0, once_ns) - call_ns), settle_ns=settle_ns)


def _replicate(
    plan: Plan,
    number: int,
    make: Make,
    clock: Clock,
    rng: random.Random,
    usage: Callable[[], Usage],
    busy: bool,
) -> Replicate:
    begun_ns, phase_s = clock.now(), rng.uniform(0, PHASE_S)
    if not busy:
        clock.sleep(phase_s)
    due = [group for group in plan.groups if group.takes_part(number)]
    order = [arm for group in due for arm in group.arms]
    rng.shuffle(order)
    works = {arm: _made(make, plan.arms[arm].role, plan.arms[arm].case) for arm in order}
    taken = Taken.of(len(plan.arms))
    with _naming(works, lambda arm: plan.arms[arm].case):
        if busy:
            first = tuple(works[arm] for arm in due[0].arms)
            _keep_busy(first, clock, clock.now() - begun_ns + round(phase_s * 1e9))
        before = usage()
        for group in due:
            _time_group(group, works, clock, rng, taken)
    return taken.replicate(between(before, usage()))


@contextmanager
def _naming(works: Mapping[int, Work], case_of: Callable[[int], int]) -> Iterator[None]:
    """Turn what is said of a work into what is said of its case."""
    try:
        yield
    except WorkError as failure:
        guilty = next(number for number, work in works.items() if work is failure.work)
        raise CaseError(case_of(guilty)) from failure.__cause__


def _keep_busy(works: tuple[Work, ...], clock: Clock, ns: int) -> None:
    """Call works in turn for so many nanoseconds, without pauses, and read nothing of it.

    What a clock reads in the end of each stretch is when the device is through with it.
    """
    end_ns, rounds = clock.now() + ns, 0
    while (start_ns := clock.now()) < end_ns:
        with collector_off():
            for work in rounds * works:
                with blaming(work):
                    work.settle()
        clock.time([[Sample(work, 1) for work in works]])
        took_ns = max(1, (clock.now() - start_ns) // (rounds + 1))
        rounds = max(0, min(AHEAD_NS, end_ns - clock.now()) // took_ns - 1)


def _time_group(
    group: Group, works: dict[int, Work], clock: Clock, rng: random.Random, taken: Taken
) -> None:
    """Run the rounds of a group, and enter what they gave."""
    with collector_off():
        for arm in group.settle * group.arms:
            with blaming(works[arm]):
                works[arm].settle()
    places = balanced_rounds(len(group.arms), group.rounds, rng)
    orders = [[group.arms[place] for place in turns] for turns in places]
    before = dict(zip(group.arms, group.before, strict=True))
    for burst in _bursts(orders, group, clock):
        rounds = [
            [Sample(works[arm], group.calls, before[arm]) for arm in turns] for turns in burst
        ]
        taken.enter(burst, clock.time(rounds))


def _bursts(orders: list[list[int]], group: Group, clock: Clock) -> Iterator[list[list[int]]]:
    """Cut rounds into bursts no longer than the clock wants them, of whole rounds."""
    size = len(orders)
    if clock.burst_ns is not None:
        size = max(1, clock.burst_ns // max(group.round_ns, 1))
    for start in range(0, len(orders), size):
        yield orders[start : start + size]
