"""A comparison whose arms live in workers of their own: one for each heap and foreign runtime.

This process draws the orders of the rounds and asks the worker of an arm for one sample at a time;
the others wait meanwhile for a line, with all their threads asleep. So arms of different processes
share rounds, and their ratios are paired as those of one process are.

What two processes differ by though they do the same (where libraries and heaps lie, and what turns
cost) must not pass for a difference of arms. So the second copy of each baseline, whose ratio to it
is the A/A interval that verdicts are held against, lives in another worker with the same settings.
Each case of a foreign runtime has such a copy too: a control of what its neighbours do to it.
"""

import random
import weakref
from collections.abc import Collection
from dataclasses import replace
from itertools import count
from typing import NamedTuple

from gcbench.engines.attempts import Trying
from gcbench.engines.jobs import Job, Listener
from gcbench.engines.orders import Done, Order
from gcbench.engines.timed import (
    SoFar,
    crowded_out,
    lineup_of,
    tell_of_failures,
    time_what_runs,
    timed_record,
    worth_timing,
)
from gcbench.engines.worker_process import Worker, WorkerError
from gcbench.errors import LimitError
from gcbench.measure import heap
from gcbench.measure.environment import free_bytes
from gcbench.measure.timing.replicates import Make, Progress, time_comparison
from gcbench.measure.timing.turns import TurnClock
from gcbench.measure.timing.watching import Met, Usage, read_usage
from gcbench.records import ComparisonRecord, Measurement, Role, Timing
from gcbench.runtime import known
from gcbench.spec.cases import Case, Comparison, Effort, Heap
from gcbench.units import size_text

# what a worker takes before it holds a case: torch above all
WORKER_BYTES = 400 * 2**20


class Seat(NamedTuple):
    """A worker of a comparison: how its heap is, and whether it has second copies alone.

    It has the cases of one `foreign` runtime; where that is None, those that torch runs.
    """

    heap: Heap
    foreign: str | None = None
    twins: bool = False


class ArmError(Exception):
    """A case failed in its worker, which lives on; `row` is what became of it."""

    def __init__(self, row: Measurement) -> None:
        """Take the row."""
        super().__init__(row.reason)
        self.row = row


def is_apart(comparison: Comparison) -> bool:
    """Whether the arms of a comparison need workers of their own.

    A case that no foreign runtime takes, and that is skipped, needs none.
    """
    return any(case.heap or _is_deployed(case) for case in comparison.cases)


def _is_deployed(case: Case) -> bool:
    """Whether a foreign runtime may run a case: on a CPU, with pauses between its turns."""
    return known(case.runtime).foreign and case.device == "cpu" and case.regime == "burst"


def workers_of(comparison: Comparison) -> int:
    """How many workers the arms of a comparison need, each of about `WORKER_BYTES`."""
    return len(_seats(comparison)) if is_apart(comparison) else 0


