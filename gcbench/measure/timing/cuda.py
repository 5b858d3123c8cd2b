"""The clock of a GPU: events around each sample, on a queue that is already full.

An event that is recorded on an idle device keeps the time in which the host launches what follows,
6 to 8 µs: much of a small kernel. So a finite wait holds the stream while the host enqueues rounds
behind it; only then does the device begin, and it never waits for the host again. Where the wait
was over before the host was done, the batch is thrown away and timed again with half of its rounds.
"""

import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from gcbench.measure.timing.clocks import (
    Reading,
    Round,
    Sample,
    Work,
    blaming,
    collector_off,
    together,
)
from gcbench.measure.timing.gpu import Event, Gpu, Waiter
from gcbench.records import DeviceState
from gcbench.spec.cases import Regime

# the host may take so many times what it took before; waits lie within these bounds: a shorter one
# would not show the clock
SPARE = 2.0
FIRST_WAIT_NS, LEAST_WAIT_NS, LONGEST_WAIT_NS = 5_000_000, 200_000, 50_000_000
# so long a slow host takes to fill the driver's queue
FILLING_NS = 25_000_000
# a batch of the most rounds that fitted has to hold so often before a larger one is tried; twice as
# often after each that did not fit
PATIENCE = 8
# where a call fills the queue, this share of it is still to be done when the host has finished;
# less, and the device may have run dry
STILL_QUEUED = 0.05
# pairs of events around nothing, whose median is what a pair costs
EMPTY_PAIRS = 51
# long bursts heat the part until its clocks droop
BURST_NS = 20_000_000
# a batch at under this share of the session's median clock is thrown away, once so many batches
# have shown what that is; after so many tries it is kept, and counted as throttled
DISCARD_BELOW, KNOWN_AFTER, RETRIES = 0.75, 5, 2
SPEEDS_KEPT = 999
COOLING_S = 0.05


