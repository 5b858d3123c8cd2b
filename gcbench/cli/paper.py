"""`gcbench paper`: the GCNet paper's tables beside what gcbench derives."""

import sys
from contextlib import redirect_stdout
from pathlib import Path

import typer

from gcbench import spec
from gcbench.cli import faults, options, plans
from gcbench.cli.network_options import MAX_TIME
from gcbench.cli.taking import takes
from gcbench.defaults import Said
from gcbench.errors import UsageError
from gcbench.formats import GENERAL
from gcbench.options import EFFORT, Option
from gcbench.options.readers import one, whether
from gcbench.options.table import format_of
from gcbench.paper.printed import TABLES

# the table whose rows have published latencies
PUBLISHED = "backbones"

TABLE = Option(
    "table",
    f"One of {', '.join(table.name for table in TABLES)}. Repeatable. Default: all; with "
    f"--latency {PUBLISHED}.",
    kind="texts",
    metavar="NAME",
)
LATENCY = Option(
    "latency",
    "Time the rows here too, beside what is published of a V100.",
    kind="flag",
    read=one(whether),
    panel=EFFORT,
)
SIZE = Option(
    "size",
    "Images to time, where the table's own are too large. Counts stay the table's.",
    short="-s",
    metavar="H[xW]",
    panel=EFFORT,
    read=one(spec.parse_size),
)


@takes(
    "paper",
    *(TABLE, LATENCY, SIZE, MAX_TIME),
    format_of([entry.name for entry in GENERAL]),
)
def paper(
    said: Said,
    table: list[str] | None,
    latency: bool,
    size: tuple[int, int] | None,
    no_wait: bool,
    csv: Path | None,
    output: Path | None,
    format: str,
    verbose: bool,
    quiet: bool,
) -> None:
    """Show the GCNet paper's tables, every printed cell beside what is derived now."""
    from gcbench.cli.output import leave, require_apart, require_writable, rows_of
    from gcbench.formats.paper import document
    from gcbench.paper import frame, table_of
    from gcbench.records import NETWORK_EFFORT

    names = table or ([PUBLISHED] if latency else [each.name for each in TABLES])
    wanted = [table_of("--table", name) for name in dict.fromkeys(names)]
    if size and not latency:
        raise UsageError(
            "--size goes with --latency: counts are at the sizes of the paper's tables"
        )
    asked = said.plan()
    axes = plans.places(asked)[0]
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

        compared = timing.comparisons(wanted, axes, size)
        budget = asked.effort(compared[0].device, NETWORK_EFFORT)
        faults.say(f"timing, {budget.max_time_s:g} s for each of {len(compared)} comparisons")
        with redirect_stdout(sys.stderr), timing_bar() as move:
            run = engines.run(compared, budget, on_progress=move, wait=not no_wait, tell=faults.say)
        faults.warn(run.manifest.warnings)
        timed = timing.in_order(wanted, run)
    found = frame(wanted, timed)
    told = document(found)
    leave(told, shown, output, [(csv, rows_of(told))], detail=detail)
    raise typer.Exit(faults.code_of(found.to_dict("records"), strict=False) if latency else 0)