class Apart:
    """The workers of one comparison after another."""

    def __init__(self, timeout_s: float) -> None:
        """Let trying a case, and whatever is asked of an arm, take `timeout_s`."""
        self._timeout_s = timeout_s
        self._hands: dict[Seat, Hand] = {}

    @property
    def began(self) -> bool:
        """Whether there are workers that an earlier comparison left."""
        return bool(self._hands)

    def end(self) -> None:
        """Leave no process behind; the next comparison starts new ones."""
        while self._hands:
            self._hands.popitem()[1].worker.end()

    def measure(self, job: Job, listener: Listener) -> ComparisonRecord:
        """Do a job, as `inline.measure` does in one process.

        Raises WorkerError where a worker is lost, with the case that it was trying or timing;
        otherwise as `Worker.ask` does. No worker is left then.
        """
        try:
            record = self._measured(job, listener)
            if record.interrupted:  # whatever was asked last may still be under way
                self.end()
            for hand in self._hands.values():
                hand.do(Order("release"))
        except BaseException:
            self.end()
            raise
        return record

    def _measured(self, job: Job, listener: Listener) -> ComparisonRecord:
        self._start(job, listener)
        comparison = job.comparison
        rows: dict[int, Measurement] = dict(job.known)
        for seat in _seats(comparison):
            wanted = _seated(seat, comparison)
            untried = [i for i in wanted if i not in job.known and _runs(rows.get(i))]
            found = self._hands[seat].worker.hold(
                _only(job, untried, rows), self._timeout_s, listener
            )
            # what second copies are is known, unless they fail
            rows |= {i: found[i] for i in untried if not seat.twins or found[i].status != "ok"}
        working = {i: row for i, row in rows.items() if i not in job.known and _runs(row)}
        crowded = crowded_out(working, _divided(comparison), job.bounds, _seat_of)
        working = {i: row for i, row in working.items() if i not in crowded}
        rows |= crowded
        ordered = [rows[position] for position in range(len(comparison.cases))]
        tell_of_failures(ordered, working, job, listener)
        timing = self._timed(job, working, ordered, listener)
        return timed_record(job, ordered, working, timing)

    def _start(self, job: Job, listener: Listener) -> None:
        """Have every worker ready, so that none still loads torch while another tries a case.

        Those that this comparison has no use for are ended.
        """
        seats = _seats(job.comparison)
        for seat in [each for each in self._hands if each not in seats]:
            self._hands.pop(seat).worker.end()
        missing = [seat for seat in seats if seat not in self._hands]
        if not missing:
            return
        doing = f"starting {len(missing)} processes that measure"
        listener.on_progress(Progress(0.0, job.effort.max_time_s, doing=doing))
        _require_room(len(missing))
        for seat in missing:
            self._hands[seat] = Hand(Worker(seat.heap), self._timeout_s)
        for seat in missing:
            self._hands[seat].worker.wait()

    def _timed(
        self,
        job: Job,
        working: dict[int, Measurement],
        rows: list[Measurement],
        listener: Listener,
    ) -> Timing | None:
        """Time the cases that work; one that fails gets its row, and works no more."""
        comparison = job.comparison
        if not worth_timing(working, job):
            return None

        def once(effort: Effort, so_far: SoFar) -> Timing:
            rng = random.Random(f"order {job.seed} {job.process}")
            return time_comparison(
                self._make(comparison, working, rng),
                lineup_of(comparison.cases, working, comparison.baselines, _controls(comparison)),
                effort,
                TurnClock(),
                rng,
                so_far.heard,
                usage=self._usage,
                regime=comparison.cases[0].regime,
                keep=so_far.keep,
            )

        def failed(guilty: int, cause: BaseException | None) -> None:
            if not isinstance(cause, ArmError):
                assert cause
                raise cause
            rows[guilty] = cause.row
            del working[guilty]

        return time_what_runs(working, job, listener.on_progress, once, failed)

    def _make(
        self, comparison: Comparison, working: dict[int, Measurement], rng: random.Random
    ) -> Make:
        divided = _divided(comparison)

        def make(role: Role, case: int) -> FarWork:
            twin = role == "aa" and case in divided
            seat = _seat_of(comparison.cases[case])._replace(twins=twin)
            return FarWork(self._hands[seat], role, case, working[case], rng)

        return make

    def _usage(self) -> Usage:
        """What the machine did, and what all workers together got of it."""
        usage = read_usage()
        for hand in self._hands.values():
            theirs = hand.do(Order("usage")).usage
            assert theirs
            usage = usage._replace(
                cpu_ns=usage.cpu_ns + theirs.cpu_ns,
                involuntary_switches=usage.involuntary_switches + theirs.involuntary_switches,
            )
        return usage


class Hand:
    """A worker that holds cases, and the arms there that nobody needs any more."""

    def __init__(self, worker: Worker, timeout_s: float) -> None:
        """Let whatever is asked take `timeout_s`."""
        self.worker = worker
        self.numbers = count()
        self.dropped: list[int] = []
        self._timeout_s = timeout_s

    def do(self, order: Order) -> Done:
        """Have an order done, and what was dropped let go of. Raises WorkerError."""
        order = replace(order, drop=tuple(self.dropped))
        self.dropped.clear()
        return self.worker.do(order, self._timeout_s)


