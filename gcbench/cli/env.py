"""`gcbench env`: the machine as a run would record it."""

from gcbench.cli import faults
from gcbench.cli.taking import takes


@takes("env")
def env(json: bool) -> None:
    """Show the manifest that a run would store, and warnings."""
    from gcbench import environment, store

    manifest = environment.manifest("env", seed=0)
    if json:
        print(store.to_json(manifest))
        return
    for name, text in store.lines_of(manifest):
        print(f"{name:<34} {text}")
    faults.warn(manifest.warnings)
