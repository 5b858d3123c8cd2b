"""What a global-context block costs: parameters, MACs and latency, with an honest interval.

>>> import gcbench
>>> block = gcbench.build("gc:ratio=8", channels=64)
>>> gcbench.count(block, (1, 64, 28, 28)).macs
101376
"""

import os
import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from gcbench.spec.cases import Axes

__all__ = ["Counts", "bench", "build", "count", "insert", "load"]


class Counts(NamedTuple):
    """What was counted of a module. A MAC is one multiply-accumulate; FLOPs are twice as many.

    `uncounted` are the operators without MACs; of those with a namespace (`mine.mix`) nothing is
    known, and they may multiply matrices.
    """

    parameters: int
    macs: int
    uncounted: tuple[str, ...]


def build(
    spec: str, channels: int, seed: int = 0, *, size: tuple[int, int] | None = None
) -> "nn.Module":
    """Build a block for inputs (B, channels, H, W) on the CPU in float32, weights from `seed`.

    `size` is (H, W), for blocks that are bound to one, such as `bot`. Raises
    gcbench.errors.UsageError where the spec or its options are wrong.
    """
    from gcbench import blocks

    blocks.resolve(spec)
    return blocks.build(spec, channels, seed=seed, size=size)


def bench(
    arms: "Sequence[str | nn.Module] | Mapping[str, str | nn.Module]",
    shape: tuple[int, int, int, int],
    *,
    baseline: str | None = None,
    pair: str | None = None,
    precision: float | None = None,
    max_time_s: float | None = None,
    seed: int = 0,
    counter: str = "auto",
    heap: str = "default",
    allow_nondeterministic: bool = False,
    progress: bool = True,
    **axes: Any,
) -> "pd.DataFrame":
    """Measure blocks side by side at a shape (B, C, H, W), as `gcbench bench` does.

    `arms` are block specs or modules that exist already: those are copied, brought to the dtype,
    device and mode of the axes, and not touched themselves. A dict names the arms; in a list a
    module goes by the name of its class, with a prime where that is taken. `axes` are those of
    `gcbench.spec.cases.Axes`: ratio, dtype, device, layout, mode, runtime, cache, threads; `pair`
    names one of them to put two values of it side by side, as `--pair` does. `heap="steady"` makes
    this process's allocator keep what is freed, for good, as `--heap steady` does;
    `allow_nondeterministic` times blocks of which two calls differ, flagged. A bar shows how far it
    is, where stderr is a terminal or this is a notebook with ipywidgets, and a line on stderr tells
    of blocks that fail, of busy cores, and of what is waited for; `progress=False` keeps both away.

    Returns the CSV's columns, one row a block; latencies in microseconds. What fails when it is
    called is a row with its reason. Raises gcbench.errors.UsageError where something cannot be done
    as it was asked for. docs/python.md has examples.
    """
    # torch's profiler measures memory, and would tell on stderr of every start and stop
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    from gcbench import blocks, engines
    from gcbench.cli.progress import timing_bar
    from gcbench.measure import heap as allocator
    from gcbench.measure.timing.replicates import Progress
    from gcbench.results import tables
    from gcbench.spec.cases import (
        DEFAULT_EFFORT,
        CounterName,
        Effort,
        Heap,
        axes_at,
        parse_choice,
        parse_pair,
    )
    from gcbench.units import parse_seconds, parse_share

    shared = axes_at(shape, axes)
    both = None if pair is None else parse_pair("pair", str(pair), shared)
    who = parse_choice("counter", counter, CounterName)
    allocator.settle(parse_choice("heap", heap, Heap))
    names, modules = _named(arms, shared, seed)
    with blocks.given(modules), timing_bar(progress) as move:
        comparison = engines.compare(names, shared, baseline, both)
        default = DEFAULT_EFFORT[comparison.device.partition(":")[0]]
        effort = Effort(
            default.precision if precision is None else parse_share("precision", str(precision)),
            default.max_time_s
            if max_time_s is None
            else parse_seconds("max_time_s", str(max_time_s)),
        )

        def tell(text: str) -> None:
            move(Progress(0.0, effort.max_time_s, news=text))

        run = engines.run(
            [comparison],
            effort,
            seed,
            who,
            move,
            tell=tell,
            allow_nondeterministic=allow_nondeterministic,
        )
    return tables.frame(run)


