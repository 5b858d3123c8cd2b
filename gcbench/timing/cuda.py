"""The clock of a GPU: events around each sample, on a queue that is already full.

An event that is recorded on an idle device keeps the time in which the host launches what follows,
6 to 8 µs: much of a small kernel. So a finite wait holds the stream while the host enqueues rounds
behind it; only then does the device begin, and it never waits for the host again. Where the wait
was over before the host was done, the batch is thrown away and timed again with half of its rounds.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gcbench.records import DeviceState
from gcbench.timing.clocks import Reading, Round, Sample, blaming, collector_off, together
from gcbench.timing.gpu import Event, Gpu, Waiter

# the host may take so many times what it took before; waits lie within these bounds
SPARE = 2.0
FIRST_WAIT_NS, LEAST_WAIT_NS, LONGEST_WAIT_NS = 5_000_000, 50_000, 50_000_000
# a batch at under this share of the session's median clock is thrown away, once so many batches
# have shown what that is; after so many tries it is kept, and counted as throttled
DISCARD_BELOW, KNOWN_AFTER, RETRIES = 0.75, 5, 2
COOLING_S = 0.05


@dataclass
class Pace:
    """How many rounds of one make fit behind a wait, and what the host takes for one of them.

    Where not even one fits, `rounds` is 0, and every sample has a wait of its own.
    """

    rounds: int = 1
    host_ns: float = FIRST_WAIT_NS / SPARE
    most: float = float("inf")

    def wait_ns(self, rounds: int) -> float:
        """How long to hold the stream for so many rounds."""
        return min(max(SPARE * self.host_ns * rounds, LEAST_WAIT_NS), LONGEST_WAIT_NS)

    @property
    def at_its_end(self) -> bool:
        """Whether neither fewer rounds nor a longer wait can be tried."""
        return self.rounds == 0 and SPARE * self.host_ns >= LONGEST_WAIT_NS

    def held(self, rounds: int, host_ns: int) -> None:
        """The wait outlasted the host: more rounds may fit, twice as many or one more."""
        self.host_ns = max(host_ns / rounds, 1.0)
        self.most += 1
        self.rounds = int(min(2 * rounds, self.most, LONGEST_WAIT_NS / SPARE / self.host_ns))

    def missed(self, rounds: int) -> None:
        """The host outlasted the wait: fewer rounds fit, or the host takes longer than before."""
        self.most = self.rounds = rounds // 2
        self.host_ns = min(2 * self.host_ns, LONGEST_WAIT_NS / SPARE)


class Batch(NamedTuple):
    """What was read behind one wait, which the device passed at `units_per_us`."""

    durations_ns: list[int]
    host_ns: int
    exposed: bool
    units_per_us: float
    syncs: bool


class CudaClock:
    """Durations by CUDA events on a queue kept full; see the words of this module."""

    # long bursts heat the part until its clocks droop
    burst_ns: int | None = 20_000_000

    def __init__(
        self,
        gpu: Gpu,
        now: Callable[[], int] = time.perf_counter_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Time on the current stream of a GPU; host time as for `CpuClock`."""
        self.gpu = gpu
        self.now = now
        self.sleep = sleep
        with gpu.current():
            self.waiter = Waiter(gpu)
        self._paces: dict[tuple[int, int], Pace] = {}
        self._speeds: list[float] = []

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
                state = self._state(batches)
                if state.throttled_rounds and tries < RETRIES:
                    discarded, tries = discarded + size, tries + 1
                    # heat passes with time; a part that was idle wakes up with work
                    self.sleep(COOLING_S if state.throttle else 0.0)
                    continue
                states.append(state)
                exposed |= {(len(durations), i) for i, each in enumerate(batches) if each.exposed}
                flat = [duration for batch in batches for duration in batch.durations_ns]
                turns = len(flat) // size
                durations += [flat[at : at + turns] for at in range(0, len(flat), turns)]
        return Reading(durations, discarded, frozenset(exposed), together(states))

    def _batches(self, rounds: Sequence[Round], pace: Pace) -> tuple[list[Batch], int]:
        """Time some rounds, and tell how many: all that fit behind one wait.

        Where one does not, the samples of one round, each behind a wait of its own: a long one, but
        where the sample synchronises and no wait helps.
        """
        if pace.rounds and not any(sample.work.syncs for sample in rounds[0]):
            part = rounds[: pace.rounds]
            samples = [sample for turns in part for sample in turns]
            return [self._behind_a_wait(samples, pace.wait_ns(len(part)))], len(part)
        return [
            self._behind_a_wait([each], LEAST_WAIT_NS if each.work.syncs else pace.wait_ns(1))
            for each in rounds[0]
        ], 1

    def _missed(self, batches: Sequence[Batch], rounds: int, pace: Pace) -> bool:
        """Learn from batches of so many rounds; tell whether to time them again."""
        if any(batch.exposed and not batch.syncs for batch in batches):
            again = not pace.at_its_end
            pace.missed(rounds)
            return again
        if not any(batch.syncs for batch in batches):
            pace.held(rounds, sum(batch.host_ns for batch in batches))
        return False

    def _behind_a_wait(self, samples: Sequence[Sample], wait_ns: float) -> Batch:
        self.gpu.synchronize()
        wait = self.waiter.wait(wait_ns)
        start_ns = self.now()
        marks = [self._enqueued(sample) for sample in samples]
        host_ns, exposed = self.now() - start_ns, wait.over
        self.gpu.synchronize()
        # a call that queues nothing takes no time that events could tell
        durations = [max(1, round(1e6 * start.elapsed_time(end))) for start, end in marks]
        syncs = any(sample.work.syncs for sample in samples)
        return Batch(durations, host_ns, exposed, wait.units_per_us, syncs)

    def _enqueued(self, sample: Sample) -> tuple[Event, Event]:
        start, end = self.gpu.event(), self.gpu.event()
        with blaming(sample.work):
            sample.make_ready()
            start.record()
            for _ in range(sample.calls):
                sample.work.call()
            end.record()
        return start, end

    def _state(self, batches: Sequence[Batch]) -> DeviceState:
        """How the device was; its rounds are throttled where it was slower than it used to be."""
        speed = min(batch.units_per_us for batch in batches)
        usual = statistics.median(self._speeds) if len(self._speeds) >= KNOWN_AFTER else 0.0
        self._speeds.append(speed)
        told = self.gpu.told()
        return DeviceState(
            clock_mhz=speed if self.waiter.in_cycles else None,
            told_mhz=told.told_mhz,
            temperature_c=told.temperature_c,
            power_w=told.power_w,
            throttle=told.throttle,
            throttled_rounds=int(speed < DISCARD_BELOW * usual),
        )
