"""`--fail-on`: which findings of a comparison of two runs end it with exit code 1."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gcbench.analysis.compare import CasePair, Compared
from gcbench.errors import UsageError
from gcbench.registry import suggestion
from gcbench.stats.intervals import Interval
from gcbench.units import parse_share, percent_text

Found = Iterator[str]

UNTOLD = ("unresolved", "untrusted")


@dataclass(frozen=True, slots=True)
class Kind:
    """What can be asked for: a name, what it stands for, what finds it, and whether by a share."""

    name: str
    summary: str
    find: Callable[[Compared, float], Found]
    graded: bool


@dataclass(frozen=True, slots=True)
class Condition:
    """One that was asked for. `beyond` is the share that the whole interval must exceed."""

    kind: Kind
    beyond: float

    @property
    def text(self) -> str:
        """The condition as it may be written."""
        return self.kind.name + (f":{100 * self.beyond:g}%" if self.beyond else "")

    def met(self, compared: Compared) -> list[str]:
        """Name what meets it."""
        return list(self.kind.find(compared, self.beyond))

    def unseen(self, compared: Compared) -> int:
        """Count the cells in which, or in whose block, so little would not have been told."""
        if not self.kind.graded or not self.beyond:
            return 0
        blocks = {w.block: w.judgement.resolves for w in compared.blocks if w.cells > 1}
        resolved = (
            min(pair.judgement.resolves, blocks.get(pair.case.block, math.inf))
            for pair in compared.judged
            if pair.judgement
        )
        return sum(not each <= self.beyond for each in resolved)


def parse_conditions(option: str, texts: Sequence[str]) -> list[Condition]:
    """Read conditions, with commas between them. Raises UsageError, which names the option.

    >>> [each.text for each in parse_conditions("--fail-on", ["slower:3%,missing"])]
    ['slower:3%', 'missing']
    """
    return [_parsed(option, word.strip()) for text in texts for word in text.split(",")]


def _parsed(option: str, text: str) -> Condition:
    name, colon, share = text.partition(":")
    kind = next((each for each in KINDS if each.name == name), None)
    if kind is None:
        known = suggestion(name, [each.name for each in KINDS])
        raise UsageError(f"{option} {text!r} is no condition: {known}")
    if colon and not kind.graded:
        raise UsageError(f"{option} {text!r}: {name} takes no share")
    return Condition(kind, parse_share(f"{option} {name}", share) if colon else 0.0)


def _slower(compared: Compared, beyond: float) -> Found:
    return _resolved(compared, "slower", lambda own: own.lo > 1 + beyond)


def _faster(compared: Compared, beyond: float) -> Found:
    return _resolved(compared, "faster", lambda own: own.hi < 1 - beyond)


def _resolved(compared: Compared, verdict: str, exceeds: Callable[[Interval], bool]) -> Found:
    for whole in compared.blocks:
        if whole.cells > 1 and whole.judgement.verdict == verdict and exceeds(whole.judgement.own):
            yield f"{whole.block}, all its cells together"
    for pair in compared.judged:
        if pair.judgement and pair.verdict == verdict and exceeds(pair.judgement.own):
            yield pair.key


def _together(compared: Compared, beyond: float) -> Found:
    moved = compared.together
    if moved and moved.known and moved.lo > 1 + beyond:
        yield f"all that is not slower by itself, by {percent_text(moved.mid - 1)}"


def _keys(holds: Callable[[CasePair], bool]) -> Callable[[Compared, float], Found]:
    return lambda compared, beyond: (pair.key for pair in compared.pairs if holds(pair))


KINDS = (
    Kind("slower", "a case or a block that is slower in B", _slower, graded=True),
    Kind("faster", "one that is faster", _faster, graded=True),
    Kind("together", "everything slower at once, machine or not", _together, graded=True),
    Kind("unresolved", "what could not be told", _keys(lambda p: p.verdict in UNTOLD), False),
    Kind("missing", "a case of A that B lacks", _keys(lambda p: p.b is None), False),
    Kind("failed", "a case that is ok in A alone", _keys(lambda p: p.broke), False),
    Kind(
        "counts", "other parameters, MACs or peak memory", _keys(lambda p: bool(p.changes)), False
    ),
)
