"""How long a call of each block takes."""

from typing import TYPE_CHECKING, Any

from gcbench.plots.dots import listed
from gcbench.plots.lines import against
from gcbench.plots.quantities import LATENCY
from gcbench.plots.varying import along
from gcbench.plots.words import has_intervals

if TYPE_CHECKING:
    from gcbench.plots.drawing import Drawn


def draw(drawn: "Drawn") -> Any:
    """Latency against what varies on log scales; side by side where nothing does."""
    rows = drawn.rows
    axis = along(rows)
    notes = ["bars and bands: 95 % intervals of the median"] if has_intervals(rows) else []
    if axis is None:
        return listed(rows, LATENCY, "Latency", *notes)
    return against(rows, axis, LATENCY, f"Latency against {axis.name}", *notes)
