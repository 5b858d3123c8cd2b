"""`gcbench network`: what blocks cost inside a whole network."""

import sys
from contextlib import redirect_stdout

import typer

from gcbench.cli import faults, options
from gcbench.cli import network_options as inside


def network(
    net: inside.Net,
    insert: inside.Insert = None,
    replace: inside.Replace = None,
    position: inside.Positions = "after_1x1",
    ratio: inside.Ratios = None,
    within: inside.Within = None,
    weights: inside.Weights = None,
    whole: inside.Whole = False,
    batch: options.Batch = inside.BATCH,
    size: inside.Size = inside.SIZE,
    input: inside.Input = None,
    dtype: options.Dtype = "float32",
    device: options.Devices = None,
    layout: options.Layout = "contiguous",
    mode: options.Mode = "infer",
    runtime: options.Runtime = "eager",
    cache: options.Cache = None,
    threads: options.Threads = None,
    regime: options.Regime = "burst",
    tf32: options.Tf32 = None,
    heap: options.Heap = None,
    precision: options.Precision = None,
    max_time: inside.MaxTime = None,
    quick: options.Quick = False,
    rigorous: options.Rigorous = False,
    static: inside.Static = False,
    no_wait: options.NoWait = False,
    timeout: options.Timeout = None,
    seed: options.Seed = "0",
    counter: options.Counter = "auto",
    csv: options.Csv = None,
    output: options.Output = None,
    format: options.Format = "table",
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    strict: options.Strict = False,
    traceback: faults.Traceback = False,
) -> None:
    """Measure a network with blocks inside against the plain one."""
    from gcbench import spec
    from gcbench.cli.output import leave, require_free, require_somewhere
    from gcbench.formats import FORMATS
    from gcbench.records import NETWORK_EFFORT

    axes = options.read_axes(
        batch=batch,
        channels="3",
        size=size,
        ratio="16",
        dtype=dtype,
        device=None,
        layout=layout,
        mode=mode,
        runtime=runtime,
        cache=cache,
        threads=threads,
        regime=regime,
    )
    devices = (None,) if device is None else spec.parse_devices("--device", device)
    share = inside.read_within(within, static, format)
    ratios = inside.read_ratios(ratio, share is not None)
    wanted = inside.read_rows(insert, replace, position, share is not None)
    inside.require_readable(net, wanted)
    shapes, maker = inside.read_input(input, batch, size)
    state = inside.read_weights(weights)
    effort = options.read_effort(precision, max_time, quick, rigorous, NETWORK_EFFORT)
    drawn_from = spec.parse_count("--seed", seed, least=0)
    who = spec.parse_choice("--counter", counter, spec.CounterName)
    shortened = None if tf32 is None else spec.parse_choice("--tf32", tf32, spec.Switch)
    limit_s = options.read_timeout(timeout)
    allocator = options.read_heap(heap)
    shown = FORMATS[format]
    detail = options.read_detail(verbose, quiet)
    require_free(csv, output)
    require_somewhere(csv, output)
    options.settle_heap(allocator)
    faults.say(f"putting blocks into {net}; loading torch")

    from gcbench import engines, environment, tables
    from gcbench.cli.live import live_table

    foreign = inside.is_foreign(net, wanted, maker)
    # stdout is the result alone, whatever a network of the user's own prints
    with redirect_stdout(sys.stderr), engines.opened(foreign, limit_s) as engine:
        resolved, insertions = engines.named_inside(net, wanted, engine.call)
        named = spec.Network(resolved, state, whole, shapes, maker)
        comparisons = engines.compare_inside_on(
            devices, named, insertions, ratios, axes, engine.call
        )
        if static:
            # what is counted is the same on every device
            run = engines.count_only(comparisons[0], drawn_from, who, engine.call)
        else:
            budget = effort(comparisons[0].device)
            faults.say(f"trying each, then timing for up to {budget.max_time_s:g} s")
            with environment.tf32(shortened), live_table(budget.precision) as live:
                run = engines.run(
                    comparisons,
                    budget,
                    drawn_from,
                    who,
                    live.move,
                    engine=engine,
                    wait=not no_wait,
                    tell=live.tell,
                    profile=verbose,
                    rivals_only=True,
                    partial=True,
                    standings=live.moves,
                )
    if not static:
        faults.warn(run.manifest.warnings)
    rows = tables.network_first(tables.rows(run))
    leave(run, rows, shown, csv, output, verbose, share, **detail)
    raise typer.Exit(faults.code_of(rows, strict))
