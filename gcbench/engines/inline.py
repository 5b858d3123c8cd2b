"""Measure a comparison in this process: count its cases, try them, then time what can be timed."""

import logging
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Tensor

from gcbench import blocks, environment, modules, runtimes, sweep
from gcbench.counting import Subject, count
from gcbench.counting.allocations import allocations
from gcbench.engines.attempts import UNBOUNDED, Bounds, Trying
from gcbench.engines.launching import launched
from gcbench.errors import BlockError, CaseError, CountingError, UsageError, told
from gcbench.records import ComparisonRecord, Effort, Measurement, Role, Status, Timing
from gcbench.spec import ELEMENT_BYTES, Axes, Case, Comparison, CounterName, compare
from gcbench.timing.clocks import Clock, CpuClock, Work
from gcbench.timing.cuda import CudaClock
from gcbench.timing.gpu import TorchGpu
from gcbench.timing.replicates import Lineup, Progress, time_comparison
from gcbench.units import size_text
from gcbench.workload import (
    Copy,
    Prepare,
    Repeated,
    Replayed,
    Rotated,
    Turned,
    Workload,
    cache_flush,
    eagerly,
    make_input,
    make_workload,
)

# whole tracebacks, for who wants to see them: rows have one sentence
LOG = logging.getLogger("gcbench")

OnProgress = Callable[[Progress], None]
OnTrying = Callable[[Trying], None]

# where cases failed late, the others still get this share of the time
LEAST_SHARE = 0.25


@dataclass(frozen=True)
class Setting:
    """What the cases of a comparison share.

    `before` runs before each cold sample; `threads` are those of a case that names none.
    """

    seed: int
    threads: int
    process: int = 0
    before: Prepare | None = None
    counter: CounterName = "auto"
    bounds: Bounds = UNBOUNDED


@dataclass(frozen=True)
class Attempt:
    """What trying a case gave: a measurement, and work to time, never called, where that is ok."""

    measurement: Measurement
    work: Workload | None = None


def measure(
    comparison: Comparison,
    effort: Effort,
    seed: int = 0,
    counter: CounterName = "auto",
    on_progress: OnProgress = lambda progress: None,
    process: int = 0,
    *,
    bounds: Bounds = UNBOUNDED,
    known: Mapping[int, Measurement] = MappingProxyType({}),
    on_trying: OnTrying = lambda trying: None,
) -> ComparisonRecord:
    """Count every case of a comparison and time those that run, side by side.

    `process` is this process's number among those that measure the same comparison: each draws
    orders of its own, and all the same weights and inputs. `known` are cases, by position, whose
    end is known: they are not tried. Every other is tried alone first, and `on_trying` hears of it
    before anything of its block runs, and again before it is called.

    A case that cannot be built or called, or that would not fit in memory, becomes a measurement
    with a status and a reason; the others go on. The global number of threads and gradient mode are
    set while this runs and left as they were.
    """
    cases = comparison.cases
    with _torch_state() as threads, runtimes.session(cases):
        setting = Setting(seed, threads, process, _before_sample(cases[0]), counter, bounds)
        attempts = []
        for position, case in enumerate(cases):
            if position in known:
                attempts.append(Attempt(known[position]))
                continue
            on_progress(Progress(0.0, effort.max_time_s, doing=_doing(case)))
            on_trying(Trying(position))
            attempts.append(
                _try(case, setting, lambda *told, i=position: on_trying(Trying(i, *told)))
            )
        on_trying(Trying(None))
        attempts = _fitting(attempts, comparison.baselines, bounds)
        timing = _time_what_runs(attempts, comparison, effort, setting, on_progress)
    found = tuple(
        attempt.measurement
        if attempts[baseline].work
        else replace(attempt.measurement, flags=(*attempt.measurement.flags, "baseline_failed"))
        for attempt, baseline in zip(attempts, comparison.baselines, strict=True)
    )
    timings = () if timing is None else (timing,)
    return ComparisonRecord(found, comparison.baselines, effort.precision, timings, comparison.pair)


def _time_what_runs(
    attempts: list[Attempt],
    comparison: Comparison,
    effort: Effort,
    setting: Setting,
    on_progress: OnProgress,
) -> Timing | None:
    """Time the attempts that have work; one that fails loses it, and the others start anew."""
    started = time.monotonic()
    while works := {i: attempt.work for i, attempt in enumerate(attempts) if attempt.work}:
        left_s = effort.max_time_s - (time.monotonic() - started)
        left = replace(effort, max_time_s=max(left_s, LEAST_SHARE * effort.max_time_s))
        try:
            return _time(works, comparison.cases, comparison.baselines, left, setting, on_progress)
        except CaseError as failure:
            blamed = _failed(attempts[failure.case].measurement, failure.__cause__)
            attempts[failure.case] = Attempt(blamed)
        works.clear()
        environment.give_back(comparison.cases[0].device)
    return None


def load_all() -> None:
    """Try a small case on the CPU: what is loaded for a first trial is loaded, and no case pays."""
    axes = Axes(channels=8, size=(4, 4), ratio=2)
    [case] = compare([blocks.resolve("gc")], axes, "cpu").cases
    with _torch_state() as threads:
        _try(case, Setting(0, threads), lambda counted, needed: None)


