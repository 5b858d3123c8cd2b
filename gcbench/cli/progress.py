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
    with _bar("timing") as bar:
        task = bar.add_task("warming up", total=None)

        def move(step: "Step") -> None:
            width = step.half_width
            widest = f", widest interval ±{percent_text(math.expm1(width))}" if width else ""
            bar.update(
                task,
                total=step.budget_s,
                completed=min(step.elapsed_s, step.budget_s),
                description=step.doing or f"replicate {step.replicates}{widest}",
            )
            bar.refresh()

        yield move


@contextmanager
def counting_bar(what: str, total: int) -> Iterator[Callable[[str], None]]:
    """Show a bar of so many steps; the callback names the step that is done. Gone when done."""
    with _bar(what) as bar:
        task = bar.add_task(f"0 of {total}", total=total)
        bar.refresh()

        def move(done: str) -> None:
            bar.advance(task)
            number = round(bar.tasks[task].completed)
            bar.update(task, description=f"{number} of {total}: {done}")
            bar.refresh()

        yield move


def _bar(what: str) -> Progress:
    console = Console(stderr=True)
    # no refreshing thread: it would take time from what is being timed
    return Progress(
        TextColumn(what, markup=False),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
        console=console,
        transient=True,
        auto_refresh=False,
        disable=not console.is_terminal,
    )
