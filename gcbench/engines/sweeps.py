"""Sweeps: what of a grid is due, and its comparisons measured one by one."""

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Self

from gcbench import blocks, environment, heap, spec, sweep
from gcbench.cores import tell_of_busy_cores
from gcbench.engines import possible, with_peaks
from gcbench.engines.alone import Tell, alone_on
from gcbench.engines.attempts import Bounds
from gcbench.engines.fresh import Worker
from gcbench.engines.inline import Inline
from gcbench.engines.isolated import Isolated
from gcbench.engines.jobs import SILENT, Engine, Listener, job_of, record_of
from gcbench.engines.static import Static
from gcbench.errors import UsageError
from gcbench.peaks import Ceilings
from gcbench.records import ComparisonRecord, Effort, Manifest, Measurement, Status, identity
from gcbench.spec import Block, Comparison
from gcbench.sweep import Place, Sweep
from gcbench.timing.replicates import Progress
from gcbench.units import span_text

# a comparison whose share of the budget goes into trying its cases is timed this long all the same
LEAST_TIMED_S = 0.2


def place(asked: Sweep) -> Place:
    """Look at what a sweep names, on this machine, before anything is measured.

    Raises UsageError where a device is missing, a block cannot be imported or has no such option,
    the baseline is not among the blocks, or the grid has too many cases.
    """
    named = asked.device or (None,)
    devices = tuple(dict.fromkeys(map(environment.resolve_device, named)))
    for device in devices:
        if "cold" in sweep.caches(asked, device):
            environment.require_cache_bytes(device)
    return place_on(asked, devices)


def place_on(asked: Sweep, devices: tuple[str, ...]) -> Place:
    """Look at what a sweep names, for devices that are known to be there; raises as `place`."""
    named = [*asked.blocks, *(() if asked.baseline is None else (asked.baseline,))]
    known = _looked_at(dict.fromkeys(named), asked)
    baseline = None if asked.baseline is None else known[asked.baseline]
    found = Place(asked, tuple(known[name] for name in asked.blocks), devices, baseline)
    sweep.require_bounded(found)
    if sweep.pairs_heaps(asked):
        for device in devices:
            heap.require_both("--pair heap", device)
    return found


def comparisons(asked: Sweep) -> list[Comparison]:
    """Make the comparisons of a plan whose every case can be built; raises UsageError as `place`.

    It is raised too where a case cannot be built, or run as asked for, and where none is left.
    """
    found = [possible(each) for each in sweep.grid(place(asked))]
    if not found:
        raise UsageError("--where leaves no case of the grid")
    return found


def _looked_at(names: Iterable[str], asked: Sweep) -> dict[str, Block]:
    """Look at blocks; at those whose code is a user's in a process that they alone can end."""
    with ExitStack() as held:
        worker: Worker | None = None
        found: dict[str, Block] = {}
        for name in names:
            if asked.engine == "inline" or not blocks.is_foreign(name):
                found[name] = blocks.resolve(name)
                continue
            worker = worker or held.enter_context(Worker())
            found[name] = worker.look(name, asked.timeout_s)
    return found


def due(
    place: Place,
    statuses: Mapping[str, Status],
    retry: Collection[Status] = (),
    kind: str | None = None,
) -> Iterator[Comparison]:
    """Yield what of a grid is still to be measured, given what became of cases.

    `statuses` go by what `records.identity` makes of a key and the `kind` of device, where each
    kind measures all. A comparison of which some cases are due holds those, and their baselines.
    """
    for whole in sweep.grid(place):
        known = [statuses.get(identity(case.key, kind or whole.kind)) for case in whole.cases]
        positions = [i for i, status in enumerate(known) if status is None or status in retry]
        if len(positions) == len(whole.cases):
            yield whole
        elif positions:
            yield sweep.part(whole, sweep.with_baselines(whole, positions))


@dataclass(frozen=True)
class Extent:
    """How much is due."""

    comparisons: int = 0
    cases: int = 0


def extent(comparisons: Iterable[Comparison]) -> Extent:
    """Count comparisons and their cases."""
    sizes = [len(comparison.cases) for comparison in comparisons]
    return Extent(len(sizes), sum(sizes))


