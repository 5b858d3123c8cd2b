"""What an attention block costs at its shape, and what simpler blocks would cost in its place."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from gcbench import blocks, engines
from gcbench.attention.request import Teller
from gcbench.errors import worded
from gcbench.records import QUICK, Run
from gcbench.results import tables
from gcbench.spec.cases import REPLACEMENTS, Axes, Comparison

if TYPE_CHECKING:
    from torch import nn

    from gcbench.attention.running import Seen
    from gcbench.measure.timing.replicates import Progress

LOG = logging.getLogger("gcbench")

# by this name the block itself stands among them
HERE = "block"
# why there is no latency where the person ended it
STOPPED = "it was interrupted"
# what is taken of a block's row, of how it stands beside another, and of a replacement's
OF_BLOCK = ("params", "macs", "latency_us", "latency_us_lo", "latency_us_hi")
BESIDE = ("relative", "relative_lo", "relative_hi", "verdict")
OF_REPLACEMENT = ("macs", "latency_us", *BESIDE)
COLUMNS = (
    *OF_BLOCK,
    *(f"{name}_{column}" for name in REPLACEMENTS for column in OF_REPLACEMENT),
    *("price_reason", "price_flags"),
)

Price = dict[str, Any]
Priced = TypeVar("Priced")
Measure = Callable[[Comparison], Run]


class UntilStopped:
    """Prices that the person may end without losing anything else: from then on it is counted."""

    def __init__(self, measure: Measure) -> None:
        """Take what measures until then."""
        self._measure = measure
        self.stopped = False

    def priced(self, make: Callable[[Measure], Priced]) -> Priced:
        """Make prices by measuring, or again by counting where that was ended."""
        try:
            return make(self._measure)
        except KeyboardInterrupt:
            self.stopped, self._measure = True, engines.count_only
        return make(self._measure)

    def reason(self, known: str | None) -> str | None:
        """Say why a latency is missing: what is known of that, or that it was ended."""
        return known or (STOPPED if self.stopped else None)


def timed(
    on_progress: "Callable[[Progress], None]", wait: bool, tell: Callable[[str], None]
) -> Measure:
    """Measure for as long as `gcbench bench --quick` does."""
    return lambda each: engines.run([each], QUICK, on_progress=on_progress, wait=wait, tell=tell)


def titled(comparison: Comparison) -> str:
    """Name a comparison in a few words."""
    case = comparison.cases[0]
    names = ", ".join("the block" if each.spec == HERE else each.label for each in comparison.cases)
    return f"{names} at {'x'.join(map(str, case.shape))}"


def measuring(tell: Teller, timing: bool, wait: bool) -> Measure:
    """How blocks are priced: by `timing` them, which is told, or by counting alone."""

    def measure(comparison: Comparison) -> Run:
        tell.say(f"timing {titled(comparison)}")
        if wait:
            tell.free(comparison.device)
        with tell.timing() as move:
            return timed(move, wait, tell.say)(comparison)

    return measure if timing else engines.count_only


def prices(
    seen: "Sequence[Seen]",
    axes: Axes,
    until: UntilStopped,
    on_priced: Callable[[list[Price]], None] = lambda prices: None,
) -> list[Price]:
    """Price every block that was seen, those of one kind, variant and shape once.

    Of those that have a price by now `on_priced` hears. Where that fails, the price says why;
    nothing is raised, so that no reading is lost.
    """
    known: dict[tuple[object, ...], Price] = {}
    found: list[Price] = []
    for each in seen:
        adapter = each.found.kind.load()
        module = each.found.module
        key = (each.found.kind.name, adapter.detail(module), str(module), each.shape, each.dtype)
        if key not in known:
            price = until.priced(partial(_price, each, axes))
            known[key] = price | {"price_reason": until.reason(price["price_reason"])}
            on_priced([*found, known[key]])
        found.append(known[key])
    return found


def _price(seen: "Seen", axes: Axes, measure: Measure) -> Price:
    if seen.shape is None:
        return {"price_reason": "nothing was measured of it"}
    try:
        module = seen.found.kind.load().as_block(seen.found.module)
        return compared(module, seen.shape, replace(axes, dtype=seen.dtype), measure)
    except Exception as error:  # what was read of the model stays, whatever its blocks do here
        LOG.debug("while %s was priced", seen.found.path, exc_info=True)
        return {"price_reason": worded(error)}


def compared(
    module: "nn.Module", shape: tuple[int, int, int, int], axes: Axes, measure: Measure
) -> Price:
    """Hold a block against what could replace it. Raises UsageError where none can be built."""
    batch, channels, height, width = shape
    at = replace(
        axes,
        batch=batch,
        channels=channels,
        size=(height, width),
        # a gc of one hidden channel would normalise it away
        ratio=min(axes.ratio, max(1, channels // 2)),
    )
    with blocks.given({HERE: module}):
        run = measure(engines.compare([HERE, *REPLACEMENTS], at))
        return _cells(tables.rows(run))


def _cells(rows: Iterable[tables.Row]) -> Price:
    own, *others = rows
    cells: Price = {column: own[column] for column in OF_BLOCK}
    for name, row in zip(REPLACEMENTS, others, strict=True):
        cells |= {f"{name}_{column}": row[column] for column in OF_REPLACEMENT}
    failed = [f"{r['spec']}: {r['reason']}" for r in (own, *others) if r["status"] != "ok"]
    cells["price_reason"] = "; ".join(failed) or None
    flags = " ".join(row["flags"] or "" for row in (own, *others)).split()
    cells["price_flags"] = " ".join(dict.fromkeys(flags)) or None
    return cells
