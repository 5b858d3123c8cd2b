"""Try a case alone: count it, see whether it fits, build it, call it, measure its memory."""

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from gcbench import blocks
from gcbench.engines.attempts import UNBOUNDED, Bounds, TaintedError, rotates
from gcbench.engines.belongings import Belongings
from gcbench.engines.counted import as_called, foretold, is_counted
from gcbench.engines.deploying import deployed, without_memory
from gcbench.engines.jobs import Job
from gcbench.engines.launching import launched
from gcbench.errors import BlockError, UsageError, message_of, safely, told
from gcbench.measure import environment, heap, modules, runtimes
from gcbench.measure.counting.allocations import allocations
from gcbench.measure.runtimes.foreign import Deployment, ForeignRuntime
from gcbench.measure.timing.clocks import Clock, CpuClock
from gcbench.measure.timing.cuda import CudaClock
from gcbench.measure.timing.gpu import TorchGpu
from gcbench.measure.workload import Prepare, Workload, cache_flush, eagerly, make_workload
from gcbench.records import Measurement, Status
from gcbench.spec import grid
from gcbench.spec.cases import Case, CounterName, Regime

# what others than torch's allocators say: a CPU's, C++, cuBLAS for its work space, the driver
_OUT_OF_MEMORY = (
    *("can't allocate memory", "bad_alloc"),
    *("CUBLAS_STATUS_ALLOC_FAILED", "CUDA error: out of memory"),
)
# whole tracebacks, for who wants to see them: rows have one sentence
LOG = logging.getLogger("gcbench")


@dataclass(frozen=True)
class Setting:
    """What the cases of a comparison share.

    `flush` runs before each sample of a cold case; `threads` are those of a case that names none;
    with `allow_nondeterministic` a block need not give the same twice.
    """

    seed: int
    threads: int
    process: int = 0
    flush: Prepare | None = None
    counter: CounterName = "auto"
    bounds: Bounds = UNBOUNDED
    allow_nondeterministic: bool = False

    def before(self, case: Case) -> Prepare | None:
        """What runs before each sample of a case."""
        return self.flush if case.cache == "cold" else None


@dataclass(frozen=True)
class Attempt:
    """What trying a case gave: a measurement, and work to time, never called, where that is ok."""

    measurement: Measurement
    work: Workload | Deployment | None = None


def try_case(
    case: Case,
    setting: Setting,
    on_counted: Callable[[Measurement], None],
    graphless: str | None = None,
) -> Attempt:
    """Count a case, see whether it can run here, and call it.

    `graphless` says why no CUDA graph can hold it, where that is known. Raises TaintedError where
    this process cannot go on measuring.
    """
    why_not = grid.why_not(case)
    if why_not:
        return Attempt(Measurement(case, "skipped", why_not))
    try:
        counted = foretold(case, setting.seed, setting.counter, witnesses=True)
    except UsageError as error:
        return Attempt(Measurement(case, "error", str(error)))
    if isinstance(runtimes.of(case), ForeignRuntime):
        counted = without_memory(counted)
    why_not = runtimes.why_not(case) or heap.why_not(case.heap)
    if why_not:
        return Attempt(replace(counted, status="skipped", reason=why_not))
    needed = counted.needed_bytes or 0
    too_large = setting.bounds.why_skip(case, needed)
    if too_large:
        return Attempt(replace(counted, status="skipped", reason=too_large))
    on_counted(counted)
    shortage = setting.bounds.shortage(case, needed)
    if shortage:
        return Attempt(replace(counted, status="oom", reason=shortage))
    # preparing a call sets them, which is no deed of the block's
    torch.set_num_threads(case.threads or setting.threads)
    belongings = None if modules.is_known(case) else Belongings()
    try:
        attempt = _tried(counted, setting, graphless, belongings)
    except (KeyboardInterrupt, TaintedError):
        raise
    except UsageError as error:
        attempt = Attempt(replace(counted, status="error", reason=str(error)))
    except BaseException as error:  # a block may raise anything; the others go on
        attempt = Attempt(failed(counted, error))
    if belongings:
        attempt = _set_back(attempt, belongings)
    if attempt.work is None:
        # only here is the traceback gone, and with it what its frames held
        require_answering(attempt.measurement)
    return attempt


def _set_back(attempt: Attempt, belongings: Belongings) -> Attempt:
    """Set back what a block's code changed of its process, and say of it what that was."""
    belongings.set_back()
    if not belongings.words:
        return attempt
    measured = attempt.measurement
    where = "" if measured.case.network else blocks.made_at(measured.case.spec)
    words = f"{belongings.words}{where}, which was set back"
    reason = "; ".join(filter(None, (measured.reason, words)))
    flags = (*measured.flags, "sets_back")
    return replace(attempt, measurement=replace(measured, reason=reason, flags=flags))


def require_answering(measured: Measurement) -> None:
    """Give the memory of a case that failed back. Raises TaintedError where its device is lost."""
    if not environment.give_back(measured.case.device):
        raise TaintedError("the device no longer answers", measured)


def _tried(
    counted: Measurement, setting: Setting, graphless: str | None, belongings: Belongings | None
) -> Attempt:
    work = workload(counted.case, setting)
    if belongings:
        # preparing a call would set the threads, and hide that they were changed
        belongings.set_back()
    if not (modules.is_known(counted.case) and is_counted(counted)):
        counted = _as_called(work, counted, setting)
    runtime = runtimes.of(counted.case)
    if isinstance(runtime, ForeignRuntime):
        return _deployed(runtime, work, counted, setting)
    return Attempt(_called(work, counted, setting, graphless), work)


