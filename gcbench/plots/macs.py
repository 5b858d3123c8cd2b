"""How many multiply-accumulates a forward pass of each block takes."""

from typing import TYPE_CHECKING, Any

from gcbench.plots.dots import listed
from gcbench.plots.lines import against
from gcbench.plots.quantities import MACS
from gcbench.plots.varying import along

if TYPE_CHECKING:
    from gcbench.plots.drawing import Drawn


def draw(drawn: "Drawn") -> Any:
    """MACs against what varies on log scales; side by side where nothing does."""
    rows = drawn.rows
    axis = along(rows)
    counters = ", ".join(dict.fromkeys(row["macs_counter"] for row in rows if row["macs_counter"]))
    note = "multiply-accumulates of one forward pass" + (f", by {counters}" if counters else "")
    if axis is None:
        return listed(rows, MACS, "MACs", note)
    return against(rows, axis, MACS, f"MACs against {axis.name}", note)
