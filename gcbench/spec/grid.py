"""What a sweep is: a value or many for every axis, and the comparisons of that grid.

Text and numbers only; `gcbench.options` reads a sweep from options and files.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from gcbench.errors import UsageError
from gcbench.spec import cases
from gcbench.spec.cases import (
    DEFAULT_EFFORT,
    Axes,
    Block,
    Case,
    Comparison,
    CounterName,
    Effort,
    Shape,
)
from gcbench.spec.filters import Where, parse_where

EngineName = Literal["process", "inline", "ray"]
OnOom = Literal["skip-larger", "continue", "stop"]
Stages = Literal["resnet50", "resnet18"]
# what a case may have come to that can be tried again
Retriable = Literal["oom", "timeout", "error", "crashed", "skipped"]

# (channels, side) of the four stages of torchvision's ResNets at 224x224, C2 to C5
STAGES: dict[Stages, tuple[tuple[int, int], ...]] = {
    "resnet50": ((256, 56), (512, 28), (1024, 14), (2048, 7)),
    "resnet18": ((64, 56), (128, 28), (256, 14), (512, 7)),
}

# how long trying one case may take
TIMEOUT_S = 120.0

# a grid is gone through more than once before anything is measured
MOST_CASES = 1_000_000


@dataclass(frozen=True, slots=True)
class Sweep:
    """What to measure: the values of every axis, and how.

    Shapes are those of `shape` and of `stages` (at each `batch`), or else the product of `batch`,
    `channels` and `size`. Where `device` is empty the machine's default is meant, where `cache` is,
    the device's. `precision` and `max_time_s` of None are the device's default, `timeout_s` is the
    time that trying one case may take, `budget_s` that of the whole sweep. `pair` is as
    `cases.parse_pair` reads it. `per_device` and `cpus_per_comparison` are for the engine `ray`.
    `origins` say where each value came from that somebody gave, by the names of options.
    """

    blocks: tuple[str, ...] = cases.DEFAULT_BLOCKS
    batch: tuple[int, ...] = (1,)
    channels: tuple[int, ...] = (256,)
    size: tuple[tuple[int, int], ...] = ((56, 56),)
    shape: tuple[Shape, ...] = ()
    stages: tuple[Stages, ...] = ()
    ratio: tuple[int, ...] = (16,)
    dtype: tuple[cases.Dtype, ...] = ("float32",)
    device: tuple[str, ...] = ()
    layout: tuple[cases.Layout, ...] = ("contiguous",)
    mode: tuple[cases.Mode, ...] = ("infer",)
    runtime: tuple[str, ...] = ("eager",)
    cache: tuple[cases.Cache, ...] = ()
    threads: tuple[int | None, ...] = (None,)
    regime: tuple[cases.Regime, ...] = ("burst",)
    tf32: cases.Switch | None = None
    heap: cases.Heap | None = None
    where: str | None = None
    baseline: str | None = None
    pair: str | None = None
    precision: float | None = None
    max_time_s: float | None = None
    processes: int = 1
    seed: int = 0
    counter: CounterName = "auto"
    static: bool = False
    allow_nondeterministic: bool = False
    engine: EngineName = "process"
    timeout_s: float = TIMEOUT_S
    memory_limit_bytes: int | None = None
    on_oom: OnOom = "skip-larger"
    budget_s: float | None = None
    per_device: bool = False
    cpus_per_comparison: int | None = None
    origins: dict[str, str] = field(default_factory=dict, compare=False)

    def effort(self, device: str, usual: Mapping[str, Effort] = DEFAULT_EFFORT) -> Effort:
        """How long to measure a comparison on a device, where `usual` has what nobody says."""
        default = usual[cases.kind_of(device)]
        return Effort(
            self.precision or default.precision,
            self.max_time_s or default.max_time_s,
            self.processes,
        )


@dataclass(frozen=True, slots=True)
class ResolvedSweep:
    """What stands in the grid: the sweep's blocks and baseline, looked at, and the devices."""

    sweep: Sweep
    blocks: tuple[Block, ...]
    devices: tuple[str, ...]
    baseline: Block | None = None


def grid(place: ResolvedSweep) -> Iterator[Comparison]:
    """Yield the comparisons of a sweep one by one, in an order that is the same every time.

    The axes vary from the slowest to the fastest: device, dtype, layout, mode, runtime, cache,
    threads, regime, shape; shapes as they were given, else batch, channels, size. In a comparison
    stand the blocks in their order, each at every ratio. Where the condition leaves a baseline out,
    the first that remains takes its place. Raises UsageError where it leaves out the baseline asked
    for.
    """
    sweep = place.sweep
    blocks = tuple(at_ratios(place.blocks, sweep.ratio))
    where = None if sweep.where is None else parse_where("--where", sweep.where)
    pair = None if sweep.pair is None else cases.parse_pair("--pair", sweep.pair, first_axes(sweep))
    for number, axes in enumerate(points(sweep, place.devices)):
        assert axes.device
        whole = cases.comparison_of(blocks, axes, axes.device, place.baseline, pair)
        kind = cases.kind_among(axes.device, place.devices)
        whole = replace(whole, place=number, kind=kind)
        kept = whole if where is None else _kept(whole, where, place.baseline)
        if kept.cases:
            yield kept


def number_of_comparisons(place: ResolvedSweep) -> int:
    """Count the comparisons of a grid before its condition, without making them."""
    sweep = place.sweep
    axes = ("dtype", "layout", "mode", "runtime", "threads", "regime")
    caches = len(sweep.cache) or 1
    number = math.prod(len(getattr(sweep, axis)) for axis in axes) * caches * len(place.devices)
    return number * _number_of_shapes(sweep)


