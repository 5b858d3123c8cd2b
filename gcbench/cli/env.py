"""`gcbench env`: the machine as a run would record it."""

from typing import Annotated

import typer

from gcbench.cli import faults

Json = Annotated[bool, typer.Option("--json", help="Print JSON.", show_default=False)]


def env(json: Json = False, traceback: faults.Traceback = False) -> None:
    """Show the manifest that a run would store, and warnings."""
    from gcbench import environment, store

    manifest = environment.manifest("env", seed=0)
    if json:
        print(store.to_json(manifest))
        return
    for name, text in store.lines_of(manifest):
        print(f"{name:<34} {text}")
    faults.warn(manifest.warnings)
