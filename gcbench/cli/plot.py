"""`gcbench plot`: a stored run as a picture."""

from pathlib import Path

from gcbench.cli.stored import named, opened
from gcbench.cli.taking import takes
from gcbench.options import OUTPUT, Option
from gcbench.report.charts import CHARTS
from gcbench.report.charts.saving import PICTURES

CHART = Option(
    "chart",
    "What is drawn. Default: what the run varies decides.",
    metavar="|".join(entry.name for entry in CHARTS),
)
PICTURE = Option(
    "output",
    f"Write the picture here; the suffix says how: {', '.join(PICTURES)}. "
    "Default: beside the run, RUN-CHART.svg.",
    short="-o",
    kind="path",
    metavar="FILE",
    panel=OUTPUT,
)


@takes("plot", CHART, PICTURE)
def plot(run: Path | None, chart: str | None, where: str | None, output: Path | None) -> None:
    """Draw a stored run: svg, png, pdf, or a page that needs no network."""
    from gcbench.cli.output import require_apart, require_writable, write_and_say
    from gcbench.errors import UsageError
    from gcbench.report.charts.drawing import draw, drawn_of, fitting
    from gcbench.report.charts.saving import picture, require_installed, require_suffix
    from gcbench.results import tables
    from gcbench.spec.filters import parse_where

    if chart is not None:
        CHARTS[chart]
    if output is not None:
        require_suffix("--output", output)
    condition = (
        None if where is None else parse_where("--where", where, tables.KINDS, "is no column")
    )
    require_installed()
    run = named(run)
    require_apart({"the run": run, "--output": output})
    require_writable("--output", output)
    stored = opened(run)
    drawn = drawn_of(stored, condition.holds) if condition else drawn_of(stored)
    if not drawn.rows:
        what = f"no case for which {where} holds" if stored.outlines and where else "no comparison"
        raise UsageError(f"{run} holds {what}, so there is nothing to draw")
    name = chart or fitting(drawn.rows)
    path = output or run.with_name(f"{run.stem}-{name}.svg")
    require_writable("--output", path)
    spec = draw(name, drawn)
    write_and_say(path, picture(spec, require_suffix("--output", path)))
