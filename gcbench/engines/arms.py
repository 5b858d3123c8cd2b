"""Cases held in this process for another one, which makes arms of them and has those sampled."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from gcbench.engines.attempts import Trying
from gcbench.engines.inline import attempted, copy_of, dressed, torch_state
from gcbench.engines.jobs import Job, Listener
from gcbench.engines.orders import Done, Nature, Order
from gcbench.engines.probe import Attempt, Setting, clock_of, failed, setting_of
from gcbench.engines.timed import heap_bytes
from gcbench.measure import heap, runtimes
from gcbench.measure.timing.clocks import Work, WorkError, blaming, collector_off
from gcbench.measure.timing.turns import IDLE_LIMIT_S, IMPATIENT_S, turn, wait_until_idle
from gcbench.measure.timing.watching import read_usage
from gcbench.measure.workload import PAGES_BYTES, Copy
from gcbench.records import Measurement


@contextmanager
def held(job: Job, listener: Listener) -> Iterator[tuple[tuple[Measurement, ...], "Arms"]]:
    """Count and try the cases of a job, as `inline.measure` does, and hold those that run.

    Yields what became of each, and what makes arms of them. Raises as that.
    """
    cases = job.comparison.cases
    with torch_state(cases[0].device) as threads, runtimes.session(cases):
        setting = setting_of(job, threads)
        attempts = [attempted(job, position, setting, listener) for position in range(len(cases))]
        listener.on_trying(Trying(None))
        measured = [attempt.measurement for attempt in attempts if attempt.work]
        heap.touch(heap_bytes(measured, job.bounds, PAGES_BYTES))
        with runtimes.settled(cases):
            yield tuple(attempt.measurement for attempt in attempts), Arms(job, attempts, setting)


class Arms:
    """The arms of cases that this process holds, by the numbers that they were made under."""

    def __init__(self, job: Job, attempts: Sequence[Attempt], setting: Setting) -> None:
        """Hold attempts, by the positions of their cases; make no arm yet."""
        self._attempts = attempts
        self._setting = setting
        first = job.comparison.cases[0]
        self._clock = clock_of(first.device, first.regime)
        self._copies: dict[int, Copy] = {}
        self._arms: dict[int, tuple[Work, int]] = {}
        self._patience_s = IDLE_LIMIT_S

    def do(self, order: Order) -> Done:
        """Do what an order says; when this returns, all other threads of this process sleep.

        Those that never do are waited for once.
        """
        for arm in order.drop:
            self._arms.pop(arm, None)
        position = self._arms[order.arm][1] if order.arm in self._arms else order.case
        try:
            done = self._done(order)
        except WorkError as failure:
            done = self._failed(position, failure.__cause__)
        except BaseException as error:  # a block may raise anything, and nobody interrupts this
            done = self._failed(position, error)
        if not wait_until_idle(self._patience_s):
            # it has threads that never rest, and each turn would wait for them in vain
            self._patience_s = IMPATIENT_S
        return done

    def _failed(self, position: int, error: BaseException | None) -> Done:
        return Done(failed=failed(self._attempts[position].measurement, error))

    def _done(self, order: Order) -> Done:
        match order.deed:
            case "make":
                return Done(self._made(order))
            case "settle":
                work, _ = self._arms[order.arm]
                with blaming(work), collector_off():
                    work.settle()
            case "sample":
                work, _ = self._arms[order.arm]
                duration_ns, met = turn(work, order.calls, order.before, self._clock)
                return Done(duration_ns=duration_ns, met=met)
            case "usage":
                return Done(usage=read_usage())
            case "release":
                self._arms.clear()
        return Done()

    def _made(self, order: Order) -> Nature:
        attempt = self._attempts[order.case]
        source = self._copy(order.case) if order.role == "copy" else attempt.work
        assert source
        rng = random.Random(order.place)
        work = dressed(source.elsewhere(rng), attempt.measurement.case, rng)
        self._arms[order.arm] = work, order.case
        return Nature(work.repeatable, work.cold, work.queueing, work.turns)

    def _copy(self, position: int) -> Copy:
        if position not in self._copies:
            case = self._attempts[position].measurement.case
            self._copies[position] = copy_of(case, self._setting)
        return self._copies[position]
