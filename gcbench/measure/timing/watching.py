"""What this process met while a sample ran: page faults, and threads that waited for a core.

A thread that is ready and has no core waits in a run queue, and the kernel keeps for how long
(`/proc/self/task/*/schedstat`). A sample during which threads waited is not one of the block alone;
where a call has several threads, all of them wait for the one that has no core.
"""

import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from gcbench.measure.environment import pressure_ns, steal_ns
from gcbench.records import Disturbance

_TASKS = Path("/proc/self/task")
# reading one thread takes a microsecond; of many, those are watched that ran most
MOST_WATCHED = 8


class Met(NamedTuple):
    """Minor page faults, and how long threads waited for a core: since some moment, or in a sample.

    `waiting_ns` is None where the system does not tell.
    """

    faults: int
    waiting_ns: int | None

    def since(self, before: "Met") -> "Met":
        """What was met from one reading to this one."""
        if self.waiting_ns is None or before.waiting_ns is None:
            return Met(self.faults - before.faults, None)
        return Met(self.faults - before.faults, self.waiting_ns - before.waiting_ns)


Watch = Callable[[], Met]


@contextmanager
def watching() -> Iterator[Watch]:
    """Watch the threads that this process has now; yields what reads the totals."""
    with ExitStack() as held:
        threads = sorted(_opened(held), key=_ran_ns, reverse=True)[:MOST_WATCHED]

        def read() -> Met:
            faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            return Met(faults, sum(map(_waited_ns, threads)) if threads else None)

        yield read


def _opened(held: ExitStack) -> Iterator[int]:
    with suppress(OSError):
        for task in sorted(_TASKS.iterdir()):
            # a thread may end while it is looked at
            with suppress(OSError):
                descriptor = os.open(task / "schedstat", os.O_RDONLY)
                held.callback(os.close, descriptor)
                if len(_fields(descriptor)) > 1:
                    yield descriptor


def _ran_ns(descriptor: int) -> int:
    return int(_fields(descriptor)[0])


def _waited_ns(descriptor: int) -> int:
    fields = _fields(descriptor)
    return int(fields[1]) if len(fields) > 1 else 0


def _fields(descriptor: int) -> list[bytes]:
    """What the kernel tells of a thread: it ran, it waited (both in ns), it was put on a core."""
    try:
        return os.pread(descriptor, 96, 0).split()
    except OSError:  # it has ended
        return []


class Usage(NamedTuple):
    """Totals since some moment: wall and CPU time, and what stood in this process's way.

    That is time stolen by the host, forced switches, and time in which some task of the machine
    waited for a core; None where the machine does not tell.
    """

    wall_ns: int
    cpu_ns: int
    steal_ns: int | None
    involuntary_switches: int
    pressure_ns: int | None


def read_usage() -> Usage:
    """Read the counters now."""
    return Usage(
        wall_ns=time.perf_counter_ns(),
        cpu_ns=time.process_time_ns(),
        steal_ns=steal_ns(),
        involuntary_switches=resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw,
        pressure_ns=pressure_ns(),
    )


def between(before: Usage, after: Usage) -> Disturbance:
    """What stood in the way from one reading to the next."""
    return Disturbance(
        wall_ns=after.wall_ns - before.wall_ns,
        cpu_ns=after.cpu_ns - before.cpu_ns,
        steal_ns=_grown(before.steal_ns, after.steal_ns),
        involuntary_switches=after.involuntary_switches - before.involuntary_switches,
        pressure_ns=_grown(before.pressure_ns, after.pressure_ns),
    )


def _grown(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before
