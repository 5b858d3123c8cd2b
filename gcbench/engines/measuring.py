"""The one road to a measurement: a plan of comparisons, an engine that runs them, who hears of it.

Whatever a command measures goes this way: alone on a device, under a manifest, within a budget and
what memory allows, held against the ceilings of the device. An engine runs comparisons and nothing
else. Nothing here loads torch.
"""

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby

from gcbench.engines.attempts import Bounds
from gcbench.engines.device_lock import Log, alone_on
from gcbench.engines.jobs import Caller, Engine, Job, Listener, record_of
from gcbench.measure import environment
from gcbench.measure.cores import tell_of_busy_cores
from gcbench.measure.peaks import Ceilings
from gcbench.measure.timing.replicates import Progress
from gcbench.records import ComparisonRecord, Manifest, Measurement
from gcbench.runtime import known
from gcbench.spec import cases
from gcbench.spec.cases import Comparison, CounterName, Effort
from gcbench.spec.grid import OnOom
from gcbench.units import span_text

# a comparison whose share of the budget goes into trying its cases is timed this long all the same
LEAST_TIMED_S = 0.2


@dataclass(frozen=True)
class Plan:
    """What is to be measured, and how: whatever the comparisons have in common.

    Of the comparisons there are `total`; `effort` is that of a device. Without a `manifest` one is
    made when the first device is held. `ran_out` are cases that ran out of memory before. Without
    `wait` a device where another gcbench measures is not waited for; then every row is flagged
    `not_alone`. To `profile` adds what calls launch on CUDA, looked at when all of a device is
    timed. The rest is as `Job` has it.
    """

    effort: Callable[[str], Effort]
    comparisons: Iterable[Comparison] = ()
    total: int = 0
    manifest: Manifest | None = None
    seed: int = 0
    counter: CounterName = "auto"
    budget_s: float | None = None
    memory_limit_bytes: int | None = None
    on_oom: OnOom = "continue"
    ran_out: Iterable[Measurement] = ()
    wait: bool = True
    profile: bool = False
    rivals_only: bool = False
    partial: bool = False
    standings: bool = False
    allow_nondeterministic: bool = False

    def job(self, comparison: Comparison, effort: Effort, bounds: Bounds) -> Job:
        """The job of measuring one of the comparisons."""
        return Job(
            comparison,
            effort,
            self.seed,
            self.counter,
            bounds=bounds,
            rivals_only=self.rivals_only,
            partial=self.partial,
            standings=self.standings,
            allow_nondeterministic=self.allow_nondeterministic,
        )


@dataclass(frozen=True)
class Events:
    """Who hears what on the way: sentences, how far a comparison is, and which one begins.

    First of all it is heard under which manifest that is. What may spoil the result is told as
    well, unless it is to `warn`.
    """

    tell: Log = lambda text: None
    on_progress: Callable[[Progress], None] = lambda progress: None
    on_comparison: Callable[[Comparison], None] = lambda comparison: None
    on_manifest: Callable[[Manifest], None] = lambda manifest: None
    warn: Log | None = None

    def doing(self, what: str) -> None:
        """Say what is being done beside timing."""
        self.on_progress(Progress(0.0, 0.0, doing=what))


UNHEARD = Events()


