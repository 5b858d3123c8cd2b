"""A block, a network or a user's module at any input shape, taken apart: `gcbench count`."""

import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gcbench import blocks, networks
from gcbench.anatomy import Anatomy, Part
from gcbench.blocks.constructors import CHANNEL_NAMES, Factory
from gcbench.blocks.peers import LIBRARIES
from gcbench.engines.limits import memory_limited
from gcbench.errors import CountingError, UsageError, told
from gcbench.measure.counting.dissecting import dissect
from gcbench.measure.workload import Workload
from gcbench.networks import NETWORKS
from gcbench.registry import imported
from gcbench.spec.cases import Dtype, parse_block
from gcbench.system.forked import ForkError, forked
from gcbench.tensors import brought

if TYPE_CHECKING:
    from torch import nn


# what a network is called on by default
IMAGES = (1, 3, 224, 224)


@dataclass(frozen=True)
class Target:
    """Something to be taken apart: its spec, and how it is made, with numbers and without.

    `known` says that all its code is known, and may meet the meta device in this process. `inner`
    is the path of the part that was asked for.
    """

    spec: str
    build: "Callable[[], nn.Module]"
    build_meta: "Callable[[], nn.Module]"
    known: bool
    inner: str = ""


def is_network(text: str) -> bool:
    """Tell whether a target is a network: one of the table, timm's, or a function of no channels.

    Raises UsageError where a user's own cannot be imported.
    """
    target = parse_block(text).target
    if ":" in target:
        return not _takes_channels(imported(f"target {text!r}", target))
    library, _, layer = target.partition("/")
    if library == "timm" and layer:
        return layer not in LIBRARIES["timm"].names
    return target in NETWORKS


def _takes_channels(factory: Factory) -> bool:
    parameters = inspect.signature(factory).parameters
    needed = any(
        p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        for p in parameters.values()
    )
    return needed or any(name in parameters for name in CHANNEL_NAMES)


def block(text: str, channels: int, ratio: int, seed: int) -> Target:
    """Look at a block spec. Raises UsageError where it cannot be built."""
    found = blocks.resolve(text)
    given = ratio if found.takes_ratio else found.ratio
    return Target(
        found.spec if given is None else f"{found.spec} r{given}",
        lambda: blocks.build(found.spec, channels, given, seed),
        lambda: blocks.build_at(found.spec, channels, given),
        blocks.is_ours(found.spec),
    )


def network(text: str, shape: Sequence[int], seed: int) -> Target:
    """Look at a network spec. Raises UsageError where it cannot be made, or takes no such input."""
    from gcbench.networks.measured import Measured
    from gcbench.spec.cases import Network

    named = Network(networks.resolve(text))
    if len(shape) != 4:
        sides = "x".join(map(str, shape))
        raise UsageError(f"--shape {sides}: a network takes four sides, as in 1x3x224x224")
    batch, _, *size = shape

    def measured(model: "nn.Module") -> "nn.Module":
        return Measured(model, named, batch, (size[0], size[1]))

    return Target(
        named.spec,
        lambda: measured(networks.make(named.spec, seed)),
        lambda: measured(networks.make_meta(named.spec)),
        parse_block(named.spec, "network").target in NETWORKS,
        inner="network",
    )


def anatomy(target: Target, shape: Sequence[int], dtype: Dtype, seed: int) -> Anatomy:
    """Take a target apart at an input shape: without numbers where that does, else on the CPU.

    The input there is the one that is timed. Raises UsageError where the target cannot be built, or
    called on that shape.
    """

    def without_numbers() -> Anatomy:
        return _taken_apart(target, target.build_meta(), torch.empty(*shape, device="meta"), dtype)

    with suppress(ForkError, CountingError):
        return without_numbers() if target.known else forked(without_numbers)
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    try:
        with memory_limited(None, "cpu"):
            return _taken_apart(target, target.build(), x, dtype)
    except CountingError as error:
        size = "x".join(map(str, shape))
        raise UsageError(f"{target.spec} cannot be called on --shape {size}: {error}") from error


def _taken_apart(target: Target, module: "nn.Module", x: Tensor, dtype: Dtype) -> Anatomy:
    """Take a module apart on an input's device, after its first call.

    Raises CountingError, with what it raised, where it cannot be called.
    """
    kind: torch.dtype = getattr(torch, dtype)
    with torch.set_grad_enabled(torch.is_grad_enabled()), torch.random.fork_rng(devices=[]):
        try:
            work = Workload(brought(module, x.device, kind), x.to(kind))
            work.settle()
            passed, parts, operators = dissect(work)
        except (Exception, SystemExit) as error:  # the module may raise anything
            raise CountingError(told(error)) from error
    return Anatomy(
        target.spec,
        tuple(x.shape),
        dtype,
        "meta" if x.is_meta else "cpu",
        passed.value_dependent,
        passed.peak_bytes,
        tuple(_within(parts, target.inner)),
        tuple(operators),
    )


def _within(parts: Sequence[Part], path: str) -> list[Part]:
    """The parts from a path on, named from there."""
    if not path:
        return list(parts)
    inside = f"{path}."
    return [
        replace(part, path=part.path.removeprefix(path).removeprefix("."))
        for part in parts
        if part.path == path or part.path.startswith(inside)
    ]
