"""How far a measurement is, on stderr: a bar on a terminal, nothing that moves elsewhere."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from gcbench.units import percent_text

if TYPE_CHECKING:
    from gcbench.timing.replicates import Progress as Step


@contextmanager
def timing_bar() -> Iterator["Callable[[Step], None]"]:
    """Show a bar of the time budget; the callback moves it. Gone when done."""
    console = Console(stderr=True)
    columns = (
        TextColumn("timing"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    # no refreshing thread: it would take time from what is being timed
    with Progress(
        *columns,
        console=console,
        transient=True,
        auto_refresh=False,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("warming up", total=None)

        def move(step: "Step") -> None:
            width = math.expm1(step.half_width) if math.isfinite(step.half_width) else None
            widest = f", widest interval ±{percent_text(width)}" if width is not None else ""
            bar.update(
                task,
                total=step.budget_s,
                completed=min(step.elapsed_s, step.budget_s),
                description=f"replicate {step.replicates}{widest}",
            )
            bar.refresh()

        yield move
