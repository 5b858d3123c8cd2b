"""`gcbench sweep`: a grid of axes, into a run that can be gone on with."""

from pathlib import Path

import typer

from gcbench.cli import faults, options, plans
from gcbench.cli.output import (
    is_stdout,
    leave,
    print_lines,
    require_apart,
    require_writable,
    rows_of,
)
from gcbench.cli.sweeping import (
    ResumeOptions,
    begun,
    counts,
    go_on,
    going_on,
    measure_into,
    new_run,
    prepared,
    require_new,
    start,
    told,
)
from gcbench.cli.taking import takes
from gcbench.errors import UsageError
from gcbench.options.defaults import Said
from gcbench.options.table import format_of
from gcbench.report import GENERAL
from gcbench.report.text import pasted
from gcbench.spec.grid import Retriable


@takes("sweep", format_of([entry.name for entry in GENERAL]))
def sweep(
    said: Said,
    no_wait: bool,
    dry_run: bool,
    dump_file: Path | None,
    resume: Path | None,
    retry: tuple[Retriable, ...] | None,
    allow_mismatch: bool,
    csv: Path | None,
    output: Path | None,
    write: Path | None,
    format: str,
    verbose: bool,
    quiet: bool,
) -> None:
    """Measure blocks over a grid of axes, into a run that can be resumed."""
    again = retry or ()
    detail = options.read_detail(verbose, quiet)
    shown = GENERAL[format]
    if resume:
        plans.require_alone(said)
    elif retry:
        raise UsageError("--retry and --allow-mismatch go with --resume RUN")
    require_writable("--csv", csv)
    require_new(output)
    require_writable("--write", write)
    files = {"--csv": csv, "--write": write, "--dump-file": dump_file}
    require_apart({"the run": resume or output, **files})
    asked = plans.checked(plans.resumed(resume, said) if resume else said.plan())
    ray_address = plans.read_cluster(asked, said, allow_mismatch)
    if dump_file:
        plans.dump(asked, dump_file, "sweep")
        return
    if not asked.static:
        options.settle_heap(asked.heap)
    faults.info("loading torch")
    with prepared(asked, ray_address, resume, again) as context:
        if dry_run:
            print_lines(f"{line}\n" for line in context.foreseen())
            return
        run = resume or output or new_run()
        # what ran out is to be tried again, or has another limit now
        forget = "oom" in again or "memory_limit" in said.line
        how = ResumeOptions(again, forget, not no_wait, allow_mismatch, csv, ray_address)
        with going_on(run, how):
            with (
                go_on(context, run, allow_mismatch) if resume else start(context, run) as kept,
                begun(run, how),
            ):
                measure_into(kept, context, run, how)
            with begun(run, how):
                grid, rows = told(run, shown)
                leave(grid, shown, write, [(csv, rows_of(rows))], kept=run, detail=detail)
                if not is_stdout(csv):
                    faults.info(f"shown again, and otherwise, by: gcbench report {pasted(run)}")
    raise typer.Exit(faults.code_of_statuses(counts(run)))