def _deployed(
    runtime: ForeignRuntime, pristine: Workload, counted: Measurement, setting: Setting
) -> Attempt:
    """Call a case as it is written, then have it exported and loaded; see `deployed`."""
    case = counted.case
    special = _special(pristine.elsewhere(random.Random(setting.seed)), case, setting)
    known = replace(without_memory(counted), flags=(*counted.flags, *special))
    threads, before = case.threads or setting.threads, setting.before(case)
    return Attempt(*deployed(runtime, pristine, known, setting.seed, threads, before))


def _as_called(pristine: Workload, known: Measurement, setting: Setting) -> Measurement:
    """What is counted of a case as it runs; what was known without that, where it is not."""
    found = as_called(pristine, known.case, setting.seed, setting.counter, witnesses=True)
    found = replace(found, needed_bytes=known.needed_bytes)
    if is_counted(known) and not is_counted(found):
        return replace(known, reason=found.reason)
    return found


def _called(
    pristine: Workload, counted: Measurement, setting: Setting, graphless: str | None
) -> Measurement:
    """Call a case until nothing is left to be done for the first time; measure its memory.

    Copies are called, never `pristine` itself: what a block keeps of a call may not be copyable.
    """
    case, rng = counted.case, random.Random(setting.seed)
    work = pristine.elsewhere(rng)
    # eval() may fold weights for good, and training is not of what that leaves
    alone = case.network is None and case.mode != "infer"
    special = _special(pristine.elsewhere(rng) if alone else work, case, setting)
    cells, flags = dict(counted.metrics), (*counted.flags, *special)
    begun = runtimes.of(case).begun(partial(_call_ns, work))
    cells, flags = cells | begun.cells, flags + begun.flags
    cells |= allocations(work, pristine)
    # what a copy at another place does for the first time is done here too
    work = pristine.elsewhere(rng)
    work.settle()
    measured = replace(counted, metrics=cells, flags=flags)
    clock = clock_of(case.device)
    if isinstance(clock, CudaClock):
        measured = launched(work, measured, clock, rng, rotates(case), graphless)
        pristine.queueing = work.queueing
    return measured


def _special(work: Workload, case: Case, setting: Setting) -> tuple[str, ...]:
    """Call a case as it is written; returns what is special about its outputs, as flags."""
    if case.network is None:
        return _require_block(work, case, setting.allow_nondeterministic)
    return _finite_flags(eagerly(work.module, work.x))


def _call_ns(work: Workload) -> int:
    start_ns = time.perf_counter_ns()
    work.settle()
    return time.perf_counter_ns() - start_ns


def failed(measurement: Measurement, error: BaseException | None) -> Measurement:
    """What a case is that raised: out of memory, or an error, with what was raised in words."""
    status: Status = "oom" if _is_oom(error) else "error"
    case = measurement.case
    safely(lambda: LOG.debug("%s failed", case.label, exc_info=error), None)
    known = blocks.remark(case.spec) if case.network is None and status == "error" else ""
    return replace(measurement, status=status, reason=told(error) + known if error else None)


def _require_block(work: Workload, case: Case, any_output: bool) -> tuple[str, ...]:
    """Call a block; returns what is special about its outputs, as flags.

    Raises BlockError where it does not map (B, C, H, W) to one (B, C, H, W), or not always to the
    same, unless it may give `any_output`.
    """
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
    flags = _finite_flags(first)
    if torch.allclose(first, second, rtol=close, atol=close, equal_nan=True):
        return flags
    if any_output:
        return (*flags, "nondeterministic")
    furthest = (first - second).abs().max().item()
    raise BlockError(
        f"it is not deterministic in eval: two calls on one input differ by up to {furthest:.2g} "
        f"(--allow-nondeterministic times it){blocks.source_of(work.module, case.spec)}"
    )


def _finite_flags(output: object) -> tuple[str, ...]:
    """Flag an output that holds what is no number: the time of such a call may be another."""
    whole = not isinstance(output, Tensor) or bool(torch.isfinite(output).all())
    return () if whole else ("not_finite",)


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
    if error is None:
        return False
    kinds = (torch.OutOfMemoryError, MemoryError)
    return issubclass(type(error), kinds) or any(
        words in message_of(error) for words in _OUT_OF_MEMORY
    )


def clock_of(device: str, regime: Regime = "burst") -> Clock:
    """The clock of a device."""
    if device == "cpu":
        return CpuClock()
    return CudaClock(TorchGpu(device), regime=regime)


def flush_for(cases: Sequence[Case]) -> Prepare | None:
    """Make what flushes the cache of a comparison's device, where one of its cases is cold."""
    if all(case.cache == "warm" for case in cases):
        return None
    device = cases[0].device
    return cache_flush(environment.require_cache_bytes(device), device)


def workload(case: Case, setting: Setting) -> Workload:
    """Make a case runnable as its comparison has it."""
    return make_workload(
        modules.build_case(case, setting.seed),
        case,
        case.device,
        setting.seed,
        setting.before(case),
        runtimes.of(case).apply(),
        case.threads or setting.threads,
    )


def setting_of(job: Job, threads: int) -> Setting:
    """What the cases of a job share, where torch has so many threads."""
    return Setting(
        job.seed,
        threads,
        job.process,
        flush_for(job.comparison.cases),
        job.counter,
        job.bounds,
        job.allow_nondeterministic,
    )
