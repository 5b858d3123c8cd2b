"""A case that a runtime of others is to run: exported, loaded, and held to what eager computes."""

import random
import time
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from gcbench.errors import BlockError
from gcbench.measure.runtimes.foreign import Deployment, ForeignRuntime, exported
from gcbench.measure.workload import Prepare, Workload, eagerly, make_input
from gcbench.records import Cell, Measurement

# what is measured of torch's allocators says nothing of another runtime's
_OF_TORCH = (
    *("peak_memory_bytes", "activation_memory_bytes", "saved_memory_bytes"),
    *("reserved_memory_bytes", "memory_source"),
)


def deployed(
    runtime: ForeignRuntime,
    pristine: Workload,
    counted: Measurement,
    seed: int,
    threads: int,
    before: Prepare | None,
) -> tuple[Measurement, Deployment]:
    """Export a case, load it, and compare outputs on an input that the export never saw.

    `before` runs last in every preparation; `pristine`, which is in eval, is not called. Raises
    BlockError where the outputs differ from eager's, and whatever exporting and loading do.
    """
    given = pristine.again()
    start_ns = time.perf_counter_ns()
    artefact = exported(runtime, given.module, given.x)
    exported_ns = time.perf_counter_ns()
    deployment = Deployment(runtime, artefact, given.x, threads, before)
    loaded_ns = time.perf_counter_ns()
    # the seed itself is that of the input, the next one that of a gradient
    other = make_input(counted.case, counted.case.device, seed + 2)
    require_same(counted.case.runtime, Deployment(runtime, artefact, other, threads), given)
    deployment.elsewhere(random.Random(seed)).settle()
    cells: dict[str, Cell] = {
        "export_s": (exported_ns - start_ns) / 1e9,
        "load_ms": (loaded_ns - exported_ns) / 1e6,
    }
    return replace(counted, metrics=counted.metrics | cells), deployment


def without_memory(counted: Measurement) -> Measurement:
    """A case without what is predicted of its memory, which is that of torch's operators."""
    known = {name: cell for name, cell in counted.metrics.items() if name not in _OF_TORCH}
    return replace(counted, metrics=known)


def require_same(name: str, deployment: Deployment, given: Workload) -> None:
    """Raise BlockError where a runtime's outputs for its input are not those of a work's module.

    They may differ by the dtype's epsilon to the power of 2/3, of the largest output.
    """
    wanted = tensors_of(eagerly(given.module, deployment.x.clone()))
    deployment.settle()
    found = list(deployment.outputs)
    if [tensor.shape for tensor in found] != [tensor.shape for tensor in wanted]:
        raise BlockError(f"{name} gives outputs of {_shapes(found)}, and eager {_shapes(wanted)}")
    for theirs, ours in zip(found, wanted, strict=True):
        differs = difference(theirs, ours)
        if differs:
            raise BlockError(f"{name} {differs}, on an input that its export did not see")


def difference(theirs: Tensor, ours: Tensor) -> str | None:
    """Say by how much an output differs from eager's, where that is more than it may."""
    if theirs.dtype != ours.dtype:
        return f"gives {theirs.dtype}, where eager gives {ours.dtype}"
    if not ours.is_floating_point():
        return None if torch.equal(theirs, ours) else "gives other whole numbers than eager"
    finite = torch.isfinite(ours)
    if not torch.equal(torch.isfinite(theirs), finite):
        return "gives numbers where eager gives none, or the other way round"
    if not finite.any():
        return None
    theirs, largest = theirs[finite].double(), ours[finite].double().abs().max().item()
    furthest = (theirs - ours[finite].double()).abs().max().item()
    allowed = torch.finfo(ours.dtype).eps ** (2 / 3) * largest
    if furthest <= allowed:
        return None
    return (
        f"differs from eager by up to {furthest:.2g} where the largest output is {largest:.2g} "
        f"({allowed:.2g} is allowed)"
    )


def tensors_of(output: object) -> list[Tensor]:
    """The tensors of an output, in the order in which exporters lay them out."""
    return [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]


def _shapes(tensors: list[Tensor]) -> str:
    return ", ".join("x".join(map(str, tensor.shape)) for tensor in tensors) or "none"
