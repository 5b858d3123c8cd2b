"""Clocks: rounds of samples go in, durations in nanoseconds come out.

The rounds are what may be queued ahead of a device: the CPU's clock runs them sample by sample;
that of a GPU, in `gcbench.measure.timing.cuda`, enqueues as many as it can and waits once.
"""

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple, Protocol

from gcbench.measure.timing.watching import Met, Watch, watching
from gcbench.records import DeviceState, Queueing


class Work(Protocol):
    """What can be timed.

    `repeatable` tells whether calls may follow each other unprepared, `cold` whether what is
    prepared is lost in a call that comes before: an emptied cache. So many `turns` of calls touch
    all of its inputs.
    """

    repeatable: bool
    cold: bool
    queueing: Queueing
    turns: int

    def prepare(self) -> None:
        """Do what must not be timed."""

    def call(self) -> object:
        """Do what is timed."""

    def settle(self) -> None:
        """Do, untimed, what only the first call at a new place has to do."""


class Sample(NamedTuple):
    """A work, how many calls of it one duration covers, and how often all turns come before it."""

    work: Work
    calls: int
    before: int = 0

    def make_ready(self) -> None:
        """Do what comes before the timed calls."""
        for _ in range(self.before * self.work.turns):
            self.work.prepare()
            self.work.call()
        self.work.prepare()


Round = Sequence[Sample]


class Reading(NamedTuple):
    """What a clock read: for each round the duration of each sample, in nanoseconds.

    `discarded` whole rounds were thrown away and timed again. `exposed` are the samples, as
    (round, turn), in which the device may have waited for the host. `met` is what this process met
    in each sample; empty where a device did the work.
    """

    durations_ns: list[list[int]]
    discarded: int = 0
    exposed: frozenset[tuple[int, int]] = frozenset()
    device: DeviceState | None = None
    met: Sequence[Sequence[Met]] = ()


def together(states: Iterable[DeviceState | None]) -> DeviceState | None:
    """One state for several: the lowest clocks, the highest temperature and power, all reasons."""
    known = [state for state in states if state]
    if not known:
        return None

    def end(of: Callable[[Iterable[float]], float], name: str) -> float | None:
        values = [value for state in known if (value := getattr(state, name)) is not None]
        return of(values) if values else None

    return DeviceState(
        clock_mhz=end(min, "clock_mhz"),
        told_mhz=end(min, "told_mhz"),
        temperature_c=end(max, "temperature_c"),
        power_w=end(max, "power_w"),
        event_pair_ns=end(max, "event_pair_ns"),
        throttle=tuple(dict.fromkeys(reason for state in known for reason in state.throttle)),
        throttled_rounds=sum(state.throttled_rounds for state in known),
    )


class WorkError(Exception):
    """A work raised while it was timed; the cause is what it raised."""

    def __init__(self, work: Work) -> None:
        """Name the work."""
        super().__init__(work)
        self.work = work


class Clock(Protocol):
    """Where time comes from.

    `burst_ns` is how long it wants to time at once; None is any. Where it `queues` rounds ahead,
    what it takes for many of them is less than what it takes for each alone.
    """

    burst_ns: int | None
    queues: bool

    def now(self) -> int:
        """Host time in nanoseconds, from some fixed moment."""

    def sleep(self, seconds: float) -> None:
        """Let time pass without working."""

    def time(self, rounds: Sequence[Round]) -> Reading:
        """Run the samples of the rounds in order.

        Raises WorkError, which names the work, with what it raised as the cause.
        """


class CpuClock:
    """Durations by a monotonic clock around each sample, the garbage collector off."""

    burst_ns: int | None = None
    queues = False

    def __init__(
        self,
        now: Callable[[], int] = time.perf_counter_ns,
        sleep: Callable[[float], None] = time.sleep,
        watching: Callable[[], AbstractContextManager[Watch]] = watching,
    ) -> None:
        """Read time from `now`, in nanoseconds; pass it with `sleep`, in seconds.

        `watching` makes what is read, beside the time, before and after each sample.
        """
        self.now = now
        self.sleep = sleep
        self._watching = watching

    def time(self, rounds: Sequence[Round]) -> Reading:
        """Run the samples one after the other; see `Clock`."""
        with collector_off(), self._watching() as watch:
            read = [[self._sampled(sample, watch) for sample in turns] for turns in rounds]
        return Reading(
            [[duration_ns for duration_ns, _ in turns] for turns in read],
            met=[[met for _, met in turns] for turns in read],
        )

    def _sampled(self, sample: Sample, watch: Watch) -> tuple[int, Met]:
        now = self.now
        with blaming(sample.work):
            sample.make_ready()
            call = sample.work.call
            before = watch()
            start = now()
            for _ in range(sample.calls):
                call()
            duration_ns = now() - start
            return duration_ns, watch().since(before)


@contextmanager
def blaming(work: Work) -> Iterator[None]:
    """Turn what a work raises into WorkError."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise WorkError(work) from error


@contextmanager
def collector_off() -> Iterator[None]:
    """Keep the garbage collector from running inside, and leave it as it was."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