class Budget:
    """Shares a time out among comparisons, of which each gets no more than its own effort."""

    def __init__(
        self,
        budget_s: float | None,
        comparisons: int,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin now, with so many comparisons to come."""
        self._budget_s = math.inf if budget_s is None else budget_s
        self._left, self._now, self._began = comparisons, now, now()
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

    def bounds(self, asked: Sweep, device: str) -> Bounds:
        """What that leaves to cases of a sweep on a device."""
        larger = asked.on_oom == "skip-larger"
        ran_out = {spec: n for (at, spec), n in self._least.items() if larger and at == device}
        return Bounds(asked.memory_limit_bytes, ran_out)


def measure(
    asked: Sweep,
    comparisons: Iterable[Comparison],
    total: int,
    engine: Engine,
    listener: Listener = SILENT,
    tell: Tell = lambda text: None,
    ran_out: Iterable[Measurement] = (),
) -> Iterator[ComparisonRecord]:
    """Measure comparisons, of which there are `total`; yield the record of each at once.

    Where the budget is spent, the rest are rows that say so. `ran_out` are cases of the same sweep
    that ran out of memory before.
    """
    budget, shortages = Budget(asked.budget_s, total), Shortages(ran_out)
    for comparison in comparisons:
        device = comparison.device
        usual = asked.effort(device)
        effort = budget.share(usual)
        if effort is None:
            yield not_run(comparison, usual, asked.budget_s or 0)
            continue
        bounds = shortages.bounds(asked, device)
        job = job_of(asked, comparison, effort, bounds)
        record = engine.measure(job, listener)
        yield record
        if shortages.note(record.measurements) and asked.on_oom == "stop":
            tell("a case ran out of memory, which ends the sweep (--on-oom stop); --resume goes on")
            return


def not_run(comparison: Comparison, effort: Effort, budget_s: float) -> ComparisonRecord:
    """The record of a comparison that did not get its turn within a budget."""
    reason = (
        f"--budget {span_text(budget_s)} was spent before its turn (--retry skipped measures it)"
    )
    found = tuple(Measurement(case, "skipped", reason) for case in comparison.cases)
    return record_of(comparison, found, effort)


class Session:
    """An engine, alone on one device after the other among all gcbench of this machine."""

    def __init__(self, place: Place, manifest: Manifest, wait: bool, tell: Tell) -> None:
        """Prepare for a sweep under a manifest; hold nothing yet."""
        self._place, self._manifest, self._wait, self._tell = place, manifest, wait, tell
        self._held, self._device_held = ExitStack(), ExitStack()
        self._device: str | None = None
        self._alone = True

    def __enter__(self) -> Self:
        """Have an engine ready; devices are held when their turn comes."""
        asked = self._place.sweep
        self._held.enter_context(self._device_held)
        self._engine: Engine = Static()
        if not asked.static:
            self._engine = (
                Inline()
                if asked.engine == "inline"
                else self._held.enter_context(Isolated(asked.timeout_s))
            )
        return self

    def __exit__(self, *failure: object) -> None:
        """Let the device go, and end every process."""
        self._held.close()

    def _in_turn(self, comparisons: Iterable[Comparison]) -> Iterator[Comparison]:
        """Hold the device of each comparison, and no other; wait for it, unless unwanted."""
        for comparison in comparisons:
            if comparison.device != self._device and not self._place.sweep.static:
                self._device_held.close()
                alone = alone_on(comparison.device, self._wait, self._tell)
                self._alone = self._device_held.enter_context(alone)
                self._device = comparison.device
                if comparison.device == "cpu":
                    threads = spec.most_threads([comparison], self._manifest.threads)
                    tell_of_busy_cores(threads, self._tell)
            yield comparison

    def measure(
        self,
        comparisons: Iterable[Comparison],
        total: int,
        listener: Listener = SILENT,
        ran_out: Iterable[Measurement] = (),
    ) -> Iterator[ComparisonRecord]:
        """Measure comparisons, as `measure` does, and add the ceilings for their rows."""
        asked = self._place.sweep

        def step(what: str) -> None:
            listener.on_progress(Progress(0.0, 0.0, doing=what))

        ceilings = Ceilings(self._manifest, self._tell, step)
        turns = self._in_turn(comparisons)
        # a budget begins when the first device has been waited for
        turns = chain(list(islice(turns, 1)), turns)
        for record in measure(asked, turns, total, self._engine, listener, self._tell, ran_out):
            held = with_peaks(record, ceilings)
            yield held if self._alone else held.flagged("not_alone")
