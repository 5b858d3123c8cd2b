"""How long a call of each block takes."""

from typing import TYPE_CHECKING, Any

from gcbench.plots.charting import chart_of
from gcbench.plots.quantities import LATENCY

if TYPE_CHECKING:
    from gcbench.plots.drawing import Drawn


def draw(drawn: "Drawn") -> Any:
    """The median latency of each case."""
    return chart_of(drawn, LATENCY, "Latency")
