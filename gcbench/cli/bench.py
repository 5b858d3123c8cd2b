"""`gcbench bench`: blocks side by side, a table for each shape."""

import sys
from contextlib import redirect_stdout
from pathlib import Path

import typer

from gcbench.cli import faults, options, plans
from gcbench.cli.taking import takes
from gcbench.options.defaults import Said
from gcbench.options.table import format_of
from gcbench.report import FORMATS


@takes("bench", format_of([entry.name for entry in FORMATS]))
def bench(
    said: Said,
    no_wait: bool,
    dump_file: Path | None,
    csv: Path | None,
    output: Path | None,
    write: Path | None,
    format: str,
    verbose: bool,
    quiet: bool,
    strict: bool,
) -> None:
    """Measure blocks side by side: a table for each shape, and a CSV."""
    from gcbench.cli.output import leave_run, require_free
    from gcbench.report.text import shortened as cut

    asked = plans.checked(said.plan())
    if dump_file:
        plans.dump(asked, dump_file, "bench")
        return
    options.require_kind(asked.device)
    shown = FORMATS[format]
    detail = options.read_detail(verbose, quiet)
    require_free(csv, output, write)
    if not asked.static:
        options.settle_heap(asked.heap)
    faults.info(cut(f"comparing {', '.join(asked.blocks)}; loading torch"))

    from gcbench import engines
    from gcbench.engines import sweeps
    from gcbench.measure import environment
    from gcbench.results import tables

    # stdout is the result alone, whatever a block of the user's own prints
    with (
        redirect_stdout(sys.stderr),
        engines.opened(sweeps.is_foreign(asked), asked.timeout_s) as engine,
        environment.tf32(asked.tf32),
    ):
        comparisons = sweeps.comparisons(asked, engine.call)
        if asked.static:
            run = engines.count_all(comparisons, asked.seed, asked.counter, engine.call)
        else:
            effort = asked.effort(comparisons[0].device)
            run = plans.timed(asked, comparisons, effort, engine, wait=not no_wait, profile=verbose)
    run = plans.with_origins(run, asked)
    rows = list(tables.rows(run))
    leave_run(run, rows, shown, write, csv, output, detail=detail)
    raise typer.Exit(faults.code_of(rows, strict))
