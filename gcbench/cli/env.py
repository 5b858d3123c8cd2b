"""`gcbench env`: the machine as a run would record it."""

from gcbench.cli import faults, options


def env(
    output: options.Report = None,
    format: options.GeneralFormat = "table",
    json: options.Json = False,
    traceback: faults.Traceback = False,
) -> None:
    """Show the manifest that a run would store, and warnings."""
    from gcbench.cli.output import leave, require_writable

    shown = options.read_format(format, json)
    require_writable("--output", output)

    from gcbench import environment
    from gcbench.formats.machine import document

    manifest = environment.manifest("env", seed=0)
    leave(document(manifest), shown, output)
    if shown.name != "json":
        faults.warn(manifest.warnings)
