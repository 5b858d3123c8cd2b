"""`gcbench bench`: blocks side by side at one shape."""

import sys
from contextlib import redirect_stdout

import typer

from gcbench.cli import faults, options


def bench(
    blocks: options.Blocks = None,
    batch: options.Batch = "1",
    channels: options.Channels = "256",
    size: options.Size = "56",
    ratio: options.Ratio = "16",
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
    max_time: options.MaxTime = None,
    quick: options.Quick = False,
    rigorous: options.Rigorous = False,
    no_wait: options.NoWait = False,
    timeout: options.Timeout = None,
    seed: options.Seed = "0",
    baseline: options.Baseline = None,
    pair: options.Pair = None,
    counter: options.Counter = "auto",
    allow_nondeterministic: options.AllowNondeterministic = False,
    csv: options.Csv = None,
    output: options.Output = None,
    format: options.Format = "table",
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    strict: options.Strict = False,
    traceback: faults.Traceback = False,
) -> None:
    """Measure blocks side by side at one shape: a table, and a CSV."""
    from gcbench import groups, spec
    from gcbench.blocks import is_ours, require_known
    from gcbench.cli.output import leave, require_free, require_somewhere
    from gcbench.formats import FORMATS
    from gcbench.formats.text import shortened as cut

    axes = options.read_axes(
        batch=batch,
        channels=channels,
        size=size,
        ratio=ratio,
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
    both = None if pair is None else spec.parse_pair("--pair", pair, axes)
    effort = options.read_effort(precision, max_time, quick, rigorous)
    drawn_from = spec.parse_count("--seed", seed, least=0)
    who = spec.parse_choice("--counter", counter, spec.CounterName)
    shortened = None if tf32 is None else spec.parse_choice("--tf32", tf32, spec.Switch)
    named = groups.expanded(blocks or spec.DEFAULT_BLOCKS)
    for text in named:
        require_known(text)
    limit_s = options.read_timeout(timeout)
    allocator = options.read_heap(heap)
    shown = FORMATS[format]
    detail = options.read_detail(verbose, quiet)
    require_free(csv, output)
    require_somewhere(csv, output)
    options.settle_heap(allocator)
    faults.say(cut(f"comparing {', '.join(named)}; loading torch"))

    from gcbench import engines, environment, tables
    from gcbench.cli.live import live_table

    foreign = not all(map(is_ours, [*named, *([baseline] if baseline else [])]))
    # stdout is the result alone, whatever a block of the user's own prints
    with redirect_stdout(sys.stderr), engines.opened(foreign, limit_s) as engine:
        comparisons = engines.compare_on(devices, named, axes, baseline, both, engine.call)
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
                allow_nondeterministic=allow_nondeterministic,
            )
    faults.warn(run.manifest.warnings)
    rows = list(tables.rows(run))
    leave(run, rows, shown, csv, output, verbose, **detail)
    raise typer.Exit(faults.code_of(rows, strict))
