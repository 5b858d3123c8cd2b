"""What a worker that holds cases is asked to do with arms of theirs, and what it answers."""

from dataclasses import dataclass
from typing import Literal

from gcbench.measure.timing.watching import Met, Usage
from gcbench.records import Measurement, Queueing, Role

Deed = Literal["make", "settle", "sample", "usage", "release"]


@dataclass(frozen=True)
class Order:
    """One thing to do with an arm, which goes by the number that it was made under.

    To make one takes its role, the position of its case, and a seed that decides its `place` in
    memory; to sample it takes so many timed calls, `before` as for
    `gcbench.measure.timing.clocks.Sample`. The arms in `drop` are let go of first. To release is to
    let go of all.
    """

    deed: Deed
    arm: int = 0
    role: Role = "case"
    case: int = 0
    place: int = 0
    calls: int = 1
    before: int = 0
    drop: tuple[int, ...] = ()


@dataclass(frozen=True)
class Nature:
    """What an arm that was made is; see `gcbench.measure.timing.clocks.Work`."""

    repeatable: bool
    cold: bool
    queueing: Queueing
    turns: int


@dataclass(frozen=True)
class Done:
    """What came of an order: the arm's nature, a sample, the process's usage; or how it failed."""

    nature: Nature | None = None
    duration_ns: int = 0
    met: Met | None = None
    usage: Usage | None = None
    failed: Measurement | None = None
