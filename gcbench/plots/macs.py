"""How many multiply-accumulates a forward pass of each block takes."""

from typing import TYPE_CHECKING, Any

from gcbench.plots.charting import chart_of
from gcbench.plots.quantities import MACS

if TYPE_CHECKING:
    from gcbench.plots.drawing import Drawn


def draw(drawn: "Drawn") -> Any:
    """The MACs of each case, and who counted them."""
    known = [row["macs_counter"] for row in drawn.rows if row["macs_counter"]]
    counters = f", by {', '.join(dict.fromkeys(known))}" if known else ""
    return chart_of(drawn, MACS, "MACs", f"multiply-accumulates of one forward pass{counters}")
