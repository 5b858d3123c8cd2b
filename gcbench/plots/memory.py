"""How much memory a call of each block takes at its peak."""

from typing import TYPE_CHECKING, Any

from gcbench.plots.charting import chart_of
from gcbench.plots.quantities import MEMORY

if TYPE_CHECKING:
    from gcbench.plots.drawing import Drawn


def draw(drawn: "Drawn") -> Any:
    """The peak memory of each case."""
    return chart_of(drawn, MEMORY, "Peak memory", "weights, input and all that a call allocates")
