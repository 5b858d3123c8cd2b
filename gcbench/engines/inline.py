"""Measure a comparison in this process: count its cases, try them, then time what can be timed."""

import math
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gcbench import blocks, environment
from gcbench.counting import Subject, count
from gcbench.errors import CaseError, CountingError, UsageError, told
from gcbench.records import ComparisonRecord, Effort, Measurement, Role, Status, Timing
from gcbench.spec import ELEMENT_BYTES, Case, Comparison, CounterName
from gcbench.timing.clocks import Clock, CpuClock, CudaClock, Work
from gcbench.timing.replicates import Progress, time_comparison
from gcbench.units import size_text
from gcbench.workload import Copy, Prepare, Workload, cache_flush, make_input, make_workload


@dataclass(frozen=True)
class Setting:
    """What the cases of a comparison share; `before` runs before each cold sample."""

    seed: int
    counter: CounterName
    before: Prepare | None


def measure(
    comparison: Comparison,
    effort: Effort,
    seed: int = 0,
    counter: CounterName = "auto",
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> ComparisonRecord:
    """Count every case of a comparison and time those that run, side by side.

    A case that cannot be built or called, or that would not fit in memory, becomes a measurement
    with a status and a reason; the others go on. The global number of threads and gradient mode are
    set while this runs and left as they were.
    """
    first = comparison.cases[0]
    baseline = comparison.baseline
    with _torch_state(first.threads):
        setting = Setting(seed, counter, _before_sample(first))
        tried = [_try(case, setting) for case in comparison.cases]
        found = tuple(measurement for measurement, _ in tried)
        works = {i: work for i, (_, work) in enumerate(tried) if work is not None}
        timing = None
        while works and timing is None:
            try:
                timing = _time(works, first, baseline, effort, setting, on_progress)
            except CaseError as failure:
                if failure.case is None:
                    raise
                # it is blamed, and the others start anew without it
                found = tuple(
                    _failed(measurement, failure.__cause__) if i == failure.case else measurement
                    for i, measurement in enumerate(found)
                )
                works = {i: work for i, work in works.items() if i != failure.case}
    if baseline not in works:
        found = tuple(replace(m, flags=(*m.flags, "baseline_failed")) for m in found)
    return ComparisonRecord(found, baseline, effort.precision, timing)


def _time(
    works: Mapping[int, Workload],
    first: Case,
    baseline: int,
    effort: Effort,
    setting: Setting,
    on_progress: Callable[[Progress], None],
) -> Timing:
    copy = Copy(make_input(first, first.device, setting.seed), setting.before)
    rng = random.Random(setting.seed)

    def make(role: Role, case: int | None) -> Work:
        return (copy if case is None else works[case]).elsewhere(rng)

    clock = _clock(first.device)
    return time_comparison(make, list(works), baseline, effort, clock, rng, on_progress)


def _failed(measurement: Measurement, error: BaseException | None) -> Measurement:
    status: Status = "oom" if _is_oom(error) else "error"
    return replace(measurement, status=status, reason=told(error) if error else None)


def _try(case: Case, setting: Setting) -> tuple[Measurement, Workload | None]:
    """Count a case, see whether it fits, and call it once: a measurement, and work to time."""
    try:
        meta = blocks.build_meta(case)
    except UsageError as error:
        return Measurement(case, "error", str(error)), None
    subject = Subject(case, meta, lambda: blocks.build_case(case, setting.seed), setting.counter)
    cells, reasons = count(subject)
    flags = (*blocks.flags(meta), *subject.flags)

    def outcome(status: Status, reason: str | None) -> Measurement:
        return Measurement(case, status, reason, cells, flags)

    shortage = _shortage(subject)
    if shortage:
        return outcome("oom", shortage), None
    try:
        work = make_workload(subject.build(), case, case.device, setting.seed, setting.before)
        _require_like_input(work.module(work.x), work.x, case)
        work.prepare()
        work.call()
        work.elsewhere(random.Random(setting.seed))
    except (Exception, SystemExit) as error:  # a block may raise anything; the others go on
        return _failed(outcome("ok", None), error), None
    return outcome("ok", "; ".join(reasons) or None), work


def _shortage(subject: Subject) -> str | None:
    """Say what the case would need, where that is more than the device has free."""
    free = environment.free_bytes(subject.case.device)
    try:
        needed = subject.call.peak_bytes
    except CountingError:  # no prediction: weights and input are needed in any case
        element = ELEMENT_BYTES[subject.case.dtype]
        weights = sum(parameter.numel() for parameter in subject.meta.parameters())
        needed = element * (weights + math.prod(subject.case.shape))
    if free is None or needed <= free:
        return None
    device = subject.case.device
    return f"needs {size_text(needed)}, and {size_text(free)} are free on {device}"


def _require_like_input(output: object, x: Tensor, case: Case) -> None:
    if not isinstance(output, Tensor):
        raise TypeError(f"the output is a {type(output).__name__}, not a tensor")
    if tuple(output.shape) != case.shape:
        raise ValueError(f"the output has shape {tuple(output.shape)}, the input {case.shape}")
    if (output.dtype, output.device) != (x.dtype, x.device):
        raise TypeError(
            f"the output is {output.dtype} on {output.device}, the input {x.dtype} on {x.device}"
        )


def _is_oom(error: BaseException | None) -> bool:
    return isinstance(
        error, torch.OutOfMemoryError | MemoryError
    ) or "can't allocate memory" in str(error)


def _clock(device: str) -> Clock:
    return CpuClock() if device == "cpu" else CudaClock(device)


def _before_sample(case: Case) -> Prepare | None:
    if case.cache == "warm":
        return None
    size_bytes = environment.last_level_cache_bytes(case.device)
    if size_bytes is None:
        raise UsageError(f"--cache cold: the size of the last cache of {case.device} is unknown")
    return cache_flush(size_bytes, case.device)


@contextmanager
def _torch_state(threads: int | None) -> Iterator[None]:
    """Set the number of threads, and put it and the gradient mode back afterwards."""
    usual = torch.get_num_threads()
    with torch.set_grad_enabled(False):
        torch.set_num_threads(threads or usual)
        try:
            yield
        finally:
            torch.set_num_threads(usual)
