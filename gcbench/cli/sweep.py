"""`gcbench sweep`: a grid of axes, into a run that can be gone on with."""

from dataclasses import replace

import typer

from gcbench import groups, spelling
from gcbench.blocks import require_known
from gcbench.cli import faults, options
from gcbench.cli import sweep_options as lists
from gcbench.cli.output import is_stdout, print_lines, require_apart, require_writable, write_whole
from gcbench.cli.sweeping import (
    ResumeOptions,
    begun,
    counts,
    go_on,
    going_on,
    leave,
    measure_into,
    new_run,
    prepared,
    require_new,
    start,
)
from gcbench.errors import UsageError
from gcbench.formats.text import pasted


def sweep(
    blocks: options.Blocks = None,
    batch: lists.Batches = None,
    channels: lists.ChannelLists = None,
    size: lists.Sizes = None,
    shape: lists.Shapes = None,
    stages: lists.StageLists = None,
    ratio: lists.Ratios = None,
    dtype: lists.Dtypes = None,
    device: lists.Devices = None,
    layout: lists.Layouts = None,
    mode: lists.Modes = None,
    runtime: lists.Runtimes = None,
    cache: lists.Caches = None,
    threads: lists.ThreadLists = None,
    regime: lists.Regimes = None,
    tf32: options.Tf32 = None,
    heap: options.Heap = None,
    where: lists.Where = None,
    precision: options.Precision = None,
    max_time: options.MaxTime = None,
    quick: options.Quick = False,
    rigorous: options.Rigorous = False,
    budget: lists.Budget = None,
    static: lists.Static = False,
    dry_run: lists.DryRun = False,
    no_wait: options.NoWait = False,
    timeout: options.Timeout = None,
    engine: lists.Engine = None,
    memory_limit: lists.MemoryLimit = None,
    on_oom: lists.WhenOom = None,
    seed: lists.Seeds = None,
    baseline: options.Baseline = None,
    pair: options.Pair = None,
    counter: lists.Counters = None,
    allow_nondeterministic: options.AllowNondeterministic = False,
    file: lists.File = None,
    dump_file: lists.DumpFile = None,
    resume: lists.Resume = None,
    retry: lists.Retry = None,
    allow_mismatch: lists.AllowMismatch = False,
    ray_address: lists.RayAddress = None,
    cpus_per_comparison: lists.CpusPerComparison = None,
    per_device: lists.PerDevice = False,
    csv: options.Csv = None,
    output: options.Output = None,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    traceback: faults.Traceback = False,
) -> None:
    """Measure blocks over a grid of axes, into a run that can be resumed."""
    given = lists.given(
        {
            "blocks": blocks,
            "batch": batch,
            "channels": channels,
            "size": size,
            "shape": shape,
            "stages": stages,
            "ratio": ratio,
            "dtype": dtype,
            "device": device,
            "layout": layout,
            "mode": mode,
            "runtime": runtime,
            "cache": cache,
            "threads": threads,
            "regime": regime,
            "tf32": tf32,
            "heap": heap,
            "where": where,
            "precision": precision,
            "max_time": max_time,
            "budget": budget,
            "static": static,
            "timeout": timeout,
            "engine": engine,
            "memory_limit": memory_limit,
            "on_oom": on_oom,
            "seed": seed,
            "baseline": baseline,
            "pair": pair,
            "counter": counter,
            "allow_nondeterministic": allow_nondeterministic,
            "per_device": per_device,
            "cpus_per_comparison": cpus_per_comparison,
        }
    )
    again = lists.read_retry(retry)
    detail = options.read_detail(verbose, quiet)
    if resume:
        lists.require_alone(
            given, file=file, dump_file=dump_file, output=output, quick=quick, rigorous=rigorous
        )
    elif retry:
        raise UsageError("--retry and --allow-mismatch go with --resume RUN")
    require_writable("--csv", csv)
    require_new(output)
    require_apart({"the run": resume or output, "--csv": csv, "--dump-file": dump_file})
    asked = (
        lists.read_resumed(resume, given)
        if resume
        else lists.read_new(given, file, quick, rigorous)
    )
    asked = replace(asked, blocks=tuple(groups.expanded(asked.blocks)))
    for text in asked.blocks:
        require_known(text)
    lists.require_cluster(asked, bool(resume), ray_address, allow_mismatch)
    if dump_file:
        require_writable("--dump-file", dump_file)
        write_whole(dump_file, spelling.to_toml(asked))
        if not is_stdout(dump_file):
            named = pasted(dump_file)
            faults.say(f"wrote {named}; measure it with: gcbench sweep --file {named}")
        return
    if not asked.static:
        options.settle_heap(asked.heap or "steady")
    faults.say("loading torch")
    with prepared(asked, ray_address, resume, again) as context:
        if dry_run:
            print_lines(f"{line}\n" for line in context.foreseen())
            return
        run = resume or output or new_run()
        # what ran out is to be tried again, or has another limit now
        forget = "oom" in again or memory_limit is not None
        how = ResumeOptions(again, forget, not no_wait, allow_mismatch, csv, ray_address)
        with going_on(run, how):
            with (
                go_on(context, run, allow_mismatch) if resume else start(context, run) as kept,
                begun(run, how),
            ):
                measure_into(kept, context, run, how)
            with begun(run, how):
                leave(run, csv, **detail)
    raise typer.Exit(faults.code_of_statuses(counts(run)))
