"""`gcbench env`: the machine as a run would record it."""

from pathlib import Path

from gcbench.cli import faults, options
from gcbench.cli.taking import takes
from gcbench.options.table import format_of
from gcbench.report import GENERAL


@takes("env", format_of([entry.name for entry in GENERAL]))
def env(output: Path | None, format: str, json: bool) -> None:
    """Show the manifest that a run would store, and warnings."""
    from gcbench.cli.output import leave, require_writable

    shown = options.read_format(format, json)
    require_writable("--output", output)

    from gcbench.measure import environment
    from gcbench.report.machine import document

    manifest = environment.manifest("env", seed=0)
    leave(document(manifest), shown, output)
    if shown.name != "json":
        faults.warn(manifest.warnings)
