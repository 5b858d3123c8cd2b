"""Charts of one value of each case, against what a run varies."""

from typing import TYPE_CHECKING, Any

from gcbench.report.charts.dots import listed
from gcbench.report.charts.lines import against
from gcbench.report.charts.quantities import LATENCY, MACS, MEMORY, RELATIVE, Quantity
from gcbench.report.charts.varying import along
from gcbench.report.provenance import baselines

if TYPE_CHECKING:
    from gcbench.report.charts.drawing import Drawn


def latency(drawn: "Drawn") -> Any:
    """The median latency of each case."""
    return chart_of(drawn, LATENCY, "Latency")


def macs(drawn: "Drawn") -> Any:
    """The MACs of each case, and who counted them."""
    known = [row["macs_counter"] for row in drawn.rows if row["macs_counter"]]
    counters = f", by {', '.join(dict.fromkeys(known))}" if known else ""
    return chart_of(drawn, MACS, "MACs", f"multiply-accumulates of one forward pass{counters}")


def memory(drawn: "Drawn") -> Any:
    """The peak memory of each case, and how it is known."""
    known = [row["memory_source"] for row in drawn.rows if MEMORY.known(row)]
    sources = ", ".join(dict.fromkeys(filter(None, known)))
    note = "weights, input and all that a call allocates" + (f" ({sources})" if sources else "")
    return chart_of(drawn, MEMORY, "Peak memory", note)


def relative(drawn: "Drawn") -> Any:
    """Latency over that of the baseline, above what copies differ by."""
    title = f"Latency relative to {baselines(drawn.rows)}"
    return chart_of(drawn, RELATIVE, title, "below 1 is faster")


def chart_of(drawn: "Drawn", quantity: Quantity, title: str, *notes: str) -> Any:
    """Draw a value against what varies on log scales; a line for each case where nothing does.

    `notes` begin the caption. Raises UsageError where no value is known, or there is more than
    anybody reads.
    """
    axis = along(drawn.rows)
    if axis is None:
        return listed(drawn, quantity, title, *notes)
    return against(drawn, axis, quantity, f"{title} against {axis.name}", *notes)
