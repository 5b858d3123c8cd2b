"""`gcbench plot`: a stored run as a picture."""

from pathlib import Path
from typing import Annotated

from gcbench.cli import faults, options
from gcbench.cli.stored import named, opened
from gcbench.plots import CHARTS
from gcbench.plots.saving import PICTURES

Chart = Annotated[
    str | None,
    options.option(
        "--chart",
        help="What is drawn. Default: what the run varies decides.",
        metavar="|".join(entry.name for entry in CHARTS),
    ),
]
Picture = Annotated[
    Path | None,
    options.option(
        "-o",
        "--output",
        help=f"Write the picture here; the suffix says how: {', '.join(PICTURES)}. "
        "Default: beside the run, RUN-CHART.svg.",
        metavar="FILE",
        panel=options.OUTPUT,
    ),
]


def plot(
    run: options.Run = None,
    chart: Chart = None,
    where: options.Where = None,
    output: Picture = None,
    traceback: faults.Traceback = False,
) -> None:
    """Draw a stored run: svg, png, pdf, or a page that needs no network."""
    from gcbench import tables
    from gcbench.cli.output import require_apart, require_writable, write_and_say
    from gcbench.errors import UsageError
    from gcbench.plots.drawing import draw, drawn_of, fitting
    from gcbench.plots.saving import picture, require_installed, require_suffix
    from gcbench.where import parse_where

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
