"""Which of two cases of one comparison is faster: the verdict that the table has, or a new one.

A verdict against the baseline is the row's own, so that no sentence contradicts the table. Two
others are paired anew from the raw samples, which are read once more, each record once.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple, Protocol

from gcbench.analysis.points import Point
from gcbench.records import ComparisonRecord
from gcbench.stats.intervals import judge_pairs

PointPair = tuple[Point, Point]
Word = Literal["faster", "slower", "unresolved"]

_OPPOSITE: dict[Word, Word] = {"faster": "slower", "slower": "faster", "unresolved": "unresolved"}


class Source(Protocol):
    """What samples are read from again: a run, stored or in memory."""

    def comparison(self, position: int) -> ComparisonRecord | None:
        """The comparison at a position, from 0 on; None where it cannot be read."""


class Judged(NamedTuple):
    """The verdict on the first of a pair against the second, and the ratio of their latencies."""

    word: Word
    relative: float | None


def judged(source: Source, pairs: Iterable[PointPair]) -> dict[PointPair, Judged]:
    """Judge pairs of points, the first against the second.

    What was not timed together is unresolved, and so is what is the same, or untrusted.
    """
    found: dict[PointPair, Judged] = {}
    again: dict[int, list[PointPair]] = {}
    for pair in dict.fromkeys(pairs):
        one, other = pair
        if one.place.record != other.place.record:
            found[pair] = Judged("unresolved", None)
        else:
            again.setdefault(one.place.record, []).append(pair)
    for position, asked in again.items():
        record = source.comparison(position)
        found |= dict.fromkeys(asked, Judged("unresolved", None)) if record is None else {}
        found |= _in_record(record, asked) if record else {}
    return found


def _in_record(record: ComparisonRecord, pairs: list[PointPair]) -> dict[PointPair, Judged]:
    found, others = {}, []
    for one, other in pairs:
        if record.baselines[one.place.case] == other.place.case and one.relative:
            found[one, other] = Judged(_word(one.verdict), one.relative)
        elif record.baselines[other.place.case] == one.place.case and other.relative:
            found[one, other] = Judged(_OPPOSITE[_word(other.verdict)], 1 / other.relative)
        else:
            others.append((one, other))
    places = [(one.place.case, other.place.case) for one, other in others]
    for pair, duel in zip(others, judge_pairs(record, places), strict=True):
        found[pair] = (
            Judged(_word(duel.verdict), duel.relative.mid) if duel else Judged("unresolved", None)
        )
    return found


def _word(verdict: str | None) -> Word:
    return "faster" if verdict == "faster" else "slower" if verdict == "slower" else "unresolved"
