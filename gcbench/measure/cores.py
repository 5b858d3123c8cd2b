"""Whether other programs leave the cores that a measurement asks for; no torch."""

import math
import time
from collections.abc import Callable
from typing import NamedTuple

from gcbench.measure import environment

Log = Callable[[str], None]

# so long is looked at how busy the cores are, and so much of one may be missing
LOOK_S = 0.25
SPARE = 0.3


class Totals(NamedTuple):
    """Since some moment: the time, what the usable cores were idle, what this process ran, in ns.

    `idle_ns` is None where the system does not tell.
    """

    wall_ns: int
    idle_ns: int | None
    own_ns: int


def read() -> Totals:
    """Read the totals now."""
    return Totals(time.monotonic_ns(), environment.idle_ns(), time.process_time_ns())


_begun: Totals | None = None


def begin() -> None:
    """Begin to look, so that nobody has to wait for it later: what this process runs counts not."""
    global _begun
    _begun = read()


def tell_of_busy_cores(
    threads: int,
    tell: Log,
    read: Callable[[], Totals] = read,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Tell in a sentence where fewer cores are free than threads are to run, and what to do."""
    global _begun
    usable, before = environment.usable_cores(), _begun or read()
    _begun = None
    sleep(max(0.0, LOOK_S - (read().wall_ns - before.wall_ns) / 1e9))
    free = _free(before, read())
    if free is None or free > min(threads, usable) - SPARE:
        return
    fewer = math.floor(free + SPARE)
    also = f", or use --threads {fewer}" if 0 < fewer < threads else ""
    tell(
        f"{free:.1f} of {usable} cores are free, and {threads} thread{'s' * (threads > 1)} will "
        f"run: other programs take the rest; close them{also}"
    )


def _free(before: Totals, after: Totals) -> float | None:
    """The cores that were idle, or this process's own."""
    if before.idle_ns is None or after.idle_ns is None:
        return None
    ours_ns = after.idle_ns - before.idle_ns + after.own_ns - before.own_ns
    return ours_ns / max(after.wall_ns - before.wall_ns, 1)
