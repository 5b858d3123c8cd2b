"""`gcbench peaks`: what this machine can do at most."""

from gcbench.cli import faults, options


def peaks(
    device: options.Device = None,
    threads: options.Threads = None,
    tf32: options.Tf32 = None,
    heap: options.Heap = None,
    no_wait: options.NoWait = False,
    output: options.Report = None,
    format: options.GeneralFormat = "table",
    json: options.Json = False,
    traceback: faults.Traceback = False,
) -> None:
    """Measure the ceilings of a device: matrix products, copies, the cost of a call."""
    from typing import get_args

    from gcbench import spec
    from gcbench.cli.output import leave, require_writable

    shown = options.read_format(format, json)
    require_writable("--output", output)
    axes = options.read_device(device, threads)
    shortened = None if tf32 is None else spec.parse_choice("--tf32", tf32, spec.Switch)
    options.settle_heap(options.read_heap(heap))
    faults.say("loading torch")

    from gcbench import engines, environment
    from gcbench.cli.progress import counting_bar
    from gcbench.formats.notes import load_of
    from gcbench.formats.peaks import document

    dtypes = get_args(spec.Dtype)
    with environment.tf32(shortened), counting_bar("measuring", 2 * len(dtypes) + 1) as move:
        found, manifest = engines.measure_peaks(
            axes, dtypes, move, wait=not no_wait, tell=faults.say
        )
    faults.warn(manifest.warnings)
    if load := load_of(manifest):
        faults.warn([f"machine busy ({load}): ceilings may be too low; close other programs"])
    where = environment.where(manifest, found.device, found.threads)
    leave(document(found, where), shown, output)