def cases_in_each(place: ResolvedSweep) -> int:
    """Count the cases of one comparison of a grid before its condition."""
    sweep = place.sweep
    ratios = sum(len(sweep.ratio) if block.takes_ratio else 1 for block in place.blocks)
    paired = 1
    if sweep.pair is not None:
        paired = len(cases.parse_pair("--pair", sweep.pair, first_axes(sweep)).values)
    return ratios * paired


def require_bounded(place: ResolvedSweep) -> None:
    """Make sure that a grid can be gone through. Raises UsageError, which tells its size."""
    comparisons, each = number_of_comparisons(place), cases_in_each(place)
    if comparisons * each > MOST_CASES:
        raise UsageError(
            f"the grid has {comparisons * each:,} cases ({comparisons:,} comparisons of {each:,}), "
            f"more than the {MOST_CASES:,} that a sweep may have: narrow an axis"
        )


def at_ratios(blocks: Sequence[Block], ratios: Sequence[int]) -> Iterator[Block]:
    """Yield the blocks, each that the ratio axis varies at every one of the ratios."""
    for block in blocks:
        if block.takes_ratio:
            yield from (replace(block, ratio=ratio, takes_ratio=False) for ratio in ratios)
        else:
            yield block


def points(sweep: Sweep, devices: Sequence[str]) -> Iterator[Axes]:
    """Yield every point of a plan's axes, on devices, in the order of `grid`."""
    kinds = itertools.product(devices, sweep.dtype, sweep.layout, sweep.mode)
    caches = sweep.cache or (None,)
    ways = list(itertools.product(sweep.runtime, caches, sweep.threads, sweep.regime))
    for (device, dtype, layout, mode), way in itertools.product(kinds, ways):
        runtime, cache, threads, regime = way
        for batch, channels, height, width in _shapes(sweep):
            yield Axes(
                batch=batch,
                channels=channels,
                size=(height, width),
                dtype=dtype,
                device=device,
                layout=layout,
                mode=mode,
                runtime=runtime,
                cache=cache,
                threads=threads,
                regime=regime,
            )


def _shapes(sweep: Sweep) -> Iterator[Shape]:
    if not (sweep.shape or sweep.stages):
        for batch, channels, size in itertools.product(sweep.batch, sweep.channels, sweep.size):
            yield batch, channels, *size
        return
    # some lists of a few: each shape once
    yield from dict.fromkeys((*sweep.shape, *_stage_shapes(sweep)))


def _stage_shapes(sweep: Sweep) -> Iterator[Shape]:
    for name, batch in itertools.product(sweep.stages, sweep.batch):
        yield from ((batch, channels, side, side) for channels, side in STAGES[name])


def _number_of_shapes(sweep: Sweep) -> int:
    if sweep.shape or sweep.stages:
        return len({*sweep.shape, *_stage_shapes(sweep)})
    return len(sweep.batch) * len(sweep.channels) * len(sweep.size)


def caches(sweep: Sweep, device: str) -> tuple[cases.Cache, ...]:
    """The values of the axis cache on a device, those of a pair too."""
    return _paired(sweep, "cache") or sweep.cache or (cases.default_cache(device),)


def runtimes(sweep: Sweep) -> tuple[str, ...]:
    """The values of the axis runtime, those of a pair too."""
    return _paired(sweep, "runtime") or sweep.runtime


def pairs_heaps(sweep: Sweep) -> bool:
    """Whether cases of each heap stand side by side, which takes a process for each."""
    return bool(_paired(sweep, "heap"))


def _paired(sweep: Sweep, axis: str) -> tuple[Any, ...]:
    """The values of an axis that stand side by side; none where its values do not."""
    pair = None if sweep.pair is None else cases.parse_pair("--pair", sweep.pair, first_axes(sweep))
    return pair.values if pair is not None and pair.axis == axis else ()


def first_axes(sweep: Sweep) -> Axes:
    """The first value of each axis that can be paired."""
    return Axes(
        dtype=sweep.dtype[0],
        layout=sweep.layout[0],
        mode=sweep.mode[0],
        runtime=sweep.runtime[0],
        cache=sweep.cache[0] if sweep.cache else None,
        threads=sweep.threads[0],
    )


def _kept(whole: Comparison, where: Where, baseline: Block | None) -> Comparison:
    positions = [i for i, case in enumerate(whole.cases) if where.keeps(case)]
    if baseline and positions and whole.baselines[0] not in positions:
        case = whole.cases[whole.baselines[0]]
        raise UsageError(f"--where leaves out the --baseline {case.label}: {case.key}")
    return part(whole, positions)


def part(whole: Comparison, positions: Sequence[int]) -> Comparison:
    """Take some cases of a comparison, by their positions in order.

    Where a baseline is not among them, the first of those that it stood for takes its place.
    """
    new = {old: place for place, old in enumerate(positions)}
    stands_for: dict[int, int] = {}
    for old in positions:
        usual = whole.baselines[old]
        stands_for.setdefault(usual, new.get(usual, new[old]))
    return replace(
        whole,
        cases=tuple(whole.cases[old] for old in positions),
        baselines=tuple(stands_for[whole.baselines[old]] for old in positions),
    )


def with_baselines(whole: Comparison, positions: Sequence[int]) -> list[int]:
    """Some positions of a comparison, and those of their baselines, in order."""
    return sorted({*positions, *(whole.baselines[position] for position in positions)})


def why_not(case: Case) -> str | None:
    """Say why a case of a grid cannot be built, where its axes alone tell."""
    # inside a network a block meets other channels than the images have
    if case.ratio is None or case.network is not None or case.ratio <= case.channels:
        return None
    return f"ratio={case.ratio} leaves no channel of {case.channels}"
