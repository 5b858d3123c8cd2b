"""`gcbench network`: what blocks cost inside a whole network."""

import sys
from contextlib import redirect_stdout
from itertools import product

import typer

from gcbench.cli import faults, options
from gcbench.cli import network_options as inside


def network(
    net: inside.Net,
    insert: inside.Insert = None,
    position: inside.Positions = "after_1x1",
    ratio: inside.Ratios = "16",
    weights: inside.Weights = None,
    whole: inside.Whole = False,
    batch: options.Batch = "1",
    size: inside.Size = "224",
    dtype: options.Dtype = "float32",
    device: options.Devices = None,
    layout: options.Layout = "contiguous",
    mode: options.Mode = "infer",
    runtime: options.Runtime = "eager",
    cache: options.Cache = None,
    threads: options.Threads = None,
    regime: options.Regime = "burst",
    tf32: options.Tf32 = None,
    precision: options.Precision = None,
    max_time: inside.MaxTime = None,
    quick: options.Quick = False,
    rigorous: options.Rigorous = False,
    static: inside.Static = False,
    no_wait: options.NoWait = False,
    seed: options.Seed = "0",
    counter: options.Counter = "auto",
    csv: options.Csv = None,
    output: options.Output = None,
    format: options.Format = "table",
    verbose: options.Verbose = False,
    strict: options.Strict = False,
    traceback: faults.Traceback = False,
) -> None:
    """Measure a network with blocks inside against the plain one."""
    from gcbench import groups, spec
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
    ratios = inside.read_ratios(ratio)
    positions = inside.read_positions(position)
    wanted = list(product(groups.inserted(insert or inside.DEFAULT_INSERTS), positions))
    inside.require_readable(net, wanted)
    state = inside.read_weights(weights)
    effort = options.read_effort(precision, max_time, quick, rigorous, NETWORK_EFFORT)
    drawn_from = spec.parse_count("--seed", seed, least=0)
    who = spec.parse_choice("--counter", counter, spec.CounterName)
    shortened = None if tf32 is None else spec.parse_choice("--tf32", tf32, spec.Switch)
    shown = FORMATS[format]
    require_free(csv, output)
    require_somewhere(csv, output)
    faults.say(f"putting blocks into {net}; loading torch")

    from gcbench import engines, environment, networks, tables
    from gcbench.cli.progress import timing_bar

    # stdout is the result alone, whatever a network of the user's own prints
    with redirect_stdout(sys.stderr):
        named = spec.Network(networks.resolve(net), state, whole)
        insertions = dict.fromkeys(networks.read_insertion(*each) for each in wanted)
        comparisons = engines.compare_inside_on(devices, named, list(insertions), ratios, axes)
    if static:
        # what is counted is the same on every device
        run = engines.count_only(comparisons[0], drawn_from, who)
    else:
        budget = effort(comparisons[0].device)
        faults.say(f"trying each, then timing for up to {budget.max_time_s:g} s")
        with redirect_stdout(sys.stderr), environment.tf32(shortened), timing_bar() as move:
            run = engines.run(
                comparisons,
                budget,
                drawn_from,
                who,
                move,
                wait=not no_wait,
                tell=faults.say,
                profile=verbose,
            )
        faults.warn(run.manifest.warnings)
    rows = tables.network_first(tables.rows(run))
    leave(run, rows, shown, csv, output, verbose)
    raise typer.Exit(faults.code_of(rows, strict))