def time_side_by_side(
    cases: Sequence[Case], calls: Sequence[int], effort: Effort, seed: int = 0
) -> ComparisonRecord:
    """Time cases that are known to run against the first of them, and count nothing.

    Each is called so many times in one call: where two cases are the same, the true relative is the
    ratio of their calls.
    """
    baselines = (0,) * len(cases)
    with _torch_state() as threads:
        setting = Setting(seed, threads)
        works: dict[int, Workload | Repeated] = {}
        for position, (case, times) in enumerate(zip(cases, calls, strict=True)):
            work = _workload(case, setting)
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
) -> Timing:
    rng = random.Random(f"order {setting.seed} {setting.process}")
    # the last case of an input comes first here, so that the first one stays
    of_input = {cases[position].input: position for position in sorted(works, reverse=True)}
    copies = {position: _copy(cases[position], setting) for position in of_input.values()}

    def make(role: Role, case: int) -> Work:
        moved = (copies if role == "copy" else works)[case].elsewhere(rng)
        return _dressed(moved, cases[case], rng)

    lineup = Lineup(tuple(works), baselines, tuple(sorted(copies)))
    with runtimes.settled(cases):
        return time_comparison(make, lineup, effort, _clock(cases[0].device), rng, on_progress)


def _dressed(work: Turned, case: Case, rng: random.Random) -> Work:
    """A work as it is timed: replayed from a graph, and with inputs in turn on a warm GPU."""
    if case.runtime == "graph" and isinstance(work, Workload):
        work = Replayed(work)
    return Rotated(work, rng) if _rotates(case) else work


def _rotates(case: Case) -> bool:
    """Whether inputs take turns, so that a GPU's large cache does not hold the next one."""
    return case.device != "cpu" and case.cache == "warm"


def _workload(case: Case, setting: Setting) -> Workload:
    return make_workload(
        modules.build_case(case, setting.seed),
        case,
        case.device,
        setting.seed,
        setting.before,
        runtimes.apply_of(case),
        case.threads or setting.threads,
    )


def _copy(case: Case, setting: Setting) -> Copy:
    x = make_input(case, case.device, setting.seed)
    return Copy(x, setting.before, case.threads or setting.threads)


def _try(case: Case, setting: Setting, on_counted: Callable[[Measurement, int], None]) -> Attempt:
    """Count a case, see whether it can run here, and call it."""
    why_not = sweep.why_not(case)
    if why_not:
        return Attempt(Measurement(case, "skipped", why_not))
    try:
        meta = modules.build_meta(case)
    except UsageError as error:
        return Attempt(Measurement(case, "error", str(error)))
    subject = Subject(case, meta, lambda: modules.build_case(case, setting.seed), setting.counter)
    cells, reasons = count(subject)
    flags = (*modules.flags(meta), *subject.flags)
    counted = Measurement(case, "ok", "; ".join(reasons) or None, cells, flags)
    why_not = runtimes.why_not(case)
    if why_not:
        return Attempt(replace(counted, status="skipped", reason=why_not))
    needed = _needed_bytes(subject)
    too_large = setting.bounds.why_skip(case, needed)
    if too_large:
        return Attempt(replace(counted, status="skipped", reason=too_large))
    on_counted(counted, needed)
    shortage = setting.bounds.shortage(case, needed)
    if shortage:
        return Attempt(replace(counted, status="oom", reason=shortage))
    try:
        return _tried(counted, setting)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a block may raise anything; the others go on
        failed = _failed(counted, error)
    # only here is the traceback gone, and with it what its frames held
    environment.give_back(case.device)
    return Attempt(failed)


def _tried(counted: Measurement, setting: Setting) -> Attempt:
    work = _workload(counted.case, setting)
    return Attempt(_called(work, counted, setting), work)


def _called(pristine: Workload, counted: Measurement, setting: Setting) -> Measurement:
    """Call a case until nothing is left to be done for the first time; measure its memory.

    Copies are called, never `pristine` itself: what a block keeps of a call may not be copyable.
    """
    case, rng = counted.case, random.Random(setting.seed)
    work = pristine.elsewhere(rng)
    if case.network is None:
        _require_block(work, case)
    else:
        eagerly(work.module, work.x)
    cells, flags = dict(counted.metrics), counted.flags
    graphs, first_ns = runtimes.graphs(case), _call_ns(work)
    second_ns = _call_ns(work)
    if case.runtime == "compile":
        cells["compile_ms"] = (first_ns - second_ns) / 1e6
        flags += runtimes.compiled_flags(runtimes.graphs(case) - graphs)
    cells |= allocations(work)
    # what a copy at another place does for the first time is done here too
    work = pristine.elsewhere(rng)
    work.settle()
    measured = replace(counted, metrics=cells, flags=flags)
    clock = _clock(case.device)
    if isinstance(clock, CudaClock):
        measured = launched(work, measured, clock, rng)
        pristine.syncs = work.syncs
    return measured


def _doing(case: Case) -> str:
    return f"{'compiling' if case.runtime == 'compile' else 'trying'} {case.label}"


