"""Measure a comparison in this process: count its cases, try them, then time what can be timed."""

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

import torch

from gcbench import blocks, environment, heap, runtimes
from gcbench.engines.attempts import ProcessTaintedError, TaintedError, Trying
from gcbench.engines.jobs import SILENT, Job, Listener, call_here, record_of
from gcbench.engines.launching import profiled, spent
from gcbench.engines.trying import (
    Attempt,
    Setting,
    clock_of,
    failed,
    fitting,
    flush_for,
    heap_bytes,
    require_answering,
    rotates,
    try_case,
    workload,
)
from gcbench.errors import CaseError
from gcbench.records import ComparisonRecord, Effort, Measurement, Role, Timing
from gcbench.spec import Axes, Case, compare
from gcbench.timing.clocks import Work
from gcbench.timing.cuda import CudaClock
from gcbench.timing.replicates import Lineup, Progress, time_comparison
from gcbench.timing.standing import Standing, standings
from gcbench.workload import Copy, Repeated, Replayed, Rotated, Turned, Workload, make_input

OnProgress = Callable[[Progress], None]

# where cases failed late, the others still get this share of the time
LEAST_SHARE = 0.25


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
    cases, baselines = job.comparison.cases, job.comparison.baselines
    with _torch_state(cases[0].device) as threads, runtimes.session(cases):
        setting = _setting(job, threads)
        attempts = [_attempt(job, position, setting, listener) for position in range(len(cases))]
        listener.on_trying(Trying(None))
        attempts = fitting(attempts, baselines, job.bounds)
        _tell_of_failures(attempts, job, listener)
        alone = job.rivals_only and len(cases) > 1 and not _rivals(attempts, baselines)
        timing = None if alone else _time_what_runs(attempts, job, setting, listener)
        if timing is None or timing.stopped_by != "interrupt":
            attempts = [_spent(attempt, setting) for attempt in attempts]
    found = tuple(
        attempt.measurement
        if attempts[baseline].work
        else replace(attempt.measurement, flags=(*attempt.measurement.flags, "baseline_failed"))
        for attempt, baseline in zip(attempts, baselines, strict=True)
    )
    timings = () if timing is None else (timing,)
    return record_of(job.comparison, found, job.effort, timings)


def _tell_of_failures(attempts: Sequence[Attempt], job: Job, listener: Listener) -> None:
    """Say before the timing which cases it goes without, where it was not said yet."""
    for position, attempt in enumerate(attempts):
        found = attempt.measurement
        if attempt.work is None and position not in job.known:
            news = f"{found.case.label}: {found.status}, {found.reason}"
            listener.on_progress(Progress(0.0, job.effort.max_time_s, news=news))


def _rivals(attempts: Sequence[Attempt], baselines: Sequence[int]) -> bool:
    """Whether some case has work, and so has the one that it is divided by."""
    return any(
        attempt.work and attempts[baseline].work and baseline != position
        for position, (attempt, baseline) in enumerate(zip(attempts, baselines, strict=True))
    )


def _setting(job: Job, threads: int) -> Setting:
    return Setting(
        job.seed,
        threads,
        job.process,
        flush_for(job.comparison.cases),
        job.counter,
        job.bounds,
        job.allow_nondeterministic,
    )


def _attempt(job: Job, position: int, setting: Setting, listener: Listener) -> Attempt:
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
    """Time the attempts that have work; one that fails loses it, and the others start anew."""
    cases, baselines, effort = job.comparison.cases, job.comparison.baselines, job.effort
    started = time.monotonic()
    while works := {i: attempt.work for i, attempt in enumerate(attempts) if attempt.work}:
        left_s = effort.max_time_s - (time.monotonic() - started)
        left = replace(effort, max_time_s=max(left_s, LEAST_SHARE * effort.max_time_s))
        so_far = SoFar(job, listener.on_progress)
        heap.touch(heap_bytes([attempt for attempt in attempts if attempt.work], job.bounds))
        try:
            return _time(works, cases, baselines, left, setting, so_far.heard, so_far.keep)
        except KeyboardInterrupt:
            if so_far.timing is None or not job.partial:
                raise
            return replace(so_far.timing, stopped_by="interrupt")
        except CaseError as failure:
            guilty = failure.case
            attempts[guilty] = Attempt(failed(attempts[guilty].measurement, failure.__cause__))
        works.clear()
        try:
            require_answering(attempts[guilty].measurement)
        except TaintedError as error:
            raise ProcessTaintedError.of(guilty, error) from error
    return None


def _spent(attempt: Attempt, setting: Setting) -> Attempt:
    """Add what is looked at after the timing, where the device is one that tells of it."""
    case, rng = replace(attempt.measurement.case, cache="warm"), random.Random(setting.seed)
    if attempt.work is None or case.device == "cpu":
        return attempt
    clock = clock_of(case.device)
    assert isinstance(clock, CudaClock)
    # what was timed is not lost to what comes after it
    with suppress(Exception):
        work = _dressed(attempt.work.elsewhere(rng).warmed(), case, rng)
        return replace(attempt, measurement=spent(work, attempt.measurement, clock))
    return attempt


