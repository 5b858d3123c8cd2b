"""How long each block takes beside the baseline, in the same moments."""

from typing import TYPE_CHECKING, Any

from gcbench.formats.provenance import baselines
from gcbench.plots.charting import chart_of
from gcbench.plots.quantities import RELATIVE

if TYPE_CHECKING:
    from gcbench.plots.drawing import Drawn


def draw(drawn: "Drawn") -> Any:
    """Latency over that of the baseline, above what copies differ by."""
    title = f"Latency relative to {baselines(drawn.rows)}"
    return chart_of(drawn, RELATIVE, title, "below 1 is faster")
