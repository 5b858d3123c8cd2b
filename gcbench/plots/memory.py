"""How much memory a call of each block takes at its peak."""

from typing import TYPE_CHECKING, Any

from gcbench.plots.charting import chart_of
from gcbench.plots.quantities import MEMORY

if TYPE_CHECKING:
    from gcbench.plots.drawing import Drawn


def draw(drawn: "Drawn") -> Any:
    """The peak memory of each case, and how it is known."""
    known = [row["memory_source"] for row in drawn.rows if MEMORY.known(row)]
    sources = ", ".join(dict.fromkeys(filter(None, known)))
    note = "weights, input and all that a call allocates" + (f" ({sources})" if sources else "")
    return chart_of(drawn, MEMORY, "Peak memory", note)
