"""The form that most charts have: one value of each case, and what a run varies beside it."""

from typing import TYPE_CHECKING, Any

from gcbench.plots.dots import listed
from gcbench.plots.lines import against
from gcbench.plots.quantities import Quantity
from gcbench.plots.varying import along

if TYPE_CHECKING:
    from gcbench.plots.drawing import Drawn


def chart_of(drawn: "Drawn", quantity: Quantity, title: str, *notes: str) -> Any:
    """Draw a value against what varies on log scales; a line for each case where nothing does.

    `notes` begin the caption. Raises UsageError where no value is known, or there is more than
    anybody reads.
    """
    axis = along(drawn.rows)
    if axis is None:
        return listed(drawn, quantity, title, *notes)
    return against(drawn, axis, quantity, f"{title} against {axis.name}", *notes)
