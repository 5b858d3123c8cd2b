"""The table of charts. Each is one file with a function `draw`, and one line here.

It takes what is drawn and returns an Altair chart; what one axis varies over, where labels go and
what stands around a picture is shared (`varying.py`, `labels.py`, `framing.py`, `words.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gcbench.plots.saving import require_installed
from gcbench.plots.varying import MOST_PANELS, panels_of
from gcbench.records import Manifest, Run
from gcbench.registry import Entry, Registry
from gcbench.store import Stored
from gcbench.tables import Row

CHARTS: Registry[Entry] = Registry(
    "chart",
    (
        Entry("latency", "gcbench.plots.latency:draw", "latency against what varies"),
        Entry("relative", "gcbench.plots.relative:draw", "latency over that of the baseline"),
        Entry("memory", "gcbench.plots.memory:draw", "peak memory"),
        Entry("macs", "gcbench.plots.macs:draw", "multiply-accumulates"),
        Entry("ratio", "gcbench.plots.ratio:draw", "what the bottleneck ratio changes"),
        Entry("roofline", "gcbench.plots.roofline:draw", "MACs a second below measured ceilings"),
    ),
)


@dataclass(frozen=True)
class Drawn:
    """What a chart shows: some rows of a run, at least one, and the run itself."""

    rows: Sequence[Row]
    run: Run | Stored

    @property
    def manifest(self) -> Manifest:
        """Where, when and with what it was measured."""
        return self.run.manifest


def fitting(rows: Sequence[Row]) -> str:
    """Name the chart that says most of some rows, by what varies and what is known of them.

    Ratios are told apart by small multiples, while those are few enough to be read.
    """
    if all(row["latency_us"] is None for row in rows):
        ok = [row for row in rows if row["status"] == "ok"]
        return "macs" if any(row["macs"] for row in ok) else "memory" if ok else "latency"
    having = [row for row in rows if row["ratio"] is not None]
    several = len({row["ratio"] for row in having}) > 1
    return "ratio" if several and len(panels_of(having)) <= MOST_PANELS else "latency"


def draw(name: str, drawn: Drawn) -> dict[str, Any]:
    """Draw a chart as a Vega-Lite specification.

    Raises UsageError where the rows do not hold what it shows, or altair is missing.
    """
    require_installed()
    made: dict[str, Any] = CHARTS[name].load()(drawn).to_dict()
    return made
