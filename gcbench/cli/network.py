"""`gcbench network`: what blocks cost inside a whole network."""

import sys
from contextlib import redirect_stdout
from pathlib import Path

import typer

from gcbench.cli import faults, options, plans
from gcbench.cli import network_options as inside
from gcbench.cli.taking import takes
from gcbench.networks.places import Position
from gcbench.options.defaults import Said
from gcbench.options.table import format_of
from gcbench.report import FORMATS


@takes("network", *inside.OWN, format_of([entry.name for entry in FORMATS]))
def network(
    said: Said,
    net: str,
    insert: list[str] | None,
    replace: list[str] | None,
    position: tuple[Position, ...],
    within: float | None,
    weights: Path | None,
    whole: bool,
    no_wait: bool,
    csv: Path | None,
    output: Path | None,
    write: Path | None,
    format: str,
    verbose: bool,
    quiet: bool,
    strict: bool,
) -> None:
    """Measure a network with blocks inside against the plain one."""
    from gcbench.cli.output import leave_run, require_free
    from gcbench.records import NETWORK_EFFORT
    from gcbench.spec import cases

    asked = said.plan()
    inside.require_told(within, asked.static, format)
    searched = within is not None
    ratios = inside.SEARCHED_RATIOS if searched and "ratio" not in said else asked.ratio
    wanted = inside.read_rows(insert, replace, position, searched)
    inside.require_readable(net, wanted)
    shapes, maker = inside.read_input(said)
    state = inside.read_weights(weights)
    options.require_kind(asked.device)
    shown = FORMATS[format]
    detail = options.read_detail(verbose, quiet)
    require_free(csv, output, write)
    if not asked.static:
        options.settle_heap(asked.heap)
    faults.info(f"putting blocks into {net}; loading torch")

    from gcbench import engines
    from gcbench.measure import environment
    from gcbench.results import tables

    foreign = inside.is_foreign(net, wanted, maker)
    # stdout is the result alone, whatever a network of the user's own prints
    with (
        redirect_stdout(sys.stderr),
        engines.opened(foreign, asked.timeout_s) as engine,
        environment.tf32(asked.tf32),
    ):
        resolved, insertions = engines.named_inside(net, wanted, engine.call)
        named = cases.Network(resolved, state, whole, shapes, maker)
        comparisons = engines.compare_inside_on(asked, named, insertions, ratios, engine.call)
        if asked.static:
            # what is counted is the same on every device
            counted = [each for each in comparisons if each.device == comparisons[0].device]
            run = engines.count_all(counted, asked.seed, asked.counter, engine.call)
        else:
            effort = asked.effort(comparisons[0].device, NETWORK_EFFORT)
            run = plans.timed(asked, comparisons, effort, engine, wait=not no_wait, profile=verbose)
    run = plans.with_origins(run, asked)
    rows = tables.network_first(tables.rows(run))
    leave_run(run, rows, shown, write, csv, output, within, detail)
    raise typer.Exit(faults.code_of(rows, strict))
