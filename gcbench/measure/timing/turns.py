"""Arms in processes of their own: they take turns, sample by sample, in the rounds of one loop.

The loop draws the orders and asks; a sample is timed by the clock of the process in which its arm
lives. What a process leaves running when its turn is over would take a core from the next one:
threads of OpenMP spin for milliseconds after the last loop that they shared. So a turn ends only
when all threads but the one that answers are asleep, and begins with calls that are not timed.
"""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from gcbench.measure.timing.clocks import Clock, Reading, Round, Sample, Work, blaming
from gcbench.measure.timing.watching import Met

_TASKS = Path("/proc/self/task")
# LLVM's and Intel's OpenMP spin for 200 ms where nobody says otherwise, GNU's for some
IDLE_LIMIT_S, LOOK_S = 0.5, 0.0002
# where the system does not tell of threads, or some never sleep, this long is waited
IMPATIENT_S = 0.02
# a turn begins with at least so many untimed calls, and so long: threads and clocks wake up
LEAD_CALLS, LEAD_NS = 2, 500_000


class Far(Work, Protocol):
    """A work that lives in another process."""

    def sampled(self, calls: int, before: int) -> tuple[int, Met]:
        """Have one sample taken there, of so many calls; see `turn`.

        Returns its duration in ns, and what its process met meanwhile. Raises what it raised.
        """


class TurnClock:
    """The clock of works that live in other processes: each is asked when it is its turn."""

    burst_ns: int | None = None
    queues = False

    def __init__(
        self,
        now: Callable[[], int] = time.perf_counter_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Read time from `now`, in nanoseconds; pass it with `sleep`, in seconds."""
        self.now = now
        self.sleep = sleep

    def time(self, rounds: Sequence[Round]) -> Reading:
        """Have the samples taken one after the other; see `Clock`."""
        read = [[_asked(sample) for sample in turns] for turns in rounds]
        return Reading(
            [[duration_ns for duration_ns, _ in turns] for turns in read],
            met=[[met for _, met in turns] for turns in read],
        )


def _asked(sample: Sample) -> tuple[int, Met]:
    work = sample.work
    with blaming(work):
        return work.sampled(sample.calls, sample.before)  # type: ignore[attr-defined, no-any-return]


def turn(work: Work, calls: int, before: int, clock: Clock) -> tuple[int, Met]:
    """Take one sample of a work in its own process.

    Where untimed calls are to come before it, there are at least `LEAD_CALLS`, and for `LEAD_NS`.
    Returns its duration in ns, and what this process met. Raises WorkError.
    """
    if before:
        with blaming(work):
            _lead_in(work, clock)
    reading = clock.time([[Sample(work, calls, before)]])
    [[duration_ns]] = reading.durations_ns
    return duration_ns, reading.met[0][0] if reading.met else Met(0, None)


def _lead_in(work: Work, clock: Clock) -> None:
    """Call a work untimed, until one call less than is wanted before a sample is left."""
    start_ns = clock.now()
    for called in itertools.count():
        if called + 1 >= LEAD_CALLS and clock.now() - start_ns >= LEAD_NS:
            return
        for _ in range(work.turns):
            work.prepare()
            work.call()


def wait_until_idle(limit_s: float = IDLE_LIMIT_S) -> bool:
    """Wait until every other thread of this process sleeps, at most for so long.

    Returns whether all did at last; where the system does not tell, it is waited and believed.
    """
    if not _TASKS.exists():
        time.sleep(IMPATIENT_S)
        return True
    deadline = time.monotonic() + limit_s
    while _others_run():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_S)
    return True


def _others_run() -> bool:
    own = threading.get_native_id()
    for task in _TASKS.iterdir():
        # a thread may end while it is looked at
        with suppress(OSError):
            if int(task.name) != own:
                state = (task / "stat").read_text().rpartition(")")[2].split()[0]
                if state == "R":
                    return True
    return False
