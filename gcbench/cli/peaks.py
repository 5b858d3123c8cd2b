"""`gcbench peaks`: what this machine can do at most."""

import typer

from gcbench.cli import faults, options, plans
from gcbench.cli.taking import takes
from gcbench.defaults import Said


@takes("peaks")
def peaks(said: Said, no_wait: bool, json: bool) -> None:
    """Measure the ceilings of a device: matrix products, copies, the cost of a call."""
    from typing import get_args

    from gcbench import spec

    asked = said.plan()
    axes = plans.places(asked)[0]
    options.settle_heap(asked.heap)
    faults.say("loading torch")

    from gcbench import engines, environment
    from gcbench.cli.output import show_laid_out
    from gcbench.cli.progress import counting_bar
    from gcbench.formats import peaks as form
    from gcbench.formats.notes import load_of

    dtypes = get_args(spec.Dtype)
    with environment.tf32(asked.tf32), counting_bar("measuring", 2 * len(dtypes) + 1) as move:
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
