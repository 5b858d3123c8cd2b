"""Who measures what: comparisons dealt to lanes, given to another where one is lost, and blame.

Pure: a `Pool` brings what happens, and this decides. The tests bring a pool of their own.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from types import MappingProxyType
from typing import Protocol

from gcbench.engines.jobs import Job
from gcbench.engines.measuring import Budget, Dealt
from gcbench.engines.sweeps import extent, plan_of
from gcbench.records import ComparisonRecord, Manifest, Measurement
from gcbench.spec.cases import Comparison
from gcbench.spec.grid import Sweep

Log = Callable[[str], None]

# so many lost workers are blamed on the case that was on trial
MOST_LOST = 2


@dataclass(frozen=True)
class LaneState:
    """A lane that is there: its name, its node and the kind of its device, as manifests have it."""

    name: str
    machine: Manifest
    kind: str

    @property
    def node(self) -> str:
        """The node that it is on."""
        return self.machine.node


@dataclass(frozen=True)
class Ready:
    """A lane is there and has nothing to do."""

    lane: LaneState


@dataclass(frozen=True)
class Done:
    """A lane finished its job."""

    lane: str
    record: ComparisonRecord


@dataclass(frozen=True)
class Lost:
    """A lane is gone, and with it its job, if it had one.

    `case` is the one that it was trying; None where all were timed, or nothing had `begun`.
    """

    lane: str
    why: str
    begun: bool = False
    case: int | None = None


Event = Ready | Done | Lost


class Pool(Protocol):
    """Lanes that come and go."""

    def start(self, lane: str, job: Job) -> None:
        """Have a lane that is ready do a job."""

    def events(self) -> Iterable[Event]:
        """Wait a little, and say what happened. Raises GcbenchError where no lane will come."""

    @property
    def expecting(self) -> bool:
        """Whether a lane is about to come."""


class Turn:
    """A comparison on its way through lanes, and what became of those that it met.

    A case on whose trial two lanes were lost is blamed. Where two were lost while all were timed,
    each case is timed alone, and those that cost a lane again are blamed; where none does, all are.
    """

    def __init__(self, job: Job) -> None:
        """Begin with a comparison that nobody has tried."""
        self._job = job
        self._lost: Counter[int | None] = Counter()
        self._nodes: list[str] = []
        self._suspects: deque[int] = deque()
        self._tested = False

    @property
    def place(self) -> int:
        """The comparison's place in the grid."""
        return self._job.comparison.place

    @property
    def job(self) -> Job:
        """What is to be done next."""
        return self._job.alone(self._suspects[0]) if self._suspects else self._job

    def finished(self, record: ComparisonRecord) -> ComparisonRecord | None:
        """Take what a lane found; None where the comparison goes on."""
        if not self._suspects:
            return record
        self._suspects.popleft()
        return None

    def lost(self, event: Lost, node: str) -> None:
        """Hear that a lane was lost on the way; what had not begun is nobody's fault."""
        if not event.begun:
            return
        self._nodes.append(node)
        if self._suspects:
            self._blame([self._suspects.popleft()], event, "when it was timed alone")
            # without that one the others may begin anew
            self._lost[None], self._tested = 0, False
            return
        self._lost[event.case] += 1
        if self._lost[event.case] < MOST_LOST:
            return
        if event.case is not None:
            self._blame([event.case], event, "when it was tried")
        elif not self._tested:
            self._suspects, self._tested = deque(self._job.unknown), True
        else:
            self._blame(self._job.unknown, event, "while all were timed together")

    def _blame(self, cases: Collection[int], event: Lost, when: str) -> None:
        nodes = " and ".join(dict.fromkeys(self._nodes))
        reason = f"lanes on {nodes} were lost with it, the last time {when}: "
        rows = {
            i: Measurement(self._job.comparison.cases[i], "crashed", reason + event.why)
            for i in cases
        }
        self._job = replace(self._job, known={**self._job.known, **rows})


class Due(Protocol):
    """What is due of a sweep."""

    def __call__(self, *, kind: str | None) -> Iterable[Comparison]:
        """All that is due on a kind of device."""