class FarWork:
    """An arm in a worker: a work for the loop, whose every call is made there.

    Where its worker is lost, that raises WorkerError with its case; where the case fails there,
    ArmError.
    """

    def __init__(
        self, hand: Hand, role: Role, case: int, known: Measurement, rng: random.Random
    ) -> None:
        """Have the arm made; `known` is what was measured of its case."""
        self._hand, self._case, self._known = hand, case, known
        self._number = next(hand.numbers)
        place = rng.getrandbits(32)
        made = self._do(Order("make", self._number, role, case, place)).nature
        assert made
        self.repeatable, self.cold, self.turns = made.repeatable, made.cold, made.turns
        self.queueing = made.queueing
        # it is let go of there with the next order
        weakref.finalize(self, hand.dropped.append, self._number).atexit = False

    def prepare(self) -> None:
        """Do nothing: it is prepared where it is called."""

    def call(self) -> None:
        """Call once, untimed."""
        self.settle()

    def settle(self) -> None:
        """Call once, prepared."""
        self._do(Order("settle", self._number))

    def sampled(self, calls: int, before: int) -> tuple[int, Met]:
        """Have one sample taken; see `gcbench.measure.timing.turns.Far`."""
        done = self._do(Order("sample", self._number, calls=calls, before=before))
        assert done.met
        return done.duration_ns, done.met

    def _do(self, order: Order) -> Done:
        try:
            done = self._hand.do(order)
        except WorkerError as lost:
            trying = Trying(self._case, self._known)
            raise WorkerError(lost.status, f"{lost.reason}, while it was timed", trying) from lost
        if done.failed:
            raise ArmError(done.failed)
        return done


def _seats(comparison: Comparison) -> list[Seat]:
    """The workers that a comparison needs: one for each heap and runtime, and for second copies."""
    seats = dict.fromkeys(map(_seat_of, comparison.cases))
    divided = dict.fromkeys(_seat_of(comparison.cases[i]) for i in _divided(comparison))
    return [*seats, *(seat._replace(twins=True) for seat in divided)]


def _seated(seat: Seat, comparison: Comparison) -> list[int]:
    """The cases of a worker, by their positions."""
    divided = _divided(comparison)
    return [
        position
        for position, case in enumerate(comparison.cases)
        if _seat_of(case) == seat._replace(twins=False) and (not seat.twins or position in divided)
    ]


def _seat_of(case: Case) -> Seat:
    foreign = case.runtime if known(case.runtime).foreign else None
    return Seat(case.heap or heap.now(), foreign)


def _controls(comparison: Comparison) -> list[int]:
    """The cases of foreign runtimes: whether a second copy, elsewhere, takes as long is seen."""
    return [i for i, case in enumerate(comparison.cases) if known(case.runtime).foreign]


def _divided(comparison: Comparison) -> set[int]:
    """The cases of which there is a second copy, in a worker of such copies."""
    return {*comparison.baselines, *_controls(comparison)}


def _runs(row: Measurement | None) -> bool:
    return row is None or row.status == "ok"


def _only(job: Job, positions: Collection[int], rows: dict[int, Measurement]) -> Job:
    """The job of some of its cases; of the others it need not be known what becomes of them."""
    others = {
        i: rows.get(i, Measurement(case, "skipped", "in another process"))
        for i, case in enumerate(job.comparison.cases)
        if i not in positions
    }
    return replace(job, known=others)


def _require_room(workers: int) -> None:
    """Raise LimitError where so many workers would not even leave room for torch in each."""
    free, needed = free_bytes("cpu"), workers * WORKER_BYTES
    if free is not None and free < needed:
        raise LimitError(
            f"arms in processes of their own take {workers} of about {size_text(WORKER_BYTES)}, "
            f"and {size_text(free)} of memory are free"
        )
