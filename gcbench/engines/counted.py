"""Cases counted: without numbers where that is enough, else as they run.

What is known to keep nothing of a call (gcbench's blocks, torchvision's networks, modules of torch)
is called on the meta device here. Other code is called there in a copy of this process alone; where
it is timed, and where it does not run there, it is counted as it runs: with its weights, on its
input, after its first call.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import torch

from gcbench.engines.limits import memory_limited
from gcbench.errors import CountingError
from gcbench.measure import modules
from gcbench.measure.counting import Subject, count
from gcbench.measure.workload import Workload, make_workload
from gcbench.metrics import METRICS
from gcbench.records import Measurement
from gcbench.spec.cases import ELEMENT_BYTES, Case, CounterName
from gcbench.system.forked import ForkError, forked

if TYPE_CHECKING:
    from torch import nn


def require_buildable(cases: Sequence[Case]) -> None:
    """Raise UsageError where a case of other code cannot be built."""

    def build_all() -> None:
        for case in cases:
            modules.build_meta(case)

    if not cases:
        return
    with suppress(ForkError):
        forked(build_all)
        return
    for case in cases:
        # with its numbers, and here, so that whatever it raises is told with its place
        modules.build_case(case, seed=0)


def foretold(
    case: Case, seed: int, counter: CounterName = "auto", witnesses: bool = False
) -> Measurement:
    """Count a case without its numbers, and predict the memory that a call of it needs.

    Of other code that does not run so nothing is told, but that its input is needed. `witnesses`
    are those of `Subject`. Raises UsageError where what is known cannot be built.
    """
    if modules.is_known(case):
        return without_numbers(case, seed, counter, witnesses)
    _load()
    try:
        return forked(lambda: without_numbers(case, seed, counter))
    except ForkError:
        needed_bytes = ELEMENT_BYTES[case.dtype] * math.prod(case.input_shape)
        return replace(_untold(case), needed_bytes=needed_bytes)


def without_numbers(
    case: Case,
    seed: int,
    counter: CounterName = "auto",
    witnesses: bool = False,
    build_meta: "Callable[[Case], nn.Module]" = modules.build_meta,
) -> Measurement:
    """Count a case on the meta device, in this process; see `foretold`."""
    module = build_meta(case)

    subject = Subject(
        case,
        module,
        lambda: modules.build_case(case, seed),
        counter,
        # a first call of other code may make weights, or fill tables
        alike=modules.is_ours(case),
        witnesses=witnesses,
    )
    return replace(measured(subject), needed_bytes=_needed_bytes(subject))


def as_called(
    pristine: Workload,
    case: Case,
    seed: int,
    counter: CounterName = "auto",
    witnesses: bool = False,
) -> Measurement:
    """Count a case by calling copies of a work that was never called; see `Subject`."""
    subject = Subject(
        case,
        pristine.module,
        lambda: modules.build_case(case, seed),
        counter,
        work=pristine.in_mode,
        alike=False,
        witnesses=witnesses,
    )
    return measured(subject)


def on_cpu(case: Case, seed: int, counter: CounterName = "auto") -> Measurement:
    """Count a case by calling it on the CPU, in the memory that is free there.

    Raises UsageError where it cannot be built.
    """
    module = modules.build_case(case, seed)
    with memory_limited(None, "cpu"):
        return as_called(make_workload(module, case, "cpu", seed), case, seed, counter)


def counted(case: Case, seed: int, counter: CounterName = "auto") -> Measurement:
    """Count a case that is not timed: without numbers, or on the CPU where that does not do.

    Raises UsageError where it cannot be built.
    """
    found = foretold(case, seed, counter)
    return found if is_counted(found) else on_cpu(case, seed, counter)


@cache
def _load() -> None:
    """Load here, once, what every copy of this process would load again."""
    for metric in METRICS:
        metric.load()
    pixel = torch.empty(1, 1, 1, 1, device="meta")
    torch.conv2d(pixel, pixel)


def is_counted(measurement: Measurement) -> bool:
    """Whether the MACs of a case are known."""
    return measurement.metrics["macs"] is not None


def measured(subject: Subject) -> Measurement:
    """Count a subject, and leave the gradient mode and the random state as they were."""
    # closed forms run nothing that could change them, and are asked thousands of times a second
    with nullcontext() if subject.by_form else _undisturbed():
        cells, reasons = count(subject)
    flags = (*modules.flags(subject.module), *subject.flags)
    return Measurement(subject.case, "ok", "; ".join(reasons) or None, cells, flags)


@contextmanager
def _undisturbed() -> Iterator[None]:
    with torch.set_grad_enabled(torch.is_grad_enabled()), torch.random.fork_rng(devices=[]):
        yield


def _untold(case: Case) -> Measurement:
    columns = [column for metric in METRICS for column in metric.columns]
    return Measurement(case, "ok", None, dict.fromkeys(columns))


def _needed_bytes(subject: Subject) -> int:
    """The memory that a call is predicted to take, or what it takes in any case."""
    try:
        return subject.call.peak_bytes
    except CountingError:  # no prediction: weights and input are needed in any case
        element = ELEMENT_BYTES[subject.case.dtype]
        weights = sum(parameter.numel() for parameter in subject.module.parameters())
        return element * (weights + math.prod(subject.case.input_shape))
