"""Multiply-accumulates of one forward pass, by three counters that must agree.

A MAC is one multiply-accumulate of a convolution, a linear layer or a matrix product. fvcore and
the GCNet paper print MACs under the name FLOPs; here `flops = 2 x macs`.
"""

import logging
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from gcbench.blocks import closed_form
from gcbench.counting.parameters import fvcore_nn
from gcbench.environment import free_bytes
from gcbench.errors import CountingError, told
from gcbench.records import Cell
from gcbench.spec import CounterName

if TYPE_CHECKING:
    from gcbench.counting import Subject

# fvcore also charges norms and pools; these names are what multiplies matrices
PRODUCTS = frozenset({"conv", "linear", "matmul", "bmm", "mm", "addmm", "einsum"})

# fvcore traces with real tensors: past this it would take seconds, and torch's counter needs none
FVCORE_LARGEST_MACS = 5 * 10**9


class Count(NamedTuple):
    """MACs, the counter that spoke, and the operators that it did not count; None: nothing ran."""

    macs: int
    counter: CounterName
    uncounted: tuple[str, ...] | None


def macs(subject: "Subject") -> dict[str, Cell]:
    """Count the MACs of the case with the counter asked for.

    `auto` takes fvcore where its trace fits in memory and time, else torch's counter on the meta
    device; where the two differ, the subject is flagged `counters_disagree`. Raises CountingError
    where the counter asked for cannot count this module.
    """
    count = COUNTERS[subject.counter](subject)
    return {
        "macs": count.macs,
        "macs_counter": count.counter,
        "uncounted_ops": None if count.uncounted is None else " ".join(count.uncounted),
    }


def by_auto(subject: "Subject") -> Count:
    """Count by fvcore where that is cheap and works, else by torch's counter.

    Networks are counted by torch's: what a block adds to one is a difference of two counts.
    """
    try:
        forward = subject.forward
    except CountingError as no_meta:
        # what looks at numbers runs on real tensors alone
        with suppress(CountingError):
            return by_fvcore(subject)
        raise no_meta
    if subject.case.network is not None or forward.macs > FVCORE_LARGEST_MACS or not _fits(subject):
        return by_torch(subject)
    try:
        count = by_fvcore(subject)
    except CountingError:
        return by_torch(subject)
    if count.macs != forward.macs:
        subject.flags.append("counters_disagree")
    return count


def by_fvcore(subject: "Subject") -> Count:
    """Count by fvcore, which traces the module on real tensors on the CPU in float32."""
    x = torch.zeros(subject.case.shape)
    module = subject.build().eval()
    try:
        products, others = fvcore_products(module, x)
    except (Exception, SystemExit) as error:  # the tracer and the module may raise anything
        raise CountingError(f"fvcore cannot trace {subject.case.label}: {told(error)}") from error
    return Count(products, "fvcore", others)


def by_torch(subject: "Subject") -> Count:
    """Count by torch's `FlopCounterMode` on the meta device, which allocates nothing."""
    return Count(subject.forward.macs, "torch", subject.forward.uncounted)


def by_formula(subject: "Subject") -> Count:
    """Take the block's closed form. Raises CountingError where it has none."""
    form = closed_form(subject.meta, subject.case.shape)
    if form is None:
        raise CountingError(f"{subject.case.label} has no closed form: take --counter auto")
    return Count(form["macs"], "formula", None if subject.by_form else subject.forward.uncounted)


COUNTERS: dict[CounterName, Callable[["Subject"], Count]] = {
    "auto": by_auto,
    "fvcore": by_fvcore,
    "torch": by_torch,
    "formula": by_formula,
}


def fvcore_products(module: nn.Module, x: torch.Tensor) -> tuple[int, tuple[str, ...]]:
    """Count the matrix products of `module(x)` by fvcore, and name the operators left out."""
    tracer_log = logging.getLogger("fvcore.nn.jit_analysis")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        analysis = fvcore_nn().FlopCountAnalysis(module, x).unsupported_ops_warnings(False)
        analysis.uncalled_modules_warnings(False).tracer_warnings("none")
        level, tracer_log.level = tracer_log.level, logging.ERROR
        try:
            charged = analysis.by_operator()
            unsupported = analysis.unsupported_ops()
        finally:
            tracer_log.level = level
    others = {name.removeprefix("aten::") for name in unsupported}
    others |= {name for name in charged if name not in PRODUCTS}
    products = sum(charge for name, charge in charged.items() if name in PRODUCTS)
    return int(products), tuple(sorted(others))


def _fits(subject: "Subject") -> bool:
    free = free_bytes("cpu")
    return free is None or subject.forward.peak_bytes < free / 2
