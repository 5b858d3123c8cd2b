"""Two stored runs, case by case: what each says of a case, and what may be said of both.

Runs are read one comparison at a time; of each case only a few numbers are kept.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from gcbench import store
from gcbench.analysis.random_effects import Arm, together
from gcbench.analysis.verdicts import BlockResult, Judgement, Timed, clones_of, judge
from gcbench.records import Cell, ComparisonRecord, Manifest, Run, Status, identity
from gcbench.spec.cases import Case
from gcbench.stats.intervals import Absolute, Interval, Noise, Verdict, absolutes
from gcbench.stats.machine_flags import machine_flags, was_loaded
from gcbench.store import Stored, chosen
from gcbench.units import counted

Standing = Verdict | Literal["new", "missing", "failed"]

# exact, so any difference is one; the second column says how the first was found, and where that
# differs too nothing can be said of it
COUNTS = {"params": None, "macs": "macs_counter", "peak_memory_bytes": "memory_source"}


@dataclass(frozen=True, slots=True)
class Side:
    """What one run says of one case. `record` is the comparison that it was read from.

    `key` is what the case is told apart by in its run; `flags` name what the machine did beside it.
    """

    key: str
    device_name: str | None
    case: Case
    status: Status
    reason: str | None
    counts: Mapping[str, Cell]
    absolute: Absolute | None
    precision: float
    record: int
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """An exact count that is not what it was."""

    what: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class CasePair:
    """One case in run A and in run B; None where a run lacks it."""

    key: str
    a: Side | None
    b: Side | None
    judgement: Judgement | None = None

    @property
    def case(self) -> Case:
        """The case."""
        side = self.a or self.b
        assert side
        return side.case

    @property
    def records(self) -> tuple[int, ...]:
        """Which comparison it was read from in each run that has it."""
        return tuple(side.record for side in (self.a, self.b) if side)

    @property
    def verdict(self) -> Standing | None:
        """What may be said; None where both are ok and one was not timed."""
        if self.a is None:
            return "new"
        if self.b is None:
            return "missing"
        if not self.a.status == self.b.status == "ok":
            return "failed"
        return self.judgement.verdict if self.judgement else None

    @property
    def broke(self) -> bool:
        """Whether it is ok in A and failed in B."""
        return bool(self.a and self.b and self.a.status == "ok" != self.b.status)

    @property
    def changes(self) -> list[Change]:
        """Exact counts that differ."""
        if self.a is None or self.b is None:
            return []
        then, now = self.a.counts, self.b.counts
        return [
            Change(name, before, after)
            for name, source in COUNTS.items()
            if isinstance(before := then.get(name), int)
            and isinstance(after := now.get(name), int)
            and before != after
            and (source is None or then.get(source) == now.get(source))
        ]


@dataclass(frozen=True, slots=True)
class Compared:
    """Two runs, compared.

    `all` is the geometric mean of B over A of all that both timed, `together` that of the blocks
    that were not found changed, `clones` that of clones of the inputs, each with its interval;
    `mismatches` say what sets the runs apart beside the time.
    """

    a: Manifest
    b: Manifest
    mismatches: Sequence[str]
    pairs: Sequence[CasePair]
    blocks: Sequence[BlockResult]
    all: Interval | None
    together: Interval | None
    clones: Interval | None

    @property
    def one_run(self) -> bool:
        """Whether both are the same run."""
        return self.a == self.b and all(pair.a == pair.b for pair in self.pairs)

    @property
    def judged(self) -> list[CasePair]:
        """The pairs that both runs timed."""
        return [pair for pair in self.pairs if pair.judgement]

    @property
    def copies_differ(self) -> tuple[float, float]:
        """How far A/A intervals reach, in A and in B: the medians over the cells, as shares."""
        sides = [(pair.a, pair.b) for pair in self.judged]
        reach_a, reach_b = (
            median(side.absolute.aa.reach() for side in each if side and side.absolute)
            for each in zip(*sides, strict=True)
        )
        return math.expm1(reach_a), math.expm1(reach_b)

    @property
    def resolves(self) -> float:
        """The smallest difference that half of the cells would have told, as a share."""
        return median(pair.judgement.resolves for pair in self.pairs if pair.judgement)


def mismatches(a: Manifest, b: Manifest) -> list[str]:
    """Say in words what makes two runs incomparable; empty where nothing does."""
    return store.mismatches(a, b, ("{} in A", "{} in B"))


def match_runs(
    a: Run | Stored, b: Run | Stored, keeps: Callable[[Case], bool] = lambda case: True
) -> Compared:
    """Compare two runs, and say it of the cases that are to be kept.

    All that was measured beside those, in the same comparisons, is what they are held against. The
    cases stand in the order of A, behind them those that only B has. Raises RunError where one is
    no run.
    """
    first, second = sides(a), sides(b)
    every = [
        CasePair(key, first.get(key), second.get(key)) for key in dict.fromkeys((*first, *second))
    ]
    pairs = [pair for pair in every if keeps(pair.case)]
    beside = {pair.records for pair in pairs}
    found = [
        each
        for pair in every
        if pair.a and pair.b and pair.records in beside
        for each in _timed(pair.a, pair.b)
    ]
    clones = clones_of(found)
    judged, wholes = judge(found, clones)
    shown = {pair.case.block for pair in pairs}
    blocks = [whole for whole in wholes if whole.block in shown]
    changed = {whole.block for whole in wholes if whole.changed}
    kept = {pair.key for pair in pairs}
    return Compared(
        a.manifest,
        b.manifest,
        [*mismatches(a.manifest, b.manifest), *_moved(pairs, a.manifest, b.manifest)],
        [CasePair(each.key, each.a, each.b, judged.get(each.key)) for each in pairs],
        blocks,
        _mean([each.arm for each in found if each.key in kept]),
        _mean([each.arm for each in found if each.block not in changed]),
        _mean(clones),
    )


def _moved(pairs: Iterable[CasePair], a: Manifest, b: Manifest) -> list[str]:
    """Say which cases a cluster gave to another kind of device in B than in A."""
    moved = Counter(
        (pair.a.device_name, pair.b.device_name)
        for pair in pairs
        if pair.a and pair.b and pair.a.device_name != pair.b.device_name
    )
    own = {(a.device_name(device), b.device_name(device)) for device in (*a.devices, *b.devices)}
    return [
        f"device of {counted(times, 'case')}: {then} in A, {now} in B"
        for (then, now), times in moved.items()
        if (then, now) not in own
    ]


def _mean(arms: Sequence[Arm]) -> Interval | None:
    return together([(arm.group, arm.moved) for arm in arms]).exp() if arms else None


def sides(run: Run | Stored) -> dict[str, Side]:
    """Read what a run says of each case, by its key; a case tried again as it was read last."""
    found: dict[str, Side] = {}
    for places in chosen(run.outlines):
        for number in dict.fromkeys(record for record, _ in places):
            record = run.comparison(number)
            if record is None:
                continue
            latencies = absolutes(record)
            loaded = ["load"] if was_loaded(record.machine or run.manifest) else []
            flags = (*machine_flags(record, {}), *loaded)
            for position in (position for of, position in places if of == number):
                side = _side(record, run.manifest, number, position, latencies.get(position), flags)
                found[side.key] = side
    return found


def _side(
    record: ComparisonRecord,
    manifest: Manifest,
    number: int,
    position: int,
    absolute: Absolute | None,
    flags: tuple[str, ...],
) -> Side:
    measurement = record.measurements[position]
    names = (name for pair in COUNTS.items() for name in pair if name)
    case = measurement.case
    return Side(
        identity(case.key, record.kind),
        (record.machine or manifest).device_name(case.device),
        case,
        measurement.status,
        measurement.reason,
        {name: measurement.metrics.get(name) for name in names},
        absolute,
        record.precision,
        number,
        flags if absolute else (),
    )


def _timed(a: Side, b: Side) -> Iterator[Timed]:
    """What judges a case; nothing where one side was not timed."""
    then, now = a.absolute, b.absolute
    if then and now:
        before, after = then.latency.log(), now.latency.log()
        yield Timed(
            a.key,
            a.case.block,
            (a.record, b.record),
            a.case.input,
            after.minus(before),
            before.variance(then.error_rate) + after.variance(now.error_rate),
            now.copy.log().minus(then.copy.log()),
            Noise((then.aa, now.aa), max(a.precision, b.precision)),
        )
