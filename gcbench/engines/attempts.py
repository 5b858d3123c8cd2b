"""What is known of cases around their trial: limits that they meet, and how far a trial is."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gcbench import environment
from gcbench.records import Measurement
from gcbench.spec import Case
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


@dataclass(frozen=True)
class Trying:
    """A case, by its position, that is about to be tried alone; None where all are timed from here.

    `counted` is what is known of it before it is called for the first time; None while it is still
    being counted.
    """

    case: int | None
    counted: Measurement | None = None
