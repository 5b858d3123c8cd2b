"""The table of a comparison while it is measured, on stderr where that is a terminal.

It is drawn between replicates alone: nothing here has a thread of its own, and what measures, in
this process or in another, waits until it is drawn.
"""

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gcbench.cli import faults
from gcbench.report.text import printable
from gcbench.units import counted, latency_text, percent_text, span_text

if TYPE_CHECKING:
    from gcbench.measure.timing.replicates import Progress as Step
    from gcbench.measure.timing.standing import Standing

# drawing takes milliseconds from what is being timed, so it is done no more often
DRAW_S = 0.5


class LiveTable:
    """What is known of a comparison so far, drawn on a terminal; elsewhere, nothing."""

    def __init__(self, live: Live | None, precision: float) -> None:
        """Begin with nothing known; `precision` is the half-width that is asked for, as a share."""
        self._live, self._precision = live, precision
        self._drawn = -math.inf

    @property
    def moves(self) -> bool:
        """Whether somebody sees it."""
        return self._live is not None

    def move(self, step: "Step") -> None:
        """Hear how far it is, and draw that, unless it was drawn a moment ago."""
        if step.news:
            self.tell(step.news)
            return
        now = time.monotonic()
        if self._live and (step.doing or now - self._drawn >= DRAW_S):
            self._drawn = now
            self._live.update(drawn(step, self._precision), refresh=True)

    def tell(self, text: str) -> None:
        """Say what is not the result, such as what is waited for: a line above what is drawn."""
        if self._live:
            self._live.update("", refresh=True)
        faults.info(text)


@contextmanager
def live_table(precision: float) -> Iterator[LiveTable]:
    """Show a comparison while it is measured, on a terminal. Gone when done."""
    # FORCE_COLOR makes a terminal of a pipe for rich, and what is drawn would fill it
    if not (sys.stderr and sys.stderr.isatty()):
        yield LiveTable(None, precision)
        return
    console = Console(stderr=True)
    # no refreshing thread: it would take time from what is being timed
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield LiveTable(live, precision)


def drawn(step: "Step", precision: float) -> Group:
    """Lay out how far a comparison is: its cases, the fastest first, and a line of what it does."""
    ranked = sorted(step.standings, key=lambda each: each.latency_ns)
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("rank", justify="right")
    table.add_column("block", no_wrap=True)
    for name in ("median so far", "± so far", f"time to ±{percent_text(precision)}"):
        table.add_column(name, justify="right")
    for rank, each in enumerate(ranked, start=1):
        cells = (each.label, _latency(each), _half_width(each), left(each, step))
        table.add_row(str(rank), *(Text(printable(cell)) for cell in cells))
    return Group(*([table] if ranked else []), Text(printable(doing(step))))


def doing(step: "Step") -> str:
    """What is being done, in a line."""
    if step.doing:
        return step.doing
    return (
        f"{counted(step.replicates, 'replicate')}, "
        f"{step.elapsed_s:.0f} s of at most {step.budget_s:.0f} s; Ctrl-C shows what there is"
    )


def left(standing: "Standing", step: "Step") -> str:
    """How long until an interval is as narrow as was asked for; the time may not suffice."""
    if standing.left_s is None:
        return ""
    if standing.left_s == 0:
        return "reached"
    beyond = step.elapsed_s + standing.left_s > step.budget_s
    return f"about {span_text(standing.left_s)}" + (", beyond --max-time" if beyond else "")


def _latency(standing: "Standing") -> str:
    us = standing.latency_ns / 1e3
    wide = math.expm1(standing.half_width) if standing.half_width else 0.01
    return latency_text(us, us * (1 - wide), us * (1 + wide))


def _half_width(standing: "Standing") -> str:
    if standing.half_width is None:
        return "too few"
    return percent_text(math.expm1(standing.half_width))
