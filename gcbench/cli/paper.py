"""`gcbench paper`: the GCNet paper's tables beside what gcbench derives."""

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from itertools import product
from pathlib import Path
from typing import Any

import typer

from gcbench.cli import faults, options, plans
from gcbench.cli.network_options import MAX_TIME
from gcbench.cli.taking import takes
from gcbench.errors import UsageError
from gcbench.options import EFFORT, Option
from gcbench.options.defaults import Said
from gcbench.options.readers import many, one, parse_sizes, whether
from gcbench.options.table import format_of
from gcbench.paper.printed import TABLES, PaperTable
from gcbench.report import GENERAL
from gcbench.spec.cases import Axes
from gcbench.spec.grid import Sweep

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
    metavar="LIST",
    panel=EFFORT,
    read=many(parse_sizes),
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
    size: Sequence[tuple[int, int]] | None,
    no_wait: bool,
    csv: Path | None,
    output: Path | None,
    format: str,
    verbose: bool,
    quiet: bool,
) -> None:
    """Show the GCNet paper's tables, every printed cell beside what is derived now."""
    from gcbench.cli.output import leave, require_apart, require_writable, rows_of
    from gcbench.paper import frame, table_of
    from gcbench.report.document import joined
    from gcbench.report.paper import document

    names = table or ([PUBLISHED] if latency else [each.name for each in TABLES])
    wanted = [table_of("--table", name) for name in dict.fromkeys(names)]
    if size and not latency:
        raise UsageError(
            "--size goes with --latency: counts are at the sizes of the paper's tables"
        )
    asked = said.plan()
    shown = GENERAL[format]
    detail = options.read_detail(verbose, quiet)
    require_writable("--csv", csv)
    require_writable("--output", output)
    require_apart({"--csv": csv, "--output": output})
    faults.info(f"counting {', '.join(each.name for each in wanted)}; loading torch")

    parts = []
    rows: list[dict[str, Any]] = []
    sides: Sequence[tuple[int, int] | None] = size or (None,)
    for axes, side in product(plans.places(asked), sides) if latency else ():
        timed = _timed(wanted, axes, side, asked, wait=not no_wait)
        rows += timed
        parts.append(({"threads": axes.threads}, document(frame(wanted, timed))))
    told = joined(parts or [({}, document(frame(wanted, None)))])
    leave(told, shown, output, [(csv, rows_of(told))], detail=detail)
    raise typer.Exit(faults.code_of(rows, strict=False) if latency else 0)


def _timed(
    wanted: Sequence[PaperTable],
    axes: Axes,
    size: tuple[int, int] | None,
    asked: Sweep,
    *,
    wait: bool,
) -> list[dict[str, Any]]:
    """Time the rows of tables in one place, at one size."""
    from gcbench import engines
    from gcbench.cli.progress import timing_bar
    from gcbench.paper import timing
    from gcbench.records import NETWORK_EFFORT

    compared = timing.comparisons(wanted, axes, size)
    budget = asked.effort(compared[0].device, NETWORK_EFFORT)
    faults.info(f"timing, {budget.max_time_s:g} s for each of {len(compared)} comparisons")
    with redirect_stdout(sys.stderr), timing_bar() as move:
        run = engines.run(compared, budget, on_progress=move, wait=wait, tell=faults.info)
    faults.warn(run.manifest.warnings)
    return timing.in_order(wanted, run)