class Budget:
    """Shares a time out among comparisons, of which each gets no more than its own effort."""

    def __init__(
        self,
        budget_s: float | None,
        comparisons: int,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with the first share, with so many comparisons to come."""
        self._budget_s = math.inf if budget_s is None else budget_s
        self._left, self._now = comparisons, now
        self._began: float | None = None
        self._timed_s = 0.0
        self._done = 0

    def expect(self, comparisons: int) -> None:
        """Hear of comparisons more that are to come."""
        self._left += comparisons

    def share(self, effort: Effort, lanes: int = 1) -> Effort | None:
        """The effort of the next comparison, of so many that are measured at once.

        None where nothing is left for it. What comparisons took so far beside being timed is taken
        from the share of the next one.
        """
        if self._began is None:
            self._began = self._now()
        spent_s = self._now() - self._began
        if spent_s >= self._budget_s:
            return None
        share_s = lanes * (self._budget_s - spent_s) / max(self._left, lanes)
        beside_s = max(0.0, lanes * spent_s - self._timed_s) / self._done if self._done else 0.0
        given_s = min(effort.max_time_s, max(share_s - beside_s, LEAST_TIMED_S))
        self._left -= 1
        self._done += 1
        self._timed_s += given_s
        return replace(effort, max_time_s=given_s)


class Shortages:
    """What ran out of memory: on each device, for each block, the fewest bytes at which it did."""

    def __init__(self, before: Iterable[Measurement] = ()) -> None:
        """Begin with what is known from before."""
        self._least: dict[tuple[str, str], int] = {}
        self.note(before)

    def note(self, measurements: Iterable[Measurement]) -> bool:
        """Remember what became of cases.

        Returns whether one ran out of memory by itself; one that is out only because all arms
        together were too many says nothing about others.
        """
        out = [m for m in measurements if m.status == "oom" and "crowded" not in m.flags]
        for measurement in out:
            needed, case = measurement.needed_bytes, measurement.case
            if needed is not None:
                least = self._least.get((case.device, case.spec), needed)
                self._least[case.device, case.spec] = min(needed, least)
        return bool(out)

    def bounds(self, plan: Plan, device: str) -> Bounds:
        """What that leaves to the cases of a plan on a device."""
        larger = plan.on_oom == "skip-larger"
        ran_out = {spec: n for (at, spec), n in self._least.items() if larger and at == device}
        return Bounds(plan.memory_limit_bytes, ran_out)


class Dealt:
    """Comparisons of a plan, dealt out one by one: under a budget, and by what memory allows."""

    def __init__(self, plan: Plan, budget: Budget, ran_out: Iterable[Measurement] = ()) -> None:
        """Begin with a budget that others may share, and what ran out of memory before."""
        self._plan, self._budget, self._shortages = plan, budget, Shortages(ran_out)

    def next(self, comparison: Comparison, lanes: int = 1) -> Job | ComparisonRecord:
        """The job of a comparison, of so many that are measured at once.

        Where no time is left for it, the record that says so.
        """
        plan = self._plan
        usual = plan.effort(comparison.device)
        effort = self._budget.share(usual, lanes)
        if effort is None:
            return not_run(comparison, usual, plan.budget_s or 0)
        return plan.job(comparison, effort, self._shortages.bounds(plan, comparison.device))

    def ends(self, record: ComparisonRecord, tell: Log) -> bool:
        """Remember what ran out of memory; returns whether that ends the plan, which is told."""
        ended = self._shortages.note(record.measurements) and self._plan.on_oom == "stop"
        if ended:
            tell("a case ran out of memory, which ends the sweep (--on-oom stop); --resume goes on")
        return ended


def not_run(comparison: Comparison, effort: Effort, budget_s: float) -> ComparisonRecord:
    """The record of a comparison that did not get its turn within a budget."""
    reason = (
        f"--budget {span_text(budget_s)} was spent before its turn (--retry skipped measures it)"
    )
    found = tuple(Measurement(case, "skipped", reason) for case in comparison.cases)
    return record_of(comparison, found, effort)


def here(call: Caller, engine: str, run: str, seed: int) -> Manifest:
    """Describe this machine, an engine on it, and what was asked of it; `call` asks torch."""
    found = call(environment.manifest, run, seed)
    return replace(found, command=tuple(sys.argv), engine=engine, runtimes=call(deployed_by))


def deployed_by() -> dict[str, dict[str, str]]:
    """Versions and settings of the runtimes here that are not torch's own."""
    from gcbench.measure import runtimes

    return runtimes.described()


def stamp() -> str:
    """Name a run by the moment."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"


@dataclass(frozen=True)
class Held:
    """A device that is held, or a part of one: whether nobody else measures there, its ceilings."""

    alone: bool
    ceilings: Ceilings

    def seen(self, record: ComparisonRecord) -> ComparisonRecord:
        """Add to a record the ceilings of what was timed, and whether others were there.

        One that was broken off needs no ceilings, nor what torch does not run: they are of torch.
        """
        ran = [m.case for m in record.measurements if m.status == "ok" and record.timings]
        timed = [case for case in ran if not known(case.runtime).foreign]
        if timed and not record.interrupted:
            record = replace(record, peaks=self.ceilings.of(timed))
        return record if self.alone else record.flagged("not_alone")


def measure(plan: Plan, engine: Engine, events: Events = UNHEARD) -> Iterator[ComparisonRecord]:
    """Measure a plan by an engine; yield the record of each comparison at once.

    Devices take their turns: each is held while its comparisons are measured, alone among all
    gcbench runs of this machine. Where another one measures there, this waits for it, unless the
    plan says otherwise. Where the budget is spent, the rest are records that say so. A comparison
    that an interrupt broke off is the last one.
    """
    road: _Road | None = None
    for device, on_it in groupby(plan.comparisons, lambda each: each.device):
        with _held(device, plan, engine, events) as alone:
            # the machine as it is when nobody else measures; and a budget waits for nobody
            road = road or _Road(plan, engine, events)
            yield from road.along(on_it, alone)
        if road.ended:
            return


def _held(device: str, plan: Plan, engine: Engine, events: Events) -> AbstractContextManager[bool]:
    return alone_on(device, plan.wait, events.tell) if engine.times else nullcontext(True)


class _Road:
    """A plan on its way, from one device that is held to the next."""

    def __init__(self, plan: Plan, engine: Engine, events: Events) -> None:
        self._plan, self._engine, self._events = plan, engine, events
        self._manifest = plan.manifest or here(engine.call, engine.name, stamp(), plan.seed)
        events.on_manifest(self._manifest)
        self._ceilings = Ceilings(self._manifest, events.tell, events.doing)
        self._dealt = Dealt(plan, Budget(plan.budget_s, plan.total), plan.ran_out)
        self.ended = False

    def along(self, comparisons: Iterable[Comparison], alone: bool) -> Iterator[ComparisonRecord]:
        """Measure the comparisons of a device that is held."""
        held, most = Held(alone, self._ceilings), 0
        made: list[tuple[ComparisonRecord, Job]] = []
        for comparison in comparisons:
            most = self._look_for_cores(comparison, most)
            self._events.on_comparison(comparison)
            job = self._dealt.next(comparison)
            if isinstance(job, ComparisonRecord):
                yield held.seen(job)
                continue
            listener = Listener(self._events.on_progress)
            record = held.seen(self._engine.measure(job, listener))
            self.ended = record.interrupted or self._dealt.ends(record, self._events.tell)
            if self._plan.profile and comparison.device != "cpu":
                made.append((record, job))
            else:
                yield record
            if self.ended:
                break
        yield from self._profiled(made)

    def _look_for_cores(self, comparison: Comparison, most: int) -> int:
        """Tell of cores that are not free for more threads than those that ran until now."""
        threads = cases.most_threads([comparison], self._manifest.threads)
        if self._engine.times and comparison.device == "cpu" and threads > most:
            tell_of_busy_cores(threads, self._events.warn or self._events.tell)
        return max(threads, most)

    def _profiled(self, made: Sequence[tuple[ComparisonRecord, Job]]) -> Iterator[ComparisonRecord]:
        """Add what the calls of cases launch, unless somebody wants to see the end."""
        for record, job in made:
            if self.ended:
                yield record
                continue
            self._events.doing("profiling")
            looked_at = self._engine.measure(job.profiling(record.measurements))
            yield replace(record, measurements=looked_at.measurements)