class Dealer:
    """What is due, dealt out: under a budget, and with what ran out of memory on each node."""

    def __init__(
        self,
        asked: Sweep,
        due: Due,
        budget: Budget,
        tell: Log,
        ran_out: Mapping[str, Iterable[Measurement]] = MappingProxyType({}),
    ) -> None:
        """Deal what `due` gives anew for each kind of device; for None where any will do.

        `ran_out` are cases of the same sweep that ran out of memory before, by node.
        """
        self._due, self._tell, self._budget = due, tell, budget
        # each node has memory of its own
        self._plan, self._dealt = plan_of(asked), dict[str, Dealt]()
        self._ran_out, self._per_device = ran_out, asked.per_device
        self._queues: dict[str | None, Iterator[Comparison]] = {}
        self._back: dict[str | None, deque[Turn]] = defaultdict(deque)
        self._ended = False
        self.total = 0

    def deal(self, lane: LaneState, lanes: int) -> Turn | ComparisonRecord | None:
        """Give a lane its next turn, the record of one for which no time is left, or nothing.

        `lanes` is the number of those that measure at once.
        """
        queue = self._queue(lane)
        if self._back[self.kind(lane)]:
            return self._back[self.kind(lane)].popleft()
        comparison = None if self._ended else next(queue, None)
        if comparison is None:
            return None
        job = self._on(lane).next(comparison, lanes)
        if isinstance(job, ComparisonRecord):
            return replace(job, place=comparison.place)
        return Turn(job)

    def _on(self, lane: LaneState) -> Dealt:
        """What is dealt to a node."""
        if lane.node not in self._dealt:
            ran_out = self._ran_out.get(lane.node, ())
            self._dealt[lane.node] = Dealt(self._plan, self._budget, ran_out)
        return self._dealt[lane.node]

    def give_back(self, lane: LaneState, turn: Turn) -> None:
        """Take back what a lane did not finish; it is dealt before anything else."""
        self._back[self.kind(lane)].append(turn)

    def note(self, lane: LaneState, done: Done) -> None:
        """Remember what ran out of memory on a node; that may end the sweep."""
        tell = (lambda text: None) if self._ended else self._tell
        self._ended |= self._on(lane).ends(done.record, tell)

    @property
    def ended(self) -> bool:
        """Whether a case that ran out of memory ended the sweep."""
        return self._ended

    def kind(self, lane: LaneState) -> str | None:
        """What a lane's comparisons are for: its kind of device, or any."""
        return lane.kind if self.every_kind else None

    @property
    def every_kind(self) -> bool:
        """Whether each kind of device measures all, so that a new lane may bring more to do."""
        return self._per_device

    def close(self) -> None:
        """Say what is left because its kind of device is gone."""
        if not self.exhausted():
            self._tell("a kind of device is gone before its turn was over; --resume goes on")

    def exhausted(self) -> bool:
        """Whether nothing is left for the lanes that were there; looks one comparison ahead."""
        if any(self._back.values()):
            return False
        if self._ended:
            return True
        if not self._queues and not self.every_kind:
            self._open(None)
        return all(self._is_empty(kind) for kind in list(self._queues))

    def _is_empty(self, kind: str | None) -> bool:
        first = next(self._queues[kind], None)
        if first is None:
            return True
        self._queues[kind] = chain([first], self._queues[kind])
        return False

    def _queue(self, lane: LaneState) -> Iterator[Comparison]:
        kind = self.kind(lane)
        if kind not in self._queues:
            self._open(kind)
        return self._queues[kind]

    def _open(self, kind: str | None) -> None:
        self._queues[kind] = iter(self._due(kind=kind))
        more = extent(self._due(kind=kind)).comparisons
        self.total += more
        self._budget.expect(more)


def spread(
    dealer: Dealer, pool: Pool, on_look: Callable[[], None] = lambda: None
) -> Iterator[ComparisonRecord]:
    """Have a pool's lanes measure all that a dealer deals; yield records as they come.

    Each record says on which machine it was measured, and for which kind of device where every kind
    measures all. `on_look` is called each time that something may have happened.
    """
    idle: dict[str, LaneState] = {}
    busy: dict[str, tuple[LaneState, Turn]] = {}
    while True:
        for lane in list(idle.values()):
            dealt = dealer.deal(lane, len(idle) + len(busy))
            while isinstance(dealt, ComparisonRecord):
                yield _named(dealt, lane, dealer)
                dealt = dealer.deal(lane, len(idle) + len(busy))
            if dealt:
                busy[lane.name] = idle.pop(lane.name), dealt
                pool.start(lane.name, dealt.job)
        if not busy and (not pool.expecting if dealer.every_kind else dealer.exhausted()):
            dealer.close()
            return
        on_look()
        for event in pool.events():
            if isinstance(event, Ready):
                idle[event.lane.name] = event.lane
            elif isinstance(event, Lost):
                idle.pop(event.lane, None)
                if event.lane in busy:
                    lane, turn = busy.pop(event.lane)
                    turn.lost(event, lane.node)
                    dealer.give_back(lane, turn)
            else:
                lane, turn = busy.pop(event.lane)
                idle[lane.name] = lane
                record = turn.finished(event.record)
                if record is None:
                    dealer.give_back(lane, turn)
                    continue
                yield _named(replace(record, place=turn.place), lane, dealer)
                dealer.note(lane, event)


def _named(record: ComparisonRecord, lane: LaneState, dealer: Dealer) -> ComparisonRecord:
    return replace(record, machine=lane.machine, kind=dealer.kind(lane))
