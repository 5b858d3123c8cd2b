"""What the bottleneck ratio changes: small multiples, one for each block and shape."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import altair as alt

from gcbench.errors import UsageError
from gcbench.report.charts import theme
from gcbench.report.charts.curves import Curve, curves, extents
from gcbench.report.charts.framing import framed, panel_title, side_by_side
from gcbench.report.charts.labels import shortened
from gcbench.report.charts.lines import Geometry, panel, raised
from gcbench.report.charts.quantities import LATENCY, RELATIVE, Quantity, require_known
from gcbench.report.charts.scales import Scale, around
from gcbench.report.charts.varying import (
    MOST_PANELS,
    Along,
    along_axis,
    panels_of,
    too_many,
    varied,
)
from gcbench.report.charts.words import caption, subtitle
from gcbench.report.provenance import baselines
from gcbench.report.text import printable
from gcbench.results.tables import Row
from gcbench.spec.labels import label, label_without_ratio

if TYPE_CHECKING:
    from gcbench.report.charts.drawing import Drawn

_WIDTH, _HEIGHT, _COLUMNS = 190.0, 150.0, 3
_WIDEST_TITLE = 230.0
# a panel spans this factor at least, so that noise does not fill it
_LEAST = 1.05


def draw(drawn: "Drawn") -> Any:
    """Relative latency against the ratio, every panel over the same factor, so that slopes compare.

    Raises UsageError where no ratio varies, or there are more panels than anybody reads.
    """
    rows = [row for row in drawn.rows if row["ratio"] is not None]
    if len({row["ratio"] for row in rows}) < 2:
        raise UsageError("--chart ratio: no block of this run was measured at two ratios or more")
    quantity = RELATIVE if any(RELATIVE.known(row) for row in rows) else LATENCY
    require_known(rows, quantity)
    others = list(varied(rows))
    groups = panels_of(rows)
    if len(groups) > MOST_PANELS:
        raise too_many(rows, f"{len(groups)} panels", MOST_PANELS, [*others, "spec"])
    axis = along_axis(rows, "ratio")
    styles = {block: drawn.styles[block] for block, _ in groups}
    made = {
        f"{block} · {at}" if at else block: curves(
            group, axis, quantity, styles, label_without_ratio
        )[0]
        for (block, at), group in groups.items()
    }
    factor = _factor(list(made.values()))
    shapes = len(groups) // len(styles)
    columns = shapes if 1 < shapes <= _COLUMNS + 1 else min(_COLUMNS, len(made))
    against = f"latency relative to {baselines(rows)}" if quantity is RELATIVE else "latency"
    return framed(
        side_by_side([_picture(made, name, axis, quantity, factor) for name in made], columns),
        columns * (_WIDTH + 70),
        f"What the ratio changes: {against}",
        subtitle(drawn.rows),
        caption(
            rows,
            quantity,
            f"every panel spans a factor of {factor:.3g} on a log scale",
            *_without(drawn.rows),
        ),
    )


def _factor(drawn: Sequence[Curve]) -> float:
    """The largest factor that a panel spans, and some air."""
    spans = [list(extents(curve.points)) for curve in drawn if curve.points]
    return max(_LEAST, *(1.1 * max(span) / min(span) for span in spans))


def _picture(
    made: Mapping[str, Curve], name: str, axis: Along, quantity: Quantity, factor: float
) -> alt.LayerChart:
    curve = replace(made[name], label="")
    span = list(extents(curve.points)) or [1.0]
    middle = math.sqrt(max(span) * min(span))
    y = Scale(middle / math.sqrt(factor), middle * math.sqrt(factor), _HEIGHT)
    rows = int(any(each.failed for each in made.values()))
    shape = Geometry(around(axis.places.values(), _WIDTH, least=1.2), raised(y, rows), rows)
    titles = ("ratio r", quantity.title)
    picture = panel([curve], axis, quantity, shape, titles)
    picture["title"] = panel_title(shortened(printable(name), theme.LABEL, _WIDEST_TITLE))
    return picture


def _without(rows: Sequence[Row]) -> Iterator[str]:
    """Say which blocks have no ratio, and between what their relative latencies lie."""
    plain = [row for row in rows if row["ratio"] is None]
    for block in dict.fromkeys(label(row) for row in plain):
        mine = [row for row in plain if label(row) == block and row["relative"] is not None]
        values = [row["relative"] for row in mine]
        known = f": relative latency {min(values):.3g} to {max(values):.3g}" if values else ""
        yield f"{block[:60]} has no ratio{known}"
