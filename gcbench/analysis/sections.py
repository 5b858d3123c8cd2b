"""What a run shows beside its rows: how cost grows, where blocks change places, how MACs mislead.

Rows are looked at as they pass by on their way into a report, and of each only a small projection
is kept. Samples are read again only for pairs of blocks whose medians change places.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from gcbench.analysis import crossovers, ranking, scaling
from gcbench.analysis.crossovers import Crossing
from gcbench.analysis.pairwise import Source
from gcbench.analysis.points import Point, point_of, varying
from gcbench.analysis.ranking import Ranking
from gcbench.analysis.scaling import Growth
from gcbench.results.tables import Address, Row


@dataclass(frozen=True)
class Findings:
    """What was found; `varying` are the axes that sentences have to name."""

    growths: tuple[Growth, ...]
    crossing: Crossing
    ranking: Ranking
    varying: frozenset[str]

    def sentences(self) -> list[str]:
        """Say it for people, in a few lines; none where there is nothing to say."""
        return [
            *scaling.sentences(self.growths),
            *crossovers.sentences(self.crossing, self.varying),
            *ranking.sentences(self.ranking, self.varying),
        ]

    def as_json(self) -> dict[str, Any]:
        """Everything as an object, with all digits."""
        return {
            "growth": [each.as_json() for each in self.growths],
            "crossovers": [each.as_json() for each in self.crossing.found],
            "crossovers_not_resolved": self.crossing.open,
            "ranking": self.ranking.as_json(),
            "sentences": self.sentences(),
        }


class Watch:
    """Looks at the rows of a run as they pass by, and says what they show when they have."""

    def __init__(self, source: Source) -> None:
        """Keep what samples are read from again."""
        self._source = source
        self._points: list[Point] = []
        self._findings: Findings | None = None

    def over(self, placed: Iterable[tuple[Row, Address]]) -> Iterator[Row]:
        """Yield the rows, unchanged and in their order; what was seen before is forgotten."""
        kept: dict[Any, Any] = {}
        self._points = []
        self._findings = None
        for row, place in placed:
            self._points.append(point_of(row, place, kept))
            yield row

    @property
    def findings(self) -> Findings:
        """What the rows show that have passed by. Raises RunError where the run has gone."""
        if self._findings is None:
            self._findings = found_in(self._points, self._source)
        return self._findings


def found_in(points: list[Point], source: Source) -> Findings:
    """Find what points show; samples of pairs that change places are read from `source`."""
    return Findings(
        tuple(scaling.growths(points)),
        crossovers.crossing(points, source),
        ranking.ranking(points, source),
        frozenset(varying(points)),
    )
