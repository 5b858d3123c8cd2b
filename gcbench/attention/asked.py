"""What is asked of `gcbench attention`, and what it answers: nothing here loads torch before that.

So a process in which a network of others runs can be asked by one that never loads it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gcbench.attention.images import Photo
from gcbench.attention.queries import Chooser
from gcbench.records import Manifest, Status
from gcbench.spec import Axes
from gcbench.timing.replicates import Progress

if TYPE_CHECKING:
    from gcbench.attention.maps import Panel

# what an analysis tells on its way: one of the methods of who hears it, and what that is given
Heard = Callable[[tuple[str, tuple[object, ...]]], object]


@dataclass(frozen=True)
class Asked:
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


def analysed(asked: Asked, timed: bool, wait: bool, heard: Heard) -> Report:
    """Measure a model's attention blocks, price them, and draw; see `analysis.analyse`."""
    from gcbench.attention import analysis, verdict

    tell = Teller(heard)
    measure = verdict.measuring(tell, timed, wait)
    return analysis.analyse(asked, measure, tell.bar, tell.keep).drawn()
