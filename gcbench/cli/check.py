"""`gcbench check`: can this machine's timings be believed?"""

from typing import Annotated

import typer

from gcbench.cli import faults, options

Repeat = Annotated[str, typer.Option("--repeat", help="How often each trial is made.", metavar="N")]
EachTime = Annotated[
    str, typer.Option("--max-time", help="Time of a trial, as of a comparison.", metavar="TIME")
]


def check(
    device: options.Device = None,
    threads: options.Threads = None,
    heap: options.Heap = None,
    max_time: EachTime = "3s",
    repeat: Repeat = "5",
    no_wait: options.NoWait = False,
    seed: options.Seed = "0",
    output: options.Report = None,
    format: options.GeneralFormat = "table",
    json: options.Json = False,
    traceback: faults.Traceback = False,
) -> None:
    """Time blocks against their own copies: can this machine's numbers be believed?"""
    from gcbench import spec
    from gcbench.cli.output import leave, require_writable
    from gcbench.units import parse_seconds

    shown = options.read_format(format, json)
    require_writable("--output", output)
    seconds = parse_seconds("--max-time", max_time)
    times = spec.parse_count("--repeat", repeat)
    drawn_from = spec.parse_count("--seed", seed, least=0)
    axes = options.read_device(device, threads)
    options.settle_heap(options.read_heap(heap))
    faults.say("loading torch")

    from gcbench.cli.progress import counting_bar
    from gcbench.engines import trials
    from gcbench.formats.trust import document
    from gcbench.trust import report

    findings = []
    with counting_bar("checking", trials.number(times)) as move:
        for found in trials.run(
            axes, times, seconds, drawn_from, wait=not no_wait, tell=faults.say
        ):
            findings.append(found)
            move(found.trial)
    told = report(findings, seconds, trials.PRECISION)
    leave(document(told, trials.where(axes)), shown, output)
    raise typer.Exit(0 if told.trustworthy else faults.UNTRUSTED)
