"""`gcbench check`: can this machine's timings be believed?"""

import typer

from gcbench.cli import faults, options, plans
from gcbench.cli.taking import takes
from gcbench.defaults import Said
from gcbench.options import Option
from gcbench.options.readers import one
from gcbench.spec import parse_count
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


@takes("check", EACH_TIME, REPEAT)
def check(said: Said, max_time: float, repeat: int, no_wait: bool, json: bool) -> None:
    """Time blocks against their own copies: can this machine's numbers be believed?"""
    asked = said.plan()
    axes = plans.places(asked)[0]
    options.settle_heap(asked.heap)
    faults.say("loading torch")

    from gcbench.cli.output import show_laid_out
    from gcbench.cli.progress import counting_bar
    from gcbench.engines import trials
    from gcbench.formats import trust as form
    from gcbench.trust import report

    findings = []
    with counting_bar("checking", trials.number(repeat)) as move:
        for found in trials.run(
            axes, repeat, max_time, asked.seed, wait=not no_wait, tell=faults.say
        ):
            findings.append(found)
            move(found.trial)
    told = report(findings, max_time, trials.PRECISION)
    if json:
        print(form.to_json(told))
    else:
        show_laid_out(form.renderable(told, trials.where(axes)))
    raise typer.Exit(0 if told.trustworthy else faults.UNTRUSTED)
