"""How much memory a call of each block takes at its peak."""

from typing import TYPE_CHECKING, Any

from gcbench.plots.dots import listed
from gcbench.plots.lines import against
from gcbench.plots.quantities import MEMORY
from gcbench.plots.varying import along

if TYPE_CHECKING:
    from gcbench.plots.drawing import Drawn


def draw(drawn: "Drawn") -> Any:
    """Peak memory against what varies on log scales; side by side where nothing does."""
    rows = drawn.rows
    axis = along(rows)
    note = "weights, input and all that a call allocates"
    if axis is None:
        return listed(rows, MEMORY, "Peak memory", note)
    return against(rows, axis, MEMORY, f"Peak memory against {axis.name}", note)
