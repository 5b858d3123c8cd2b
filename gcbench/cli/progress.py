"""How far a measurement is, on stderr: a bar on a terminal or in a notebook, else nothing moves."""

import importlib.util
import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from gcbench.cli.faults import info
from gcbench.spec.cases import Axes
from gcbench.units import percent_text, span_text

if TYPE_CHECKING:
    from gcbench.measure.timing.replicates import Progress as Step
    from gcbench.records import ComparisonRecord
    from gcbench.spec.cases import Case, Comparison


@contextmanager
def timing_bar(shown: bool = True) -> Iterator["Callable[[Step], None]"]:
    """Show a bar of the time budget, if at all; the callback moves it. Gone when done."""
    with _bar("timing", shown) as bar:
        task = bar.add_task("warming up", total=None)

        def move(step: "Step") -> None:
            if step.news:
                if shown:
                    info(step.news)
                return
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


# where no bar moves, steps are told no more often
COUNTED_LINE_S = 10.0


@contextmanager
def counting_bar(what: str, total: int) -> Iterator[Callable[[str], None]]:
    """Show a bar of so many steps; the callback names the step that is done. Gone when done.

    Where nothing can move, what takes long says a line now and then.
    """
    with _bar(what) as bar:
        task = bar.add_task(f"0 of {total}", total=total)
        bar.refresh()
        began = told = time.monotonic()

        def move(done: str) -> None:
            nonlocal told
            bar.advance(task)
            number = round(bar.tasks[task].completed)
            bar.update(task, description=f"{number} of {total}: {done}")
            bar.refresh()
            now = time.monotonic()
            if bar.disable and now - told >= COUNTED_LINE_S and number < total:
                told = now
                left = span_text((now - began) / number * (total - number))
                info(f"{what}: {number} of {total}, {done}; about {left} left")

        yield move


class SweepBar:
    """How far a sweep is: on a terminal a bar that moves, elsewhere a line now and then."""

    # a bar is drawn, and a line printed, no more often: drawing takes time from what is timed
    DRAW_S, LINE_S = 0.5, 1.0
    # a terminal has some lines only
    MOST_LANES = 12

    def __init__(self, bar: Progress, total: int) -> None:
        """Begin with nothing done of so many comparisons."""
        self._bar, self._total = bar, total
        self._task = bar.add_task("", total=total)
        self._began = self._drawn = self._told = time.monotonic()
        self._done, self._statuses = 0, Counter[str]()
        self._where = ""
        self._lanes: dict[str, TaskID] = {}

    @property
    def moves(self) -> bool:
        """Whether somebody sees how far a comparison is before it is done."""
        return not self._bar.disable

    def begin(self, comparison: "Comparison") -> None:
        """Hear which comparison is the current one from here."""
        self._where = title(comparison.cases[0])

    def done(self, record: "ComparisonRecord") -> None:
        """Enter a finished comparison."""
        self._done += 1
        self._where = title(record.measurements[0].case)
        self._statuses.update(measurement.status for measurement in record.measurements)
        if self._bar.disable:
            self._say(record)
        else:
            self._draw("", last=self._done == self._total)

    def moved(self, step: "Step") -> None:
        """Hear how far the current comparison is."""
        if not self._bar.disable:
            self._draw(f": {step.doing or f'replicate {step.replicates}'}", part=_share(step))

    def spread(self, total: int, doing: "Mapping[str, tuple[Case, Step | None]]") -> None:
        """Hear how many comparisons there are by now, and how far each lane is with its own."""
        if total != self._total:
            self._total = total
            self._bar.update(self._task, total=total)
        if self._bar.disable or time.monotonic() - self._drawn < self.DRAW_S:
            return
        shown = dict(itertools.islice(doing.items(), self.MOST_LANES))
        for gone in self._lanes.keys() - shown.keys():
            self._bar.remove_task(self._lanes.pop(gone))
        for lane, (case, step) in shown.items():
            if lane not in self._lanes:
                self._lanes[lane] = self._bar.add_task("", total=1.0)
            told = f": {step.doing or f'replicate {step.replicates}'}" if step else ""
            self._bar.update(
                self._lanes[lane],
                completed=_share(step) if step else 0.0,
                description=f"{lane}: {title(case)}{told}",
            )
        more = len(doing) - len(shown)
        self._where = f"and {more} lanes more" if more else ""
        self._draw("")

    def _draw(self, doing: str, part: float = 0.0, last: bool = False) -> None:
        now = time.monotonic()
        if not last and now - self._drawn < self.DRAW_S:
            return
        self._drawn = now
        failed = sum(count for status, count in self._statuses.items() if status != "ok")
        told = f"{self._done} of {self._total}{f', {failed} cases not ok' if failed else ''}"
        self._bar.update(
            self._task,
            completed=self._done + part,
            description=" · ".join(filter(None, [told, f"{self._where}{doing}"])),
        )
        self._bar.refresh()

    def _say(self, record: "ComparisonRecord") -> None:
        now = time.monotonic()
        if now - self._told < self.LINE_S and self._done < self._total:
            return
        self._told = now
        left_s = (now - self._began) / self._done * (self._total - self._done)
        each = Counter(measurement.status for measurement in record.measurements)
        said = ", ".join(f"{count} {status}" for status, count in each.items())
        left = f"; about {span_text(left_s)} left" if self._done < self._total else ""
        node = f"{record.machine.node}: " if record.machine else ""
        info(f"{self._done} of {self._total}: {node}{self._where}: {said}{left}")


@contextmanager
def sweep_bar(total: int) -> Iterator[SweepBar]:
    """Show how far a sweep of so many comparisons is. A bar is gone when done."""
    with _bar("sweeping") as bar:
        yield SweepBar(bar, total)


def title(case: "Case") -> str:
    """What the cases of a comparison share, but for what is usual."""
    usual = Axes()
    axes = ("dtype", "device", "layout", "mode", "runtime", "cache", "threads", "regime")
    other = [_word(case, axis) for axis in axes if _unusual(case, usual, axis)]
    return " ".join(["x".join(map(str, case.shape)), *other])


def _word(case: "Case", axis: str) -> str:
    return f"threads={case.threads}" if axis == "threads" else str(getattr(case, axis))


def _unusual(case: "Case", usual: Axes, axis: str) -> bool:
    value = getattr(case, axis)
    return value not in (getattr(usual, axis), "cpu", "warm")


def _share(step: "Step") -> float:
    return min(step.elapsed_s / step.budget_s, 1.0) if step.budget_s else 0.0


def _bar(what: str, shown: bool = True) -> Progress:
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
        disable=not (shown and _moves(console)),
    )


def _moves(console: Console) -> bool:
    # in a notebook rich draws by ipywidgets, and complains where they are missing
    return console.is_terminal or (
        console.is_jupyter and importlib.util.find_spec("ipywidgets") is not None
    )