def _profiled(job: Job) -> ComparisonRecord:
    """Look at what the cases of a job launch; one that cannot be looked at stays as it is known."""
    cases, rng = job.comparison.cases, random.Random(job.seed)
    found = dict(job.known)
    with _torch_state(cases[0].device) as threads, runtimes.session(cases):
        setting = _setting(job, threads)
        clock = clock_of(cases[0].device)
        assert isinstance(clock, CudaClock)
        for position, measured in job.known.items():
            if measured.status == "ok":
                # a driver may refuse to be profiled, and a block may raise anything
                with suppress(Exception):
                    work = _dressed(workload(measured.case, setting), measured.case, rng)
                    found[position] = profiled(work, measured, clock)
    ordered = tuple(found[position] for position in range(len(cases)))
    return ComparisonRecord(ordered, job.comparison.baselines, job.effort.precision, ())


def load_all() -> None:
    """Try a small case on the CPU: what is loaded for a first trial is loaded, and no case pays."""
    axes = Axes(channels=8, size=(4, 4), ratio=2)
    [case] = compare([blocks.resolve("gc")], axes, "cpu").cases
    with _torch_state(case.device) as threads:
        try_case(case, Setting(0, threads), lambda counted: None)


def time_side_by_side(
    cases: Sequence[Case], calls: Sequence[int], effort: Effort, seed: int = 0
) -> ComparisonRecord:
    """Time cases that are known to run against the first of them, and count nothing.

    Each is called so many times in one call: where two cases are the same, the true relative is the
    ratio of their calls.
    """
    baselines = (0,) * len(cases)
    with _torch_state(cases[0].device) as threads:
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
    works: Mapping[int, Workload | Repeated],
    cases: Sequence[Case],
    baselines: tuple[int, ...],
    effort: Effort,
    setting: Setting,
    on_progress: OnProgress = lambda progress: None,
    keep: Callable[[Timing], None] = lambda timing: None,
) -> Timing:
    rng = random.Random(f"order {setting.seed} {setting.process}")
    # the last case of an input comes first here, so that the first one stays
    of_input = {cases[position].input: position for position in sorted(works, reverse=True)}
    copies = {position: _copy(cases[position], setting) for position in of_input.values()}

    def make(role: Role, case: int) -> Work:
        moved = (copies if role == "copy" else works)[case].elsewhere(rng)
        return _dressed(moved, cases[case], rng)

    lineup = Lineup(tuple(works), baselines, tuple(sorted(copies)))
    regime = cases[0].regime
    clock = clock_of(cases[0].device, regime)
    with runtimes.settled(cases):
        return time_comparison(
            make, lineup, effort, clock, rng, on_progress, regime=regime, keep=keep
        )


def _dressed(work: Turned, case: Case, rng: random.Random) -> Work:
    """A work as it is timed: replayed from a graph, and with inputs in turn on a warm GPU."""
    if case.runtime == "graph" and isinstance(work, Workload):
        work = Replayed(work)
    return Rotated(work, rng) if rotates(case) else work


def _copy(case: Case, setting: Setting) -> Copy:
    x = make_input(case, case.device, setting.seed)
    return Copy(x, setting.before(case), case.threads or setting.threads)


class SoFar:
    """What was timed of a comparison so far, and how far that is, for who wants to know."""

    # working standings out takes some milliseconds, of the time that is there for timing
    EACH_S = 0.5

    def __init__(self, job: Job, on_progress: OnProgress) -> None:
        """Begin with nothing."""
        self.timing: Timing | None = None
        self._job, self._on_progress = job, on_progress
        self._found: tuple[Standing, ...] = ()
        self._last = -math.inf

    def keep(self, timing: Timing) -> None:
        """Take what there is by now."""
        self.timing = timing

    def heard(self, step: Progress) -> None:
        """Hear of a step, and pass it on, with standings where the job wants them."""
        now = time.monotonic()
        if self._job.standings and self.timing and now - self._last >= self.EACH_S:
            self._last, comparison = now, self._job.comparison
            labels = [case.label for case in comparison.cases]
            precision = self._job.effort.precision
            self._found = standings(
                self.timing, comparison.baselines, labels, step.elapsed_s, precision
            )
        self._on_progress(replace(step, standings=self._found))


def _doing(case: Case) -> str:
    return f"counting, and {'compiling' if case.runtime == 'compile' else 'trying'} {case.label}"


@contextmanager
def _torch_state(device: str) -> Iterator[int]:
    """Be on a device, without gradients; put that and the number of threads back afterwards.

    Yields the threads.
    """
    usual = torch.get_num_threads()
    with environment.on_device(device), torch.set_grad_enabled(False):
        try:
            yield usual
        finally:
            torch.set_num_threads(usual)
