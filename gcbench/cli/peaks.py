"""`gcbench peaks`: what this machine can do at most."""

from pathlib import Path

from gcbench.cli import faults, options, plans
from gcbench.cli.taking import takes
from gcbench.options.defaults import Said
from gcbench.options.table import format_of
from gcbench.report import GENERAL


@takes("peaks", format_of([entry.name for entry in GENERAL]))
def peaks(said: Said, no_wait: bool, output: Path | None, format: str, json: bool) -> None:
    """Measure the ceilings of a device: matrix products, copies, the cost of a call."""
    from typing import get_args

    from gcbench.cli.output import leave, require_writable
    from gcbench.spec import cases

    shown = options.read_format(format, json)
    require_writable("--output", output)
    asked = said.plan()
    options.settle_heap(asked.heap)
    faults.info("loading torch")

    from gcbench import engines
    from gcbench.cli.progress import counting_bar
    from gcbench.measure import environment
    from gcbench.report.document import joined
    from gcbench.report.notes import load_of
    from gcbench.report.peaks import document

    dtypes, places = get_args(cases.Dtype), plans.places(asked)
    parts = []
    steps = len(places) * (2 * len(dtypes) + 1)
    with environment.tf32(asked.tf32), counting_bar("measuring", steps) as move:
        for axes in places:
            found, manifest = engines.measure_peaks(
                axes, dtypes, move, wait=not no_wait, tell=faults.info
            )
            where = environment.where(manifest, found.device, found.threads)
            parts.append((plans.cells(axes), document(found, where)))
    faults.warn(manifest.warnings)
    if load := load_of(manifest):
        faults.warn([f"machine busy ({load}): ceilings may be too low; close other programs"])
    leave(joined(parts), shown, output)
