"""Whether other programs leave the cores that a measurement asks for."""

import math
import time
from collections.abc import Callable

from gcbench import environment
from gcbench.engines.alone import Tell

# so long is looked at how busy the cores are, and so much of one may be missing
LOOK_S = 0.25
SPARE = 0.3


def tell_of_busy_cores(
    threads: int,
    tell: Tell,
    idle_ns: Callable[[], int | None] = environment.idle_ns,
    sleep: Callable[[float], None] = time.sleep,
    now_ns: Callable[[], int] = time.monotonic_ns,
) -> None:
    """Tell in a sentence where fewer cores are free than threads are to run, and what to do."""
    usable = environment.usable_cores()
    free = _free_cores(idle_ns, sleep, now_ns)
    if free is None or free > min(threads, usable) - SPARE:
        return
    fewer = math.floor(free + SPARE)
    also = f", or use --threads {fewer}" if 0 < fewer < threads else ""
    tell(
        f"{free:.1f} of {usable} cores are free, and {threads} thread{'s' * (threads > 1)} will "
        f"run: other programs take the rest; close them{also}"
    )


def _free_cores(
    idle_ns: Callable[[], int | None], sleep: Callable[[float], None], now_ns: Callable[[], int]
) -> float | None:
    begun_ns, before_ns = now_ns(), idle_ns()
    sleep(LOOK_S)
    after_ns, ended_ns = idle_ns(), now_ns()
    if before_ns is None or after_ns is None:
        return None
    return (after_ns - before_ns) / max(ended_ns - begun_ns, 1)
