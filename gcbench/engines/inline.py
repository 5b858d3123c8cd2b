"""Measure a comparison in this process: count its cases, try them, then time what can be timed."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

import torch

from gcbench import blocks
from gcbench.engines.attempts import ProcessTaintedError, TaintedError, Trying, rotates
from gcbench.engines.jobs import SILENT, Job, Listener, call_here
from gcbench.engines.launching import profiled, spent
from gcbench.engines.probe import (
    Attempt,
    Setting,
    clock_of,
    failed,
    require_answering,
    setting_of,
    try_case,
    workload,
)
from gcbench.engines.timed import (
    OnProgress,
    SoFar,
    crowded_out,
    heap_bytes,
    lineup_of,
    tell_of_failures,
    time_what_runs,
    timed_record,
    worth_timing,
)
from gcbench.measure import environment, heap, runtimes
from gcbench.measure.timing.clocks import Work
from gcbench.measure.timing.cuda import CudaClock
from gcbench.measure.timing.replicates import Progress, time_comparison
from gcbench.measure.workload import (
    PAGES_BYTES,
    Copy,
    Repeated,
    Rotated,
    Turned,
    Workload,
    make_input,
)
from gcbench.records import ComparisonRecord, Measurement, Role, Timing
from gcbench.runtime import RUNTIMES
from gcbench.spec.cases import Axes, Case, Effort, comparison_of


class Inline:
    """An engine that measures in this process, which a case may end."""

    name = "inline"
    times = True
    call = staticmethod(call_here)

    def measure(self, job: Job, listener: Listener = SILENT) -> ComparisonRecord:
        """Do a job here; see `measure`.

        There is no other process to go on in where this one becomes unfit, so the rows that are
        left are flagged `tainted`.
        """
        try:
            return measure(job, listener)
        except ProcessTaintedError as error:
            record = self.measure(job.after(error.taint), listener)
            return record.flagged("tainted")


def measure(job: Job, listener: Listener = SILENT) -> ComparisonRecord:
    """Count every case of a comparison and time those that run, side by side.

    A case that cannot be built or called, or that would not fit in memory, becomes a measurement
    with a status and a reason; the others go on. The global number of threads and gradient mode are
    set while this runs and left as they were, and so is the current GPU. Raises ProcessTaintedError
    where a case leaves this process unfit to measure in.
    """
    if job.profile:
        return _profiled(job)
    cases = job.comparison.cases
    with torch_state(cases[0].device) as threads, runtimes.session(cases):
        setting = setting_of(job, threads)
        attempts = [attempted(job, position, setting, listener) for position in range(len(cases))]
        listener.on_trying(Trying(None))
        crowded = crowded_out(_working(attempts), set(job.comparison.baselines), job.bounds)
        for position, row in crowded.items():
            attempts[position] = Attempt(row)
        found = [attempt.measurement for attempt in attempts]
        tell_of_failures(found, _working(attempts), job, listener)
        timing = None
        if worth_timing(_working(attempts), job):
            timing = _time_what_runs(attempts, job, setting, listener)
        working = _working(attempts)
        if timing is None or timing.stopped_by != "interrupt":
            attempts = [_spent(attempt, setting) for attempt in attempts]
    return timed_record(job, [attempt.measurement for attempt in attempts], working, timing)


def _working(attempts: Sequence[Attempt]) -> dict[int, Measurement]:
    """What was measured of the cases that have work, by their position."""
    return {i: attempt.measurement for i, attempt in enumerate(attempts) if attempt.work}


def attempted(job: Job, position: int, setting: Setting, listener: Listener) -> Attempt:
    """Try a case alone, unless it is known what becomes of it."""
    if position in job.known:
        return Attempt(job.known[position])
    case = job.comparison.cases[position]
    listener.on_progress(Progress(0.0, job.effort.max_time_s, doing=_doing(case)))
    listener.on_trying(Trying(position))

    def on_counted(counted: Measurement) -> None:
        listener.on_trying(Trying(position, counted))

    try:
        return try_case(case, setting, on_counted, job.graphless.get(position))
    except TaintedError as error:
        raise ProcessTaintedError.of(position, error) from error


def _time_what_runs(
    attempts: list[Attempt], job: Job, setting: Setting, listener: Listener
) -> Timing | None:
    """Time the attempts that have work; one that fails loses it."""
    cases, baselines = job.comparison.cases, job.comparison.baselines
    works = {i: attempt.work for i, attempt in enumerate(attempts) if attempt.work}

    def once(effort: Effort, so_far: SoFar) -> Timing:
        measured = [attempts[position].measurement for position in works]
        heap.touch(heap_bytes(measured, job.bounds, PAGES_BYTES))
        return _time(works, cases, baselines, effort, setting, so_far.heard, so_far.keep)

    def failing(guilty: int, cause: BaseException | None) -> None:
        del works[guilty]
        attempts[guilty] = Attempt(failed(attempts[guilty].measurement, cause))

    def answering(guilty: int) -> None:
        try:
            require_answering(attempts[guilty].measurement)
        except TaintedError as error:
            raise ProcessTaintedError.of(guilty, error) from error

    return time_what_runs(works, job, listener.on_progress, once, failing, answering)


def _spent(attempt: Attempt, setting: Setting) -> Attempt:
    """Add what is looked at after the timing, where the device is one that tells of it."""
    case, rng = replace(attempt.measurement.case, cache="warm"), random.Random(setting.seed)
    if not isinstance(attempt.work, Workload) or case.device == "cpu":
        return attempt
    clock = clock_of(case.device)
    assert isinstance(clock, CudaClock)
    # what was timed is not lost to what comes after it
    with suppress(Exception):
        work = dressed(attempt.work.elsewhere(rng).warmed(), case, rng)
        return replace(attempt, measurement=spent(work, attempt.measurement, clock))
    return attempt


def _profiled(job: Job) -> ComparisonRecord:
    """Look at what the cases of a job launch; one that cannot be looked at stays as it is known."""
    cases, rng = job.comparison.cases, random.Random(job.seed)
    found = dict(job.known)
    with torch_state(cases[0].device) as threads, runtimes.session(cases):
        setting = setting_of(job, threads)
        clock = clock_of(cases[0].device)
        assert isinstance(clock, CudaClock)
        for position, measured in job.known.items():
            if measured.status == "ok":
                # a driver may refuse to be profiled, and a block may raise anything
                with suppress(Exception):
                    work = dressed(workload(measured.case, setting), measured.case, rng)
                    found[position] = profiled(work, measured, clock)
    ordered = tuple(found[position] for position in range(len(cases)))
    return ComparisonRecord(ordered, job.comparison.baselines, job.effort.precision, ())


def load_all() -> None:
    """Try a small case on the CPU: what is loaded for a first trial is loaded, and no case pays."""
    axes = Axes(channels=8, size=(4, 4), ratio=2)
    [case] = comparison_of([blocks.resolve("gc")], axes, "cpu").cases
    with torch_state(case.device) as threads:
        try_case(case, Setting(0, threads), lambda counted: None)


def time_side_by_side(
    cases: Sequence[Case], calls: Sequence[int], effort: Effort, seed: int = 0
) -> ComparisonRecord:
    """Time cases that are known to run against the first of them, and count nothing.

    Each is called so many times in one call: where two cases are the same, the true relative is the
    ratio of their calls.
    """
    baselines = (0,) * len(cases)
    with torch_state(cases[0].device) as threads:
        setting = Setting(seed, threads)
        works: dict[int, Workload | Repeated] = {}
        for position, (case, times) in enumerate(zip(cases, calls, strict=True)):
            work = workload(case, setting)
            # what is loaded at a first call is not paid for by the time given
            work.elsewhere(random.Random(seed)).settle()
            works[position] = work if times == 1 else Repeated(work, times)
        timing = _time(works, cases, baselines, effort, setting)
    measurements = tuple(Measurement(case) for case in cases)
    return ComparisonRecord(measurements, baselines, effort.precision, (timing,))


def _time(
    works: Mapping[int, Turned],
    cases: Sequence[Case],
    baselines: tuple[int, ...],
    effort: Effort,
    setting: Setting,
    on_progress: OnProgress = lambda progress: None,
    keep: Callable[[Timing], None] = lambda timing: None,
) -> Timing:
    rng = random.Random(f"order {setting.seed} {setting.process}")
    lineup = lineup_of(cases, works, baselines)
    copies = {position: copy_of(cases[position], setting) for position in lineup.copies}

    def make(role: Role, case: int) -> Work:
        moved = (copies if role == "copy" else works)[case].elsewhere(rng)
        return dressed(moved, cases[case], rng)

    regime = cases[0].regime
    clock = clock_of(cases[0].device, regime)
    with runtimes.settled(cases):
        return time_comparison(
            make, lineup, effort, clock, rng, on_progress, regime=regime, keep=keep
        )


def dressed(work: Turned, case: Case, rng: random.Random) -> Work:
    """A work as it is timed: replayed from a graph, and with inputs in turn on a warm GPU."""
    work = runtimes.of(case).timed(work)
    return Rotated(work, rng) if rotates(case) else work


def copy_of(case: Case, setting: Setting) -> Copy:
    """Make the plain copy of a case's input, as its comparison has it."""
    x = make_input(case, case.device, setting.seed)
    return Copy(x, setting.before(case), case.threads or setting.threads)


def _doing(case: Case) -> str:
    return f"counting, and {RUNTIMES[case.runtime].verb} {case.label}"


@contextmanager
def torch_state(device: str) -> Iterator[int]:
    """Be on a device, without gradients; put that and the number of threads back afterwards.

    Yields the threads.
    """
    usual = torch.get_num_threads()
    with environment.on_device(device), torch.set_grad_enabled(False):
        try:
            yield usual
        finally:
            torch.set_num_threads(usual)