def _call_ns(work: Workload) -> int:
    start_ns = time.perf_counter_ns()
    work.settle()
    return time.perf_counter_ns() - start_ns


def _failed(measurement: Measurement, error: BaseException | None) -> Measurement:
    status: Status = "oom" if _is_oom(error) else "error"
    case = measurement.case
    LOG.debug("%s failed", case.label, exc_info=error)
    known = blocks.remark(case.spec) if case.network is None and status == "error" else ""
    return replace(measurement, status=status, reason=told(error) + known if error else None)


def _fitting(
    attempts: Sequence[Attempt], baselines: Sequence[int], bounds: Bounds
) -> list[Attempt]:
    """Leave out the largest cases until all arms of the others fit in memory together."""
    kept = list(attempts)
    while any(attempt.work for attempt in kept):
        working = {i: attempt for i, attempt in enumerate(kept) if attempt.work}
        # every case has an arm, every baseline one more, and each is called with the others alive
        held = {i: _held_bytes(attempt) for i, attempt in working.items()}
        needed = sum(held[i] * (2 if baselines[i] == i else 1) for i in working)
        needed += max(_activation_bytes(attempt) for attempt in working.values())
        needed *= 2 if _rotates(kept[0].measurement.case) else 1
        room = bounds.room(kept[0].measurement.case.device)
        if room is None or needed <= room[0]:
            break
        largest = max(working, key=lambda i: held[i] + _activation_bytes(kept[i]))
        reason = (
            f"all arms of the comparison need {size_text(needed)} at once, and "
            f"{room[1]}: compare fewer blocks"
        )
        crowded = kept[largest].measurement
        flags = (*crowded.flags, "crowded")
        kept[largest] = Attempt(replace(crowded, status="oom", reason=reason, flags=flags))
    return kept


def _held_bytes(attempt: Attempt) -> int:
    return _measured(attempt, "peak_memory_bytes") - _activation_bytes(attempt)


def _activation_bytes(attempt: Attempt) -> int:
    return _measured(attempt, "activation_memory_bytes")


def _measured(attempt: Attempt, column: str) -> int:
    cell = attempt.measurement.metrics[column]
    assert isinstance(cell, int)
    return cell


def _needed_bytes(subject: Subject) -> int:
    """The memory that a call is predicted to take, or what it takes in any case."""
    try:
        return subject.call.peak_bytes
    except CountingError:  # no prediction: weights and input are needed in any case
        element = ELEMENT_BYTES[subject.case.dtype]
        weights = sum(parameter.numel() for parameter in subject.meta.parameters())
        return element * (weights + math.prod(subject.case.shape))


def _require_block(work: Workload, case: Case) -> None:
    """Call a block. Raises BlockError where it does not map (B, C, H, W) to one (B, C, H, W)."""
    output = eagerly(work.module, work.x)
    _require_like_input(output, work, case)
    first = _sampled(output) if case.mode == "infer" else None
    del output
    work.module.eval()
    if first is None:
        first = _sampled(eagerly(work.module, work.x))
    second = _sampled(eagerly(work.module, work.x))
    work.module.train(case.mode != "infer")
    # a device may add in any order
    close = torch.finfo(work.x.dtype).eps ** 0.5
    if not torch.allclose(first, second, rtol=close, atol=close, equal_nan=True):
        furthest = (first - second).abs().max().item()
        raise BlockError(
            f"it is not deterministic in eval: two calls on one input differ by up to "
            f"{furthest:.2g}{blocks.source_of(work.module, case.spec)}"
        )


def _sampled(output: Tensor) -> Tensor:
    """Some numbers of an output (B, C, H, W), so that two outputs are never alive at once."""
    steps = (slice(None, None, -(-side // 16)) for side in output.shape)
    return output[tuple(steps)].double()


def _require_like_input(output: object, work: Workload, case: Case) -> None:
    where, x = blocks.source_of(work.module, case.spec), work.x
    if not isinstance(output, Tensor):
        raise BlockError(f"the output is a {type(output).__name__}, not a tensor{where}")
    if tuple(output.shape) != case.shape:
        raise BlockError(
            f"the output has shape {tuple(output.shape)}, the input {case.shape}{where}"
        )
    if (output.dtype, output.device) != (x.dtype, x.device):
        raise BlockError(
            f"the output is {output.dtype} on {output.device}, "
            f"the input {x.dtype} on {x.device}{where}"
        )


def _is_oom(error: BaseException | None) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        words in str(error) for words in ("can't allocate memory", "bad_alloc")
    )


def _clock(device: str) -> Clock:
    return CpuClock() if device == "cpu" else CudaClock(TorchGpu(device))


def _before_sample(case: Case) -> Prepare | None:
    if case.cache == "warm":
        return None
    return cache_flush(environment.require_cache_bytes(case.device), case.device)


@contextmanager
def _torch_state() -> Iterator[int]:
    """Put the number of threads and the gradient mode back afterwards; yields the threads."""
    usual = torch.get_num_threads()
    with torch.set_grad_enabled(False):
        try:
            yield usual
        finally:
            torch.set_num_threads(usual)