def _named(
    arms: "Sequence[str | nn.Module] | Mapping[str, str | nn.Module]", axes: "Axes", seed: int
) -> "tuple[list[str], dict[str, nn.Module]]":
    """Name the arms, and say which of the names stand for modules that exist."""
    from gcbench.errors import UsageError

    if isinstance(arms, Mapping):
        modules = {
            name: _built(arm, axes, seed) if isinstance(arm, str) else arm
            for name, arm in arms.items()
        }
        names = list(modules)
    else:
        names, modules = [], {}
        for arm in arms:
            if isinstance(arm, str):
                names.append(arm)
                continue
            name = type(arm).__name__
            while name in modules or name in arms:
                name += "'"
            names.append(name)
            modules[name] = arm
    for name in modules:
        if not name or "|" in name or "@" in name or not name.isprintable():
            raise UsageError(f"an arm cannot be named {name!r}: printable, and without | and @")
    return names, modules


def _built(text: str, axes: "Axes", seed: int) -> "nn.Module":
    from gcbench import blocks

    block = blocks.resolve(text)
    return blocks.build(
        block.spec,
        axes.channels,
        axes.ratio if block.takes_ratio else block.ratio,
        seed,
        axes.size,
    )


def count(module: "nn.Module", shape: tuple[int, int, int, int]) -> Counts:
    """Count the parameters and MACs of any module at an input shape (B, C, H, W), in eval mode.

    A copy is called on the meta device, which takes no memory; where that does not do (a branch on
    values, a sparse weight), on the CPU, on the input that `gcbench.bench` times. The module is not
    touched. A complex MAC counts as four; docs/counting.md has the rules. Raises
    gcbench.errors.CountingError where the module cannot be called.

    >>> from torch import nn
    >>> count(nn.Conv2d(16, 16, 3, groups=16), (1, 16, 8, 8))
    Counts(parameters=160, macs=5184, uncounted=())
    """
    from gcbench import blocks
    from gcbench.engines.counted import counted
    from gcbench.errors import CountingError
    from gcbench.spec.cases import Axes, comparison_of, parse_shape

    batch, channels, height, width = parse_shape("shape", shape)
    name = type(module).__name__
    axes = Axes(batch=batch, channels=channels, size=(height, width))
    with blocks.given({name: module}):
        case = comparison_of([blocks.resolve(name)], axes, "cpu").cases[0]
        found = counted(case, seed=0)
    cells: dict[str, Any] = found.metrics
    if cells["macs"] is None:
        raise CountingError(found.reason or f"{name} is not counted")
    return Counts(cells["params"], cells["macs"], tuple(cells["uncounted_ops"].split()))


def insert(
    model: "nn.Module",
    spec: str,
    places: str,
    position: str = "after_1x1",
    *,
    seed: int = 0,
    shape: tuple[int, ...] = (1, 3, 224, 224),
) -> "tuple[nn.Module, list[str]]":
    """Put a block into a network, as `gcbench network --insert SPEC@PLACES` does.

    `position` stands for the residual blocks of places that do not say; `shape` is an input that
    the model takes. Returns the model, which is changed in place, and the paths of the modules
    behind which blocks now stand. State dicts keep the names of what was there:
    docs/networks.md has the rule. Raises gcbench.errors.UsageError where there is no such place or
    the block cannot be built for it; then the model is as it was.

    >>> import torchvision
    >>> insert(torchvision.models.resnet18(), "gc:ratio=8:zero_init=true", "c5.all")[1]
    ['layer4.0.bn2', 'layer4.1.bn2']
    """
    from gcbench import blocks
    from gcbench.networks import inserting
    from gcbench.networks.places import Position, parse
    from gcbench.spec.cases import parse_choice, parse_count

    where = parse(places, parse_choice("position", position, Position))
    block = blocks.resolve(spec)
    sides = tuple(parse_count("shape", str(side)) for side in shape)
    put = inserting.insert(model, block.spec, where, block.ratio, seed, sides)
    return model, [each.path for each in put]


def load(run: str | PathLike[str]) -> "pd.DataFrame":
    """Read a stored run: the CSV's columns, one row a case.

    A damaged line is left out, with a warning. Raises gcbench.errors.RunError where the file is not
    a run.
    """
    from gcbench import store
    from gcbench.results import tables

    damage: list[str] = []
    table = tables.frame(store.open_run(Path(run), damage.append))
    for word in damage:
        warnings.warn(f"left out: {word}", stacklevel=2)
    return table