@dataclass
class Pace:
    """How many rounds of one make fit behind a wait, and what the host takes for one of them.

    Where not even one fits, `rounds` is 0, and every sample has a wait of its own.
    """

    rounds: int = 1
    host_ns: float = FIRST_WAIT_NS / SPARE
    most: float = float("inf")
    patience: int = PATIENCE
    holds: int = 0

    def wait_ns(self, rounds: int) -> float:
        """How long to hold the stream for so many rounds."""
        return min(max(SPARE * self.host_ns * rounds, LEAST_WAIT_NS), LONGEST_WAIT_NS)

    @property
    def at_its_end(self) -> bool:
        """Whether neither fewer rounds nor a longer wait can be tried."""
        return self.rounds == 0 and SPARE * self.host_ns >= LONGEST_WAIT_NS

    def held(self, rounds: int, host_ns: int) -> None:
        """The wait outlasted the host: twice as many rounds may fit, if so many did not fail."""
        self.host_ns = max(host_ns / rounds, 1.0)
        self.holds += rounds >= self.most
        if self.holds >= self.patience:
            self.most, self.holds = self.most + max(1, self.most // 4), 0
        self.rounds = int(min(2 * rounds, self.most, LONGEST_WAIT_NS / SPARE / self.host_ns))

    def missed(self, rounds: int) -> None:
        """The host outlasted the wait: fewer rounds fit, or the host takes longer than before.

        A single round gets longer waits before its samples are parted.
        """
        if rounds > 1 or self.wait_ns(1) >= FIRST_WAIT_NS:
            self.most = self.rounds = rounds // 2
            self.patience, self.holds = 2 * self.patience, 0
        self.host_ns = min(2 * self.host_ns, LONGEST_WAIT_NS / SPARE)


class Held(NamedTuple):
    """What was read behind one wait, which the device passed at `units_per_us`.

    Where the wait was `over` when the host had enqueued all, `left_ns` is what the device still had
    to do then; else `told` is what the driver told meanwhile.
    """

    durations_ns: list[int]
    host_ns: int
    over: bool
    left_ns: int
    units_per_us: float
    told: DeviceState

    @property
    def kept_busy(self) -> bool:
        """Whether the queue was far from running dry: the host had to wait for room in it."""
        return self.left_ns >= STILL_QUEUED * sum(self.durations_ns)


class Batch(NamedTuple):
    """What was read behind one wait.

    In what is `exposed` the device may have waited for the host; fewer rounds or a longer wait may
    have it `mended`, unless a call syncs or fills the queue.
    """

    held: Held
    exposed: bool
    mended: bool


class CudaClock:
    """Durations by CUDA events on a queue kept full; see the words of this module."""

    queues = True

    def __init__(
        self,
        gpu: Gpu,
        now: Callable[[], int] = time.perf_counter_ns,
        sleep: Callable[[float], None] = time.sleep,
        regime: Regime = "burst",
    ) -> None:
        """Time on the current stream of a GPU; host time as for `CpuClock`.

        In the regime `sustained` there are no pauses, and no batch is too slow to be kept.
        """
        self.burst_ns = BURST_NS if regime == "burst" else None
        self._retries = RETRIES if regime == "burst" else 0
        self.gpu = gpu
        self.now = now
        self.sleep = sleep
        with gpu.current():
            self.waiter = Waiter(gpu)
            self.event_pair_ns = self._event_pair_ns()
        self._paces: dict[tuple[int, int], Pace] = {}
        self._speeds: deque[float] = deque(maxlen=SPEEDS_KEPT)

    def time(self, rounds: Sequence[Round]) -> Reading:
        """Time rounds behind as few waits as hold them; see `Clock`."""
        pace = self._paces.setdefault((len(rounds[0]), rounds[0][0].calls), Pace())
        durations: list[list[int]] = []
        exposed: set[tuple[int, int]] = set()
        states: list[DeviceState] = []
        discarded = tries = 0
        with collector_off(), self.gpu.current():
            while len(durations) < len(rounds):
                batches, size = self._batches(rounds[len(durations) :], pace)
                if self._missed(batches, size, pace):
                    discarded += size
                    continue
                state = self._state(batches, size)
                if state.throttled_rounds and tries < self._retries:
                    discarded, tries = discarded + size, tries + 1
                    # heat passes with time; a part that was idle wakes up with work
                    self.sleep(COOLING_S if state.throttle else 0.0)
                    continue
                states.append(state)
                exposed |= {(len(durations), i) for i, each in enumerate(batches) if each.exposed}
                flat = [duration for batch in batches for duration in batch.held.durations_ns]
                turns = len(flat) // size
                durations += [flat[at : at + turns] for at in range(0, len(flat), turns)]
        return Reading(durations, discarded, frozenset(exposed), together(states))

    def _event_pair_ns(self) -> float:
        """What a pair of events around nothing reads on a full queue: it is in every sample."""
        self.gpu.synchronize()
        self.waiter.wait(FIRST_WAIT_NS)
        pairs = [(self.gpu.event(), self.gpu.event()) for _ in range(EMPTY_PAIRS)]
        for start, end in pairs:
            start.record()
            end.record()
        self.gpu.synchronize()
        return 1e6 * statistics.median(start.elapsed_time(end) for start, end in pairs)

    def _batches(self, rounds: Sequence[Round], pace: Pace) -> tuple[list[Batch], int]:
        """Time some rounds, and tell how many: all that fit behind one wait.

        Where one does not, the samples of one round, each behind a wait of its own: a long one, but
        where the sample synchronises and no wait helps.
        """
        if pace.rounds and all(sample.work.queueing == "fits" for sample in rounds[0]):
            part = rounds[: pace.rounds]
            samples = [sample for turns in part for sample in turns]
            return [self._behind_a_wait(samples, pace.wait_ns(len(part)))], len(part)
        waits_ns = {"fits": pace.wait_ns(1), "fills": FILLING_NS, "syncs": LEAST_WAIT_NS}
        return [self._behind_a_wait([each], waits_ns[each.work.queueing]) for each in rounds[0]], 1

    def _missed(self, batches: Sequence[Batch], rounds: int, pace: Pace) -> bool:
        """Learn from batches of so many rounds; tell whether to time them again."""
        if any(batch.exposed and batch.mended for batch in batches):
            again = not pace.at_its_end
            pace.missed(rounds)
            return again
        if all(batch.mended for batch in batches):
            pace.held(rounds, sum(batch.held.host_ns for batch in batches))
        return False

    def held(self, work: Work, wait_ns: float) -> "Held":
        """Hold the stream, call a work once, and tell what that did to the host."""
        return self._held([Sample(work, 1)], wait_ns)

    def _held(self, samples: Sequence[Sample], wait_ns: float) -> "Held":
        self.gpu.synchronize()
        wait = self.waiter.wait(wait_ns)
        start_ns = self.now()
        marks = [self._enqueued(sample) for sample in samples]
        end_ns, over = self.now(), wait.over
        # while the device works: idle, it would tell of a clock that nobody measured at
        told = DeviceState() if over else self.gpu.told()
        self.gpu.synchronize()
        left_ns = self.now() - end_ns
        self.waiter.learn(wait)
        # a call that queues nothing takes no time that events could tell
        durations = [max(1, round(1e6 * start.elapsed_time(end))) for start, end in marks]
        return Held(durations, end_ns - start_ns, over, left_ns, wait.units_per_us, told)

    def _behind_a_wait(self, samples: Sequence[Sample], wait_ns: float) -> Batch:
        held = self._held(samples, wait_ns)
        queueing = samples[0].work.queueing
        exposed = held.over and not (queueing == "fills" and held.kept_busy)
        return Batch(held, exposed, queueing == "fits")

    def _enqueued(self, sample: Sample) -> tuple[Event, Event]:
        start, end = self.gpu.event(), self.gpu.event()
        with blaming(sample.work):
            sample.make_ready()
            start.record()
            for _ in range(sample.calls):
                sample.work.call()
            end.record()
        return start, end

    def _state(self, batches: Sequence[Batch], rounds: int) -> DeviceState:
        """How the device was; its rounds are throttled where it was slower than it used to be."""
        speed = min(batch.held.units_per_us for batch in batches)
        usual = statistics.median(self._speeds) if len(self._speeds) >= KNOWN_AFTER else 0.0
        self._speeds.append(speed)
        return replace(
            together(batch.held.told for batch in batches) or DeviceState(),
            clock_mhz=speed if self.waiter.in_cycles else None,
            throttled_rounds=rounds if speed < DISCARD_BELOW * usual else 0,
            event_pair_ns=self.event_pair_ns,
        )
