"""Where comparisons run. `run` is the way from a sweep to a run; `inline` is the engine."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from gcbench import blocks, environment, spec
from gcbench.engines.inline import measure
from gcbench.records import Effort, Run
from gcbench.spec import Axes, Comparison, CounterName
from gcbench.timing.replicates import Progress


def compare(names: Sequence[str], axes: Axes, baseline: str | None = None) -> Comparison:
    """Put blocks, given as specs, side by side on this machine.

    Raises UsageError where this machine lacks the device, or a block cannot be imported or built as
    it was asked for.
    """
    device = axes.device or environment.default_device()
    environment.require_device(device)
    comparison = spec.compare(
        [blocks.resolve(name) for name in names],
        axes,
        device,
        None if baseline is None else blocks.resolve(baseline),
    )
    for case in comparison.cases:
        blocks.build_meta(case)
    return comparison


def run(
    comparisons: Sequence[Comparison],
    effort: Effort,
    seed: int = 0,
    counter: CounterName = "auto",
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Run:
    """Measure comparisons one after the other, in this process."""
    manifest = environment.manifest(f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}", seed)
    return Run(
        manifest,
        tuple(measure(c, effort, seed, counter, on_progress) for c in comparisons),
    )
