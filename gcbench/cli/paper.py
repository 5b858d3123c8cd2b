"""`gcbench paper`: the GCNet paper's tables beside what gcbench derives."""

import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from gcbench.cli import faults, options
from gcbench.cli.network_options import MaxTime
from gcbench.errors import UsageError
from gcbench.formats import GENERAL
from gcbench.paper.printed import TABLES

# the table whose rows have published latencies
PUBLISHED = "backbones"

Tables = Annotated[
    list[str] | None,
    options.option(
        "--table",
        help=f"One of {', '.join(table.name for table in TABLES)}. Repeatable. Default: all; with "
        f"--latency {PUBLISHED}.",
        metavar="NAME",
    ),
]
Latency = Annotated[
    bool,
    options.option(
        "--latency",
        help="Time the rows here too, beside what is published of a V100.",
        panel=options.EFFORT,
    ),
]
Size = Annotated[
    str | None,
    options.option(
        "-s",
        "--size",
        help="Images to time, where the table's own are too large. Counts stay the table's.",
        metavar="H[xW]",
        panel=options.EFFORT,
    ),
]


def paper(
    table: Tables = None,
    latency: Latency = False,
    size: Size = None,
    device: options.Device = None,
    threads: options.Threads = None,
    precision: options.Precision = None,
    max_time: MaxTime = None,
    quick: options.Quick = False,
    no_wait: options.NoWait = False,
    csv: options.Csv = None,
    output: options.Report = None,
    format: options.GeneralFormat = "table",
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    traceback: faults.Traceback = False,
) -> None:
    """Show the GCNet paper's tables, every printed cell beside what is derived now."""
    from gcbench import spec
    from gcbench.cli.output import leave, require_apart, require_writable, rows_of
    from gcbench.formats.paper import document
    from gcbench.paper import frame, table_of
    from gcbench.records import NETWORK_EFFORT

    names = table or ([PUBLISHED] if latency else [each.name for each in TABLES])
    wanted = [table_of("--table", name) for name in dict.fromkeys(names)]
    timed_size = None if size is None else spec.parse_size("--size", size)
    if timed_size and not latency:
        raise UsageError(
            "--size goes with --latency: counts are at the sizes of the paper's tables"
        )
    axes = options.read_device(device, threads)
    effort = options.read_effort(precision, max_time, quick, False, NETWORK_EFFORT)
    shown = GENERAL[format]
    detail = options.read_detail(verbose, quiet)
    require_writable("--csv", csv)
    require_writable("--output", output)
    require_apart({"--csv": csv, "--output": output})
    faults.say(f"counting {', '.join(each.name for each in wanted)}; loading torch")

    timed = None
    if latency:
        from gcbench import engines
        from gcbench.cli.progress import timing_bar
        from gcbench.paper import timing

        compared = timing.comparisons(wanted, axes, timed_size)
        budget = effort(compared[0].cases[0].device)
        faults.say(f"timing, {budget.max_time_s:g} s for each of {len(compared)} comparisons")
        with redirect_stdout(sys.stderr), timing_bar() as move:
            run = engines.run(compared, budget, on_progress=move, wait=not no_wait, tell=faults.say)
        faults.warn(run.manifest.warnings)
        timed = timing.in_order(wanted, run)
    found = frame(wanted, timed)
    told = document(found)
    leave(told, shown, output, [(csv, rows_of(told))], detail=detail)
    raise typer.Exit(faults.code_of(found.to_dict("records"), strict=False) if latency else 0)
