"""What is asked of `gcbench attention`, as far as that is known before torch is loaded."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gcbench.attention.calls import Grid
from gcbench.attention.images import Photo
from gcbench.errors import UsageError
from gcbench.measure.timing.replicates import Progress
from gcbench.records import Manifest, Status
from gcbench.spec.cases import Axes

if TYPE_CHECKING:
    from gcbench.attention.maps import Panel


# tiles beside each other
MOST = 12

Chooser = Callable[[Grid], tuple[Grid, ...]]


def parse(text: str) -> Chooser:
    """Read `3`, or `3x4,7x7` (row x column), as what chooses positions of a grid.

    That raises UsageError where a grid has no such position. Raises UsageError where the text is
    neither.

    >>> parse("3")((14, 14)), parse("3x4, 0x0")((14, 14))
    (((3, 3), (7, 7), (10, 10)), ((3, 4), (0, 0)))
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 1 and re.fullmatch(r"[0-9]{1,3}", parts[0]) and 1 <= int(parts[0]) <= MOST:
        return partial(_spread, int(parts[0]))
    found = [re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", part) for part in parts]
    if len(parts) > MOST or not all(found):
        raise UsageError(
            f"--queries takes a number from 1 to {MOST}, or as many positions, row x column, such "
            f"as 3x4,7x7, not {text!r}"
        )
    wanted = tuple(dict.fromkeys((int(each[1]), int(each[2])) for each in found if each))
    return partial(_within, wanted)


def _spread(count: int, grid: Grid) -> tuple[Grid, ...]:
    """Positions along the diagonal, evenly, from the upper left; each once."""
    steps = [(number + 1) / (count + 1) for number in range(count)]
    along = ((math.floor(grid[0] * step), math.floor(grid[1] * step)) for step in steps)
    return tuple(dict.fromkeys(along))


def _within(wanted: tuple[Grid, ...], grid: Grid) -> tuple[Grid, ...]:
    for row, column in wanted:
        if row >= grid[0] or column >= grid[1]:
            raise UsageError(
                f"--queries {row}x{column} is outside the map of {grid[0]}x{grid[1]} positions: "
                f"0x0 to {grid[0] - 1}x{grid[1] - 1}"
            )
    return wanted


# what an analysis tells on its way: one of the methods of who hears it, and what that is given
Heard = Callable[[tuple[str, tuple[object, ...]]], object]


@dataclass(frozen=True)
class Request:
    """What is to be measured: `axes` has the device and the threads."""

    model: str
    inserts: tuple[str, ...]
    block: str | None
    photos: Sequence[Photo]
    weights: Path | None
    size: tuple[int, int]
    axes: Axes
    seed: int
    queries: Chooser | None = None


@dataclass(frozen=True)
class Report:
    """What was found: rows, where that was, and maps to draw, as panels or drawn in a `picture`.

    `untold` says what is not drawn and why, `shared` what the maps of blocks are that have none for
    each query. Where the person `stopped` it, readings are all there and some latencies are not.
    """

    rows: list[dict[str, Any]]
    manifest: Manifest
    panels: "list[Panel]" = field(default_factory=list)
    untold: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    stopped: bool = False
    picture: bytes | None = None

    def drawn(self) -> "Report":
        """The same with its panels drawn, as a PNG."""
        if not self.panels:
            return self
        from gcbench.attention import maps

        return replace(self, panels=[], picture=maps.png(self.panels))

    def lost(self, status: Status, why: str) -> "Report":
        """The same where what made it came to an end, which is why the rest is missing."""

        def ended(row: dict[str, Any]) -> dict[str, Any]:
            if row["status"] != "ok":
                return {**row, "status": status, "reason": f"while pictures went through, it {why}"}
            priced = row["latency_us"] is not None or row["price_reason"]
            return row if priced else {**row, "price_reason": f"while blocks were timed, it {why}"}

        return replace(self, rows=[ended(row) for row in self.rows])


@dataclass(frozen=True)
class Teller:
    """Tells whoever hears how far an analysis is, and what there is of its report."""

    heard: Heard

    def say(self, text: str) -> None:
        """Say a sentence to the person."""
        self.heard(("say", (text,)))

    def free(self, device: str) -> None:
        """Have a device waited for until nobody else measures there."""
        self.heard(("free", (device,)))

    def keep(self, report: Report) -> None:
        """Leave what there is by now, in case that nothing more comes."""
        self.heard(("keep", (report.drawn(),)))

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Callable[[str], None]]:
        """Have a bar shown of so many steps, whose names the callback tells."""
        with self._shown("count", what, total):
            yield lambda name: self._move(name)

    @contextmanager
    def timing(self) -> Iterator[Callable[[Progress], None]]:
        """Have it shown how far what is timed is."""
        with self._shown("time"):
            yield lambda step: self._move(step)

    def _move(self, step: object) -> None:
        self.heard(("move", (step,)))

    @contextmanager
    def _shown(self, *what: object) -> Iterator[None]:
        self.heard(("begin", what))
        yield
        self.heard(("end", ()))


def analysed(asked: Request, timed: bool, wait: bool, heard: Heard) -> Report:
    """Measure a model's attention blocks, price them, and draw; see `analysis.analyse`."""
    from gcbench.attention import analysis, verdict

    tell = Teller(heard)
    measure = verdict.measuring(tell, timed, wait)
    return analysis.analyse(asked, measure, tell.bar, tell.keep).drawn()
