"""Multiply-accumulates of one forward pass: by gcbench's own counter, and by others beside it.

A MAC is one multiply-accumulate of a convolution, a linear layer or a matrix product. fvcore and
the GCNet paper print MACs under the name FLOPs; here `flops = 2 x macs`.
"""

import logging
import warnings
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from gcbench.errors import CountingError, told
from gcbench.measure.counting.uncompiled import uncompiled
from gcbench.measure.environment import free_bytes
from gcbench.records import Cell
from gcbench.spec.cases import CounterName

if TYPE_CHECKING:
    from gcbench.measure.counting import Subject

# fvcore also charges norms and pools; these names are what multiplies matrices
PRODUCTS = frozenset({"conv", "linear", "matmul", "bmm", "mm", "addmm", "einsum"})

# a second opinion calls the module again: past this that would take seconds
WITNESSED_MACS = 5 * 10**9


class Count(NamedTuple):
    """MACs, and the counter that spoke."""

    macs: int
    counter: CounterName


def macs(subject: "Subject") -> dict[str, Cell]:
    """Count the MACs of the case with the counter asked for; `auto` is gcbench's own.

    `uncounted_ops` are operators without MACs, `uncounted_products` those of them that may multiply
    matrices all the same; both empty where closed forms speak and nothing is run. `macs_fvcore` and
    `macs_torch` are what others count, where they are asked and can; where one differs, the subject
    is flagged `counters_disagree`; `value_dependent` where the MACs hold for this input alone.
    Raises CountingError where the counter asked for cannot count this module.
    """
    count = COUNTERS[subject.counter](subject)
    cells: dict[str, Cell] = {"macs": count.macs, "macs_counter": count.counter}
    return cells | _seen(subject, count) | _others(subject, count)


def _seen(subject: "Subject", count: Count) -> dict[str, Cell]:
    """What a pass saw beside products; nothing where closed forms speak."""
    if subject.by_form:
        return dict.fromkeys(("uncounted_ops", "uncounted_products"))
    try:
        seen = subject.forward
    except CountingError:
        if count.counter in ("auto", "gcbench"):
            raise
        return dict.fromkeys(("uncounted_ops", "uncounted_products"))
    if seen.value_dependent:
        subject.flags.append("value_dependent")
    return {
        "uncounted_ops": " ".join(seen.uncounted),
        "uncounted_products": " ".join(seen.unknown),
    }


def _others(subject: "Subject", count: Count) -> dict[str, Cell]:
    """The second opinions, where they are asked for and are not the first."""
    found: dict[str, Cell] = {"macs_fvcore": None, "macs_torch": None}
    if not subject.witnesses or count.macs > WITNESSED_MACS or not _fits(subject):
        return found
    for name, counter in WITNESSES.items():
        with suppress(CountingError):
            found[f"macs_{name}"] = counter(subject).macs
    if any(each not in (None, count.macs) for each in found.values()):
        subject.flags.append("counters_disagree")
    return found


def by_gcbench(subject: "Subject") -> Count:
    """Count operator by operator, by gcbench's table: see `gcbench.measure.counting.operators`."""
    return Count(subject.forward.macs, "gcbench")


def by_fvcore(subject: "Subject") -> Count:
    """Count by fvcore, which traces the module on real tensors on the CPU in float32."""
    x = torch.zeros(subject.case.input_shape)
    module = subject.build().eval()
    try:
        return Count(fvcore_products(module, x), "fvcore")
    except (Exception, SystemExit) as error:  # the tracer and the module may raise anything
        raise CountingError(f"fvcore cannot trace {subject.case.label}: {told(error)}") from error


def by_torch(subject: "Subject") -> Count:
    """Count by torch's own `FlopCounterMode`, halved."""
    # it brings Triton, which not every count needs
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    try:
        work = subject.ready("infer")
        with torch.set_grad_enabled(torch.is_grad_enabled()), uncompiled():
            work.prepare()
            with counter:
                work.call()
    except (Exception, SystemExit) as error:  # the module may raise anything
        raise CountingError(
            f"torch's counter cannot count {subject.case.label}: {told(error)}"
        ) from error
    return Count(counter.get_total_flops() // 2, "torch")


def by_formula(subject: "Subject") -> Count:
    """Take the block's closed form. Raises CountingError where it has none."""
    if subject.form is None:
        raise CountingError(f"{subject.case.label} has no closed form: take --counter auto")
    return Count(subject.form["macs"], "formula")


COUNTERS: dict[CounterName, Callable[["Subject"], Count]] = {
    "auto": by_gcbench,
    "gcbench": by_gcbench,
    "fvcore": by_fvcore,
    "torch": by_torch,
    "formula": by_formula,
}
WITNESSES: dict[CounterName, Callable[["Subject"], Count]] = {
    "fvcore": by_fvcore,
    "torch": by_torch,
}


def fvcore_products(module: nn.Module, x: torch.Tensor) -> int:
    """Count the matrix products of `module(x)` by fvcore, and leave out what else it charges."""
    tracer_log = logging.getLogger("fvcore.nn.jit_analysis")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        analysis = fvcore_nn().FlopCountAnalysis(module, x).unsupported_ops_warnings(False)
        analysis.uncalled_modules_warnings(False).tracer_warnings("none")
        level, tracer_log.level = tracer_log.level, logging.ERROR
        try:
            charged = analysis.by_operator()
        finally:
            tracer_log.level = level
    return int(sum(charge for name, charge in charged.items() if name in PRODUCTS))


def fvcore_nn() -> ModuleType:
    """Import `fvcore.nn` without the warning that its own use of torch.jit.script raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import fvcore.nn
    module: ModuleType = fvcore.nn
    return module


def _fits(subject: "Subject") -> bool:
    free = free_bytes("cpu")
    return free is None or subject.forward.peak_bytes < free / 2
