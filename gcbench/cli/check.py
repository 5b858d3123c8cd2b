"""`gcbench check`: can this machine's timings be believed?"""

from pathlib import Path

import typer

from gcbench.cli import faults, options, plans
from gcbench.cli.taking import takes
from gcbench.options import Option
from gcbench.options.defaults import Said
from gcbench.options.readers import one
from gcbench.options.table import format_of
from gcbench.report import GENERAL
from gcbench.spec.cases import parse_count
from gcbench.units import parse_seconds

EACH_TIME = Option(
    "max_time",
    "Time of a trial, as of a comparison.",
    metavar="TIME",
    read=one(parse_seconds),
    usual="3s",
)
REPEAT = Option(
    "repeat", "How often each trial is made.", metavar="N", read=one(parse_count), usual="5"
)


@takes("check", EACH_TIME, REPEAT, format_of([entry.name for entry in GENERAL]))
def check(
    said: Said,
    max_time: float,
    repeat: int,
    no_wait: bool,
    output: Path | None,
    format: str,
    json: bool,
) -> None:
    """Time blocks against their own copies: can this machine's numbers be believed?"""
    from gcbench.cli.output import leave, require_writable

    shown = options.read_format(format, json)
    require_writable("--output", output)
    asked = said.plan()
    options.settle_heap(asked.heap)
    faults.info("loading torch")

    from gcbench.cli.progress import counting_bar
    from gcbench.engines import trials
    from gcbench.report.calibration import document
    from gcbench.report.document import joined
    from gcbench.stats.calibration import report

    places = plans.places(asked)
    told = []
    with counting_bar("checking", len(places) * trials.number(repeat)) as move:
        for axes in places:
            findings = []
            for found in trials.run(
                axes, repeat, max_time, asked.seed, wait=not no_wait, tell=faults.info
            ):
                findings.append(found)
                move(found.trial)
            told.append(report(findings, max_time, trials.PRECISION))
    parts = [
        (plans.cells(axes), document(each, trials.where(axes)))
        for axes, each in zip(places, told, strict=True)
    ]
    leave(joined(parts), shown, output)
    raise typer.Exit(0 if all(each.trustworthy for each in told) else faults.UNTRUSTED)
