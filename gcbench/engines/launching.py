"""What a case does on a GPU beside its memory: how it is launched, what it launches and uses."""

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from gcbench.engines.attempts import TaintedError
from gcbench.errors import told
from gcbench.measure import runtimes
from gcbench.measure.timing import launch
from gcbench.measure.timing.clocks import Work
from gcbench.measure.timing.cuda import CudaClock
from gcbench.measure.timing.gpu import Kernel
from gcbench.measure.timing.launch import device_us, host_us
from gcbench.measure.workload import Replayed, Rotated, Workload
from gcbench.records import Cell, Measurement

# kernels that are named, those that take longest first, each with so much of its name
TOP_KERNELS, LONGEST_NAME = 5, 72
# what names of kernels begin with that says nothing of them
_NOISE = re.compile(r"^(void |std::enable_if<.*?>::type )|at::native::|\(anonymous namespace\)::")


def launched(
    work: Workload,
    measured: Measurement,
    clock: CudaClock,
    rng: random.Random,
    rotates: bool,
    graphless: str | None,
) -> Measurement:
    """Add the time that the host takes to enqueue a call, and that of replaying it from a graph.

    `graphless` says why no graph can hold the case, where that is known. Raises TaintedError where
    it is found out: a capture that breaks leaves a process unfit to measure in. What a call does to
    a queue is set on `work`; one that waits for the device inside is flagged `syncs_inside`.
    """
    case = measured.case
    cells, flags, reason = dict(measured.metrics), measured.flags, measured.reason
    work.queueing = launch.queueing(clock, work)
    if work.queueing == "syncs":
        flags += ("syncs_inside",)
    if not runtimes.of(case).replays:
        cells["host_us"] = host_us(clock, work)
    if graphless is not None:
        reason = "; ".join(filter(None, (reason, graphless)))
    # a backward pass alone has no graph of its own, and one that synchronises cannot be recorded
    elif case.mode != "backward" and work.queueing != "syncs":
        replayed = _replayed(work.elsewhere(rng), measured, rng, rotates)
        replayed.settle()
        cells["graph_us"] = device_us(clock, replayed)
    return replace(measured, metrics=cells, flags=flags, reason=reason)


def _replayed(
    work: Workload, measured: Measurement, rng: random.Random, rotates: bool
) -> Replayed | Rotated:
    """Record a call, and one on another input where inputs take turns in the latency too."""
    try:
        replayed = Replayed(work)
        return Rotated(replayed, rng) if rotates else replayed
    except Exception as error:  # recording runs the block's own code, which may raise anything
        reason = f"no CUDA graph could be recorded: {told(error)}"
        lost = runtimes.of(measured.case).replays
        row = replace(measured, status="error", reason=reason) if lost else None
        raise TaintedError(reason, row) from error


def spent(work: Work, measured: Measurement, clock: CudaClock) -> Measurement:
    """Add the energy that a call takes. It comes after the timing, since heat stays in the part.

    Nothing of a backward pass alone: what prepares it would be in it. So would a flush of the
    cache, so `work` is to be a warm one.
    """
    if measured.case.mode == "backward":
        return measured
    cells = {**measured.metrics, "energy_mj": launch.energy_mj(clock, work)}
    return replace(measured, metrics=cells)


def profiled(work: Work, measured: Measurement, clock: CudaClock) -> Measurement:
    """Add what a call launches. The profiler stays loaded: calls are launched more slowly then."""
    with clock.gpu.current():
        # what only a first call launches
        work.settle()
        work.prepare()
        kernels = clock.gpu.kernels(work.call)
    cells = {"kernels_per_call": len(kernels), "top_kernels": top_text(kernels)}
    return replace(measured, metrics=measured.metrics | cells)


def top_text(kernels: Sequence[Kernel]) -> Cell:
    """Name the kernels that take longest, with their number and microseconds.

    >>> top_text([Kernel("gemm", 9_000.0), Kernel("add", 1_500.0), Kernel("add", 2_500.0)])
    'gemm 9.0 us; 2 add 4.0 us'
    """
    numbers = Counter(kernel.name for kernel in kernels)
    took_ns = Counter[str]()
    for kernel in kernels:
        took_ns[kernel.name] += round(kernel.device_ns)
    return "; ".join(
        f"{'' if numbers[name] == 1 else f'{numbers[name]} '}{_short(name)} {ns / 1e3:.1f} us"
        for name, ns in took_ns.most_common(TOP_KERNELS)
    )


def _short(name: str) -> str:
    plain = _NOISE.sub("", name)
    return plain if len(plain) <= LONGEST_NAME else f"{plain[: LONGEST_NAME - 3]}..."
