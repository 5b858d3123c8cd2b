"""What is known of cases around their trial: limits that they meet, and how far a trial is."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gcbench.measure import environment
from gcbench.records import Measurement
from gcbench.spec.cases import Case
from gcbench.units import size_text


@dataclass(frozen=True)
class Bounds:
    """What limits the memory of cases.

    `memory_bytes` is the most that the cases of a comparison may take together, None where all that
    is free is allowed;
    `ran_out` tells of blocks, by their spec, the fewest bytes at which a case of it ran out.
    """

    memory_bytes: int | None = None
    ran_out: Mapping[str, int] = field(default_factory=dict)

    def room(self, device: str) -> tuple[int, str] | None:
        """The memory that may be taken on a device, and in words whose limit that is."""
        free = environment.free_bytes(device)
        limit = self.limit()
        if limit and (free is None or limit[0] <= free):
            return limit
        return None if free is None else (free, f"{size_text(free)} are free on {device}")

    def limit(self) -> tuple[int, str] | None:
        """The limit that was asked for, and that in words."""
        if self.memory_bytes is None:
            return None
        return self.memory_bytes, f"--memory-limit is {size_text(self.memory_bytes)}"

    def shortage(self, case: Case, needed_bytes: int) -> str | None:
        """Say what a case needs, where that is more than it may have."""
        room = self.room(case.device)
        if room is None or needed_bytes <= room[0]:
            return None
        return f"needs {size_text(needed_bytes)}, and {room[1]}"

    def why_skip(self, case: Case, needed_bytes: int) -> str | None:
        """Say why a case is not tried, where the same block ran out of memory with no more."""
        least = self.ran_out.get(case.spec)
        if least is None or needed_bytes < least:
            return None
        return (
            f"needs {size_text(needed_bytes)}, and {case.spec} ran out of memory at "
            f"{size_text(least)} in this sweep (--on-oom skip-larger)"
        )


UNBOUNDED = Bounds()


def rotates(case: Case) -> bool:
    """Whether inputs take turns, so that a GPU's large cache does not hold the next one."""
    return case.device != "cpu" and case.cache == "warm"


@dataclass(frozen=True)
class Trying:
    """A case, by its position, that is about to be tried alone; None where all are timed from here.

    `counted` is what is known of it before it is called for the first time; None while it is still
    being counted.
    """

    case: int | None
    counted: Measurement | None = None


class TaintedError(Exception):
    """A case left its process unfit to measure in: its device is lost, or a capture broke.

    `row` is what became of the case; where it may still be measured, in another process and without
    a CUDA graph, there is none, and the message says why it has no graph.
    """

    def __init__(self, reason: str, row: Measurement | None = None) -> None:
        """Say what happened."""
        super().__init__(reason)
        self.reason, self.row = reason, row


@dataclass(frozen=True)
class Taint:
    """What a process leaves behind that is unfit to go on, by the positions of the cases.

    `known` are rows, `graphless` are cases that no CUDA graph can hold, with the reason.
    """

    known: Mapping[int, Measurement] = field(default_factory=dict)
    graphless: Mapping[int, str] = field(default_factory=dict)


class ProcessTaintedError(Exception):
    """A job ended because its process is unfit to go on."""

    def __init__(self, taint: Taint) -> None:
        """Say of which cases what is known."""
        super().__init__(taint)
        self.taint = taint

    @classmethod
    def of(cls, position: int, error: TaintedError) -> "ProcessTaintedError":
        """The same, where the case stands at a position."""
        if error.row is None:
            return cls(Taint(graphless={position: error.reason}))
        return cls(Taint(known={position: error.row}))
