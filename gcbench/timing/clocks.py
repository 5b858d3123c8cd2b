"""Clocks: a batch of samples goes in, durations in nanoseconds come out.

A batch is what may be queued ahead of the device: the CPU's clock runs it sample by sample, a CUDA
clock enqueues all of it and synchronises once.
"""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol


class Work(Protocol):
    """What can be timed.

    `repeatable` tells whether calls may follow each other unprepared, `cold` whether what is
    prepared is lost in a call that comes before: an emptied cache.
    """

    repeatable: bool
    cold: bool

    def prepare(self) -> None:
        """Do what must not be timed."""

    def call(self) -> object:
        """Do what is timed."""

    def settle(self) -> None:
        """Do, untimed, what only the first call at a new place has to do."""


class Sample(NamedTuple):
    """A work, how many calls of it one duration covers, and how many come before, untimed."""

    work: Work
    calls: int
    before: int = 0

    def make_ready(self) -> None:
        """Do what comes before the timed calls."""
        for _ in range(self.before):
            self.work.prepare()
            self.work.call()
        self.work.prepare()


class WorkError(Exception):
    """A work raised while it was timed; the cause is what it raised."""

    def __init__(self, work: Work) -> None:
        """Name the work."""
        super().__init__(work)
        self.work = work


class Clock(Protocol):
    """Where time comes from. `burst_ns` is the longest batch that it wants; None is any."""

    burst_ns: int | None

    def now(self) -> int:
        """Host time in nanoseconds, from some fixed moment."""

    def sleep(self, seconds: float) -> None:
        """Let time pass without working."""

    def time(self, batch: Sequence[Sample]) -> list[int]:
        """Run the samples in order and return the duration of each in nanoseconds.

        Raises WorkError, which names the work, with what it raised as the cause.
        """


class CpuClock:
    """Durations by a monotonic clock around each sample, the garbage collector off."""

    burst_ns: int | None = None

    def __init__(
        self,
        now: Callable[[], int] = time.perf_counter_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Read time from `now`, in nanoseconds; pass it with `sleep`, in seconds."""
        self.now = now
        self.sleep = sleep

    def time(self, batch: Sequence[Sample]) -> list[int]:
        """Run the samples one after the other; see `Clock`."""
        now = self.now
        durations = []
        with collector_off():
            for sample in batch:
                with blaming(sample.work):
                    sample.make_ready()
                    call = sample.work.call
                    start = now()
                    for _ in range(sample.calls):
                        call()
                    durations.append(now() - start)
        return durations


class CudaClock:
    """Durations by CUDA events around each sample, one synchronisation for a batch."""

    # long bursts heat the part until its clocks droop
    burst_ns: int | None = 20_000_000

    def __init__(
        self,
        device: str,
        now: Callable[[], int] = time.perf_counter_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Time on the current stream of a CUDA device; host time as for `CpuClock`."""
        self._device = device
        self.now = now
        self.sleep = sleep

    def time(self, batch: Sequence[Sample]) -> list[int]:
        """Enqueue the samples, then wait for all of them; see `Clock`."""
        import torch

        events = []
        with collector_off(), torch.cuda.device(self._device):
            for sample in batch:
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                with blaming(sample.work):
                    sample.make_ready()
                    start.record()
                    for _ in range(sample.calls):
                        sample.work.call()
                    end.record()
                events.append((start, end))
            torch.cuda.synchronize()
        return [round(1e6 * start.elapsed_time(end)) for start, end in events]


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
