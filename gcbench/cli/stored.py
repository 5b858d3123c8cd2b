"""Stored runs that a person names, opened."""

from pathlib import Path
from typing import TYPE_CHECKING

from gcbench.cli import faults

if TYPE_CHECKING:
    from gcbench.store import Stored


def named(run: Path | None) -> Path:
    """The run that was named, else the newest in `results`, which is told. Raises RunError."""
    from gcbench import store

    if run is not None:
        return run
    newest = store.newest(Path("results"))
    faults.info(f"the newest run: {newest}")
    return newest


def opened(run: Path) -> "Stored":
    """Open a run; what is damaged in it is told, and left out. Raises RunError."""
    from gcbench import store

    return store.open_run(run, lambda damage: faults.info(f"left out: {damage}"))
