"""Cores of this machine for one lane alone, beside other lanes that hold others.

A gcbench on one machine holds the whole CPU: an exclusive lock. A lane holds a shared lock on it,
so that it keeps such a gcbench out and not other lanes, and an exclusive one on each of its cores.
"""

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gcbench.measure.environment import lock_path, unlockable
from gcbench.system.locks import locked, opened

Log = Callable[[str], None]

# how often cores are looked for that another lane may let go, about
LOOK_S = 0.5
TOPOLOGY = Path("/sys/devices/system/cpu")


@contextmanager
def own_cores(count: int, wait: bool, tell: Log) -> Iterator[bool]:
    """Hold so many cores and keep this thread on them, and what it starts.

    Yields whether nobody else of gcbench is on them. Where they are taken, `tell` gets a sentence;
    with `wait` this returns when there are enough. Linux only.
    """
    before = os.sched_getaffinity(0)
    with ExitStack() as held:
        alone = _beside_lanes_alone(held, wait, tell)
        cores = _enough(held, count, wait, tell) if alone else ()
        if not cores:
            yield False
            return
        os.sched_setaffinity(0, cores)
        try:
            yield True
        finally:
            os.sched_setaffinity(0, before)


def in_order(cores: Sequence[int], siblings: Callable[[int], tuple[int, ...]]) -> list[int]:
    """Put cores in order so that the threads of one physical core are neighbours.

    >>> in_order([0, 1, 2, 3], lambda core: (core % 2, core % 2 + 2))
    [0, 2, 1, 3]
    """
    return sorted(cores, key=lambda core: (siblings(core), core))


def siblings(core: int) -> tuple[int, ...]:
    """The hardware threads of a core's physical core, itself among them."""
    try:
        text = (TOPOLOGY / f"cpu{core}/topology/thread_siblings_list").read_text()
        spans = [span.split("-") for span in text.strip().split(",")]
        return tuple(i for span in spans for i in range(int(span[0]), int(span[-1]) + 1))
    except (OSError, ValueError):
        return (core,)


def _enough(held: ExitStack, count: int, wait: bool, tell: Log) -> list[int]:
    """Lock so many cores, all at once or none."""
    cores = in_order(sorted(os.sched_getaffinity(0)), siblings)
    usable = [core for core in cores if _is_lockable(core, tell)]
    told = False
    while len(usable) >= count:
        with ExitStack() as taken:
            own: list[int] = []
            for core in usable:
                if len(own) < count and taken.enter_context(locked(_lock_of(core))):
                    own.append(core)
            if len(own) == count:
                held.push(taken.pop_all())
                return own
        if not told:
            tell(f"{count} of {len(usable)} cores are asked for, and others of gcbench hold some")
            told = True
        if not wait:
            break
        # two that look at the same moments would each see what the other tries
        time.sleep(LOOK_S * (0.5 + random.random()))
    return []


def _lock_of(core: int) -> Path:
    return lock_path(f"cpu-core-{core}")


def _is_lockable(core: int, tell: Log) -> bool:
    path = _lock_of(core)
    try:
        os.close(opened(path))
    except OSError as error:
        tell(unlockable(path, error))
        return False
    return True


def _beside_lanes_alone(held: ExitStack, wait: bool, tell: Log) -> bool:
    """Keep a gcbench that measures on the whole CPU out; tell whether none is there.

    Where the file cannot be had, none counts as there, as on one machine.
    """
    path = lock_path("cpu")
    try:
        if held.enter_context(locked(path, shared=True)):
            return True
        if not wait:
            tell("warning: another gcbench measures on the CPU: both disturb each other")
            return False
        tell("another gcbench measures on the CPU: waiting for it (--no-wait does not)")
        held.enter_context(locked(path, shared=True, wait=True))
    except OSError as error:
        tell(unlockable(path, error))
    return True
