"""How long each block takes beside the baseline, in the same moments."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import altair as alt

from gcbench.formats.provenance import baselines
from gcbench.plots import theme
from gcbench.plots.dots import listed
from gcbench.plots.framing import data, scale_of
from gcbench.plots.lines import Geometry, against
from gcbench.plots.quantities import RELATIVE
from gcbench.plots.varying import Along, along
from gcbench.tables import Row

if TYPE_CHECKING:
    from gcbench.plots.drawing import Drawn


def draw(drawn: "Drawn") -> Any:
    """Latency over that of the baseline on log scales, with the band that copies differ by."""
    rows = drawn.rows
    axis = along(rows)
    title = f"Latency relative to {baselines(rows)}"
    notes = ["below 1 is faster; bars and bands: 95 % intervals, paired within replicates"]
    if any(row["aa_lo"] for row in rows if row["verdict"] == "baseline"):
        notes.append("grey: A/A, what two copies of the baseline differ by")
    if axis is None:
        return listed(rows, RELATIVE, title, *notes)

    def beneath(group: Sequence[Row], shape: Geometry) -> list[alt.Chart]:
        return list(_floor(group, axis, shape))

    return against(rows, axis, RELATIVE, f"{title}, against {axis.name}", *notes, beneath=beneath)


def _floor(rows: Sequence[Row], axis: Along, shape: Geometry) -> Iterator[alt.Chart]:
    """The A/A interval at each place, around the line of what takes as long as the baseline."""
    known = [
        {"x": axis.place(row), "lo": row["aa_lo"], "hi": row["aa_hi"]}
        for row in rows
        if row["verdict"] == "baseline" and row["aa_lo"]
    ]
    x, y = alt.X("x:Q", scale=scale_of(shape.x)), alt.Y("lo:Q", scale=scale_of(shape.y))
    if known:
        yield (data(known).mark_area(color=theme.FAINT, opacity=0.25).encode(x=x, y=y, y2="hi:Q"))
    yield (
        data([{"x": shape.x.lo, "x2": shape.x.hi, "lo": 1}])
        .mark_rule(color=theme.FAINT, strokeWidth=1)
        .encode(x=x, x2="x2:Q", y=y)
    )
