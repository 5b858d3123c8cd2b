"""How long a call of each block takes."""

from typing import TYPE_CHECKING, Any

from gcbench.plots.dots import listed
from gcbench.plots.lines import against
from gcbench.plots.quantities import LATENCY
from gcbench.plots.varying import along
from gcbench.plots.words import timed

if TYPE_CHECKING:
    from gcbench.plots.drawing import Drawn


def draw(drawn: "Drawn") -> Any:
    """Latency against what varies on log scales; side by side where nothing does."""
    rows, manifest = drawn.rows, drawn.manifest
    axis = along(rows)
    notes = ["bars and bands: 95 % intervals of the median"] if timed(rows) else []
    if axis is None:
        return listed(rows, manifest, LATENCY, "Latency", *notes)
    return against(rows, manifest, axis, LATENCY, f"Latency against {axis.name}", *notes)
