"""`gcbench peaks`: what this machine can do at most."""

import typer

from gcbench.cli import faults, options


def peaks(
    device: options.Device = None,
    threads: options.Threads = None,
    tf32: options.Tf32 = None,
    heap: options.Heap = None,
    no_wait: options.NoWait = False,
    json: options.Json = False,
    traceback: faults.Traceback = False,
) -> None:
    """Measure the ceilings of a device: matrix products, copies, the cost of a call."""
    from typing import get_args

    from gcbench import spec

    axes = options.read_device(device, threads)
    shortened = None if tf32 is None else spec.parse_choice("--tf32", tf32, spec.Switch)
    options.settle_heap(options.read_heap(heap))
    faults.say("loading torch")

    from gcbench import engines, environment
    from gcbench.cli.output import show_laid_out
    from gcbench.cli.progress import counting_bar
    from gcbench.formats import peaks as form
    from gcbench.formats.notes import load_of

    dtypes = get_args(spec.Dtype)
    with environment.tf32(shortened), counting_bar("measuring", 2 * len(dtypes) + 1) as move:
        found, manifest = engines.measure_peaks(
            axes, dtypes, move, wait=not no_wait, tell=faults.say
        )
    faults.warn(manifest.warnings)
    if load := load_of(manifest):
        faults.warn([f"machine busy ({load}): ceilings may be too low; close other programs"])
    if json:
        typer.echo(form.to_json(found))
    else:
        where = environment.where(manifest, found.device, found.threads)
        show_laid_out(form.renderable(found, where))
