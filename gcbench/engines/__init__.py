"""Where comparisons run: in this process, or in others. `run` makes a run of them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from gcbench import blocks, environment, spec
from gcbench.engines import inline
from gcbench.engines.alone import Tell, alone_on
from gcbench.engines.fresh import Listener
from gcbench.engines.isolated import Isolated
from gcbench.records import ComparisonRecord, Effort, Run
from gcbench.spec import Axes, Comparison, CounterName, Pair
from gcbench.timing.replicates import Progress


def compare(
    names: Sequence[str], axes: Axes, baseline: str | None = None, pair: Pair | None = None
) -> Comparison:
    """Put blocks, given as specs, side by side on this machine.

    Raises UsageError where this machine lacks the device or does not tell what was asked for needs,
    or a block cannot be imported or built as it was asked for.
    """
    device = axes.device or environment.default_device()
    environment.require_device(device)
    comparison = spec.compare(
        [blocks.resolve(name) for name in names],
        axes,
        device,
        None if baseline is None else blocks.resolve(baseline),
        pair,
    )
    if comparison.cases[0].cache == "cold":
        environment.require_cache_bytes(device)
    for case in comparison.cases:
        blocks.build_meta(case)
    return comparison


def run(
    comparisons: Sequence[Comparison],
    effort: Effort,
    seed: int = 0,
    counter: CounterName = "auto",
    on_progress: Callable[[Progress], None] = lambda progress: None,
    *,
    wait: bool = True,
    tell: Tell = lambda text: None,
) -> Run:
    """Measure comparisons of one device, alone on it among all gcbench runs of this machine.

    Where another one measures there already, `tell` gets a sentence, and this waits for it unless
    `wait` says otherwise; then every row is flagged `not_alone`.
    """
    with alone_on(comparisons[0].cases[0].device, wait, tell) as alone, Isolated() as isolated:
        manifest = environment.manifest(f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}", seed)
        records = [
            inline.measure(comparison, effort, seed, counter, on_progress)
            if effort.processes == 1
            else isolated.measure(comparison, effort, seed, counter, Listener(on_progress))
            for comparison in comparisons
        ]
    return Run(manifest, tuple(r if alone else flagged(r, "not_alone") for r in records))


def flagged(record: ComparisonRecord, flag: str) -> ComparisonRecord:
    """Add a flag to every case of a record."""
    found = tuple(replace(m, flags=(*m.flags, flag)) for m in record.measurements)
    return replace(record, measurements=found)
