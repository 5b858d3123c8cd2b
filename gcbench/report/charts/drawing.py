"""Which chart says most of some rows, and the way from rows to a specification."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gcbench.records import Manifest, Run
from gcbench.report.charts import CHARTS
from gcbench.report.charts.saving import require_installed
from gcbench.report.charts.theme import Styles, styles_of
from gcbench.report.charts.varying import MOST_PANELS, panels_of
from gcbench.results import tables
from gcbench.results.tables import Row
from gcbench.store import Stored


@dataclass(frozen=True)
class Drawn:
    """What a chart shows: some rows of a run, and the run itself, with the styles of all of it."""

    rows: Sequence[Row]
    run: Run | Stored
    styles: Styles

    @property
    def manifest(self) -> Manifest:
        """Where, when and with what it was measured."""
        return self.run.manifest


def drawn_of(run: Run | Stored, keep: Callable[[Row], bool] = lambda row: True) -> Drawn:
    """Take the rows that are kept of a run, in the styles that they have in the whole of it."""
    rows: list[Row] = []

    def seen() -> Iterator[Row]:
        for row in tables.rows(run):
            if keep(row):
                rows.append(row)
            yield row

    styles = styles_of(seen())
    return Drawn(rows, run, styles)


def fitting(rows: Sequence[Row]) -> str:
    """Name the chart that says most of some rows, by what varies and what is known of them.

    Ratios are told apart by small multiples, while those are few enough to be read.
    """
    if all(row["latency_us"] is None for row in rows):
        ok = [row for row in rows if row["status"] == "ok"]
        return "macs" if any(row["macs"] for row in ok) else "memory" if ok else "latency"
    having = [row for row in rows if row["ratio"] is not None]
    several = len({row["ratio"] for row in having}) > 1
    return "ratio" if several and len(panels_of(having)) <= MOST_PANELS else "latency"


def draw(name: str, drawn: Drawn) -> dict[str, Any]:
    """Draw a chart as a Vega-Lite specification.

    Raises UsageError where the rows do not hold what it shows, or altair is missing.
    """
    require_installed()
    made: dict[str, Any] = CHARTS[name].load()(drawn).to_dict()
    return made
