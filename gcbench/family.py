"""What blocks cost at one shape, counted on paper: by closed forms, or on the meta device."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from gcbench import blocks
from gcbench.blocks.catalog import BLOCKS
from gcbench.engines.jobs import Job
from gcbench.engines.static import Static
from gcbench.measure import environment
from gcbench.measure.peaks import kept
from gcbench.records import QUICK, Cell, Measurement, Peaks
from gcbench.results import roofline
from gcbench.spec import cases, grid
from gcbench.spec.cases import Axes, Case

FamilyRow = dict[str, Cell]


def costs(names: Iterable[str], axes: Axes, ratios: Sequence[int]) -> Iterator[FamilyRow]:
    """Count blocks at the shape of the axes, each at every ratio that it takes: a row for each.

    `growth_n` is the exponent with which MACs grow from here to twice the height and width, as a
    power of N = H * W; `growth_c` that to twice the channels. `floor_us` is the least time that
    this machine could need, where its ceilings are kept; `floor_flags` what disturbed those.
    Nothing is measured. Raises UsageError where a block cannot be imported or has no such option.
    """
    engine = Static()
    known = grid.at_ratios([blocks.resolve(name) for name in names], ratios)
    ceilings = _kept(axes)
    for case in cases.comparison_of(list(known), axes, "cpu").cases:
        found = _counted(engine, case)
        macs = found.metrics.get("macs")
        larger = replace(case, height=2 * case.height, width=2 * case.width)
        wider = replace(case, channels=2 * case.channels)
        yield {
            "block": case.block,
            "spec": case.spec,
            "ratio": case.ratio,
            **dict(zip(("batch", "channels", "height", "width"), case.shape, strict=True)),
            "params": found.metrics.get("params"),
            "macs": macs,
            "min_bytes": found.metrics.get("min_bytes"),
            "floor_us": _floor_us(found, ceilings),
            "floor_flags": " ".join(ceilings.disturbed(axes.dtype)) or None if ceilings else None,
            "growth_n": _growth(macs, _counted(engine, larger).metrics.get("macs"), 4),
            "growth_c": _growth(macs, _counted(engine, wider).metrics.get("macs"), 2),
            "macs_counter": found.metrics.get("macs_counter"),
            "status": found.status,
            "reason": found.reason,
        }


def _counted(engine: Static, case: Case) -> Measurement:
    comparison = cases.Comparison((case,), (0,))
    # every block of the table has a closed form of its MACs
    formed = cases.parse_block(case.spec).target in BLOCKS
    counter: cases.CounterName = "formula" if formed else "auto"
    [found] = engine.measure(Job(comparison, QUICK, counter=counter)).measurements
    return found


def _growth(before: Cell, after: Cell, factor: int) -> float | None:
    if not before or not after:
        return None
    return math.log(float(after) / float(before), factor)


def _kept(axes: Axes) -> Peaks | None:
    """The ceilings of this machine's CPU, where an earlier run kept them."""
    manifest = environment.manifest(f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}", seed=0)
    threads = axes.threads or manifest.threads
    return kept.find(manifest, "cpu", environment.device_id("cpu"), threads, lambda text: None)


def _floor_us(found: Measurement, ceilings: Peaks | None) -> float | None:
    if ceilings is None or found.status != "ok":
        return None
    # a forward pass is all that is counted, and so the call; of its kinds nothing is known
    cells = found.metrics | {"call_macs": found.metrics["macs"], "call_conv_macs": None}
    return roofline.judge(replace(found, metrics=cells), math.inf, ceilings).floor_us
