"""What two copies of a baseline differ by, beneath the relatives: the A/A interval around 1."""

from collections.abc import Iterator, Sequence

import altair as alt

from gcbench.report.charts import theme
from gcbench.report.charts.framing import data, scale_of
from gcbench.report.charts.quantities import Quantity
from gcbench.report.charts.scales import Scale
from gcbench.report.charts.varying import Along
from gcbench.results.tables import Row


def note(rows: Sequence[Row], quantity: Quantity) -> Iterator[str]:
    """Say what is grey, where anything is."""
    if quantity.about_one and _known(rows):
        yield "grey: A/A, what two copies of the baseline differ by"


def beneath_lines(
    rows: Sequence[Row], axis: Along, x: Scale, y: Scale, quantity: Quantity
) -> Iterator[alt.Chart]:
    """The interval at each place of an axis, around the line of what takes as long."""
    if not quantity.about_one:
        return
    known = [{"x": axis.place(row), "lo": row["aa_lo"], "hi": row["aa_hi"]} for row in _known(rows)]
    across, low = alt.X("x:Q", scale=scale_of(x)), alt.Y("lo:Q", scale=scale_of(y))
    yield data(known).mark_area(color=theme.FAINT, opacity=0.25).encode(x=across, y=low, y2="hi:Q")
    yield (
        data([{"x": x.lo, "x2": x.hi, "lo": 1}])
        .mark_rule(color=theme.FAINT, strokeWidth=1)
        .encode(x=across, x2="x2:Q", y=low)
    )


def beneath_dots(rows: Sequence[Row], x: alt.X, quantity: Quantity) -> Iterator[alt.Chart]:
    """The intervals over the whole height, around the line of what takes as long."""
    if not quantity.about_one:
        return
    known = [{"x": row["aa_lo"], "x2": row["aa_hi"]} for row in _known(rows)]
    yield data(known).mark_rect(color=theme.FAINT, opacity=0.2).encode(x=x, x2="x2:Q")
    yield data([{"x": 1}]).mark_rule(color=theme.FAINT, strokeWidth=1).encode(x=x)


def _known(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["verdict"] == "baseline" and row["aa_lo"]]
