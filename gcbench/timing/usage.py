"""Counters of what this process got from the machine, read before and after a replicate."""

import resource
import time
from typing import NamedTuple

from gcbench.environment import pressure_ns, steal_ns
from gcbench.records import Disturbance


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
