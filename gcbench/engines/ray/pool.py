"""The lanes of a Ray cluster: nodes found and looked at, actors started, watched and replaced."""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Self

from gcbench.engines.jobs import Job
from gcbench.engines.ray.lanes import Board, Lane, Reply, Terms
from gcbench.engines.ray.nodes import Installed, Node, alive, named, unfit
from gcbench.engines.ray.spreading import Done, Event, LaneState, Lost, Ready
from gcbench.errors import GcbenchError
from gcbench.measure.timing.replicates import Progress
from gcbench.records import Manifest
from gcbench.spec.cases import Case

Log = Callable[[str], None]

# how long is waited for something to happen, and how often nodes and the board are looked at
WAIT_S, LOOK_S = 0.5, 1.0
# a lane that is not there after so long is told of, and waited for; without any lane or node for so
# long the sweep ends
LATE_S, BARREN_S = 30.0, 60.0
# a node on which so many lanes in a row were lost before they began anything is left out
MOST_STILLBORN = 3
ASK_S = 30.0


class NoLaneError(GcbenchError):
    """No lane is left, and none will come."""

    exit_code = 3


@dataclass
class _Place:
    """One lane of a node, and the actor that is in it."""

    name: str
    node: Node
    actor: Any
    since: float
    ready: bool = False
    late: bool = False


class RayPool:
    """The lanes of one kind of device in a cluster that this process is connected to."""

    def __init__(
        self, terms: Terms, cpus: int | None, wanted: Manifest, allow_mismatch: bool, tell: Log
    ) -> None:
        """Hold nothing yet. `cpus` are those of a comparison; None is all, or one beside a GPU."""
        self._terms, self._cpus, self._tell = terms, cpus, tell
        self._wanted, self._allow = wanted, allow_mismatch
        self._names: dict[str, str] = {}
        self._nodes: dict[str, Node] = {}
        self._left_out: set[str] = set()
        self._places: dict[str, _Place] = {}
        self._stillborn: Counter[str] = Counter()
        # what each reference that is waited for will bring: a node or lane, and how to read it
        self._waited: dict[Any, tuple[str, Callable[[str, Any], Iterator[Event]]]] = {}
        self._numbers = itertools.count(1)
        self._looked = -LOOK_S
        self._barren_since: float | None = None
        self._steps: dict[str, Progress] = {}
        self._jobs: dict[str, Case] = {}

    def __enter__(self) -> Self:
        """Put up the board, and look for nodes."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = ray.get_runtime_context().get_node_id()
        near = NodeAffinitySchedulingStrategy(here, soft=True)
        self._board = ray.remote(Board).options(num_cpus=0, scheduling_strategy=near).remote()
        self._look()
        return self

    def __exit__(self, *failure: object) -> None:
        """End every lane."""
        import ray

        for actor in [*(place.actor for place in self._places.values()), self._board]:
            with suppress(ray.exceptions.RayError):
                ray.kill(actor)

    @property
    def expecting(self) -> bool:
        """Whether a node is being looked at, or a lane about to come."""
        pending = [place for place in self._places.values() if not place.ready]
        return bool(pending) or any(read == self._looked_at for _, read in self._waited.values())

    def node_of(self, lane: str) -> str:
        """The name of a lane's node."""
        return self._names[self._places[lane].node.id] if lane in self._places else lane

    def doing(self) -> dict[str, tuple[Case, Progress | None]]:
        """The first case of what each lane measures, and how far that is, where it told."""
        return {lane: (case, self._steps.get(lane)) for lane, case in self._jobs.items()}

    def start(self, lane: str, job: Job) -> None:
        """Have a lane that is ready do a job."""
        self._jobs[lane] = job.comparison.cases[0]
        self._wait_for(self._places[lane].actor.measure.remote(job), lane, self._measured)

    def events(self) -> Iterator[Event]:
        """Wait a little, and say what happened. Raises NoLaneError where no lane will come."""
        import ray

        if time.monotonic() - self._looked >= LOOK_S:
            self._look()
        ready, _ = ray.wait(list(self._waited), timeout=WAIT_S) if self._waited else ([], [])
        if not self._waited:
            time.sleep(WAIT_S)
        for reference in ready:
            name, read = self._waited.pop(reference)
            try:
                answer = ray.get(reference)
            except ray.exceptions.RayError as error:
                yield from self._failed(name, error)
            else:
                yield from read(name, answer)
        yield from self._swept()

    def _wait_for(self, reference: Any, name: str, read: Callable[[str, Any], Any]) -> None:
        self._waited[reference] = name, read

    # --- nodes ---------------------------------------------------------------------------------

    def _look(self) -> None:
        """Look at nodes that are new, forget those that are gone, and read the board."""
        import ray

        self._looked = time.monotonic()
        found = {node.id: node for node in alive(ray.nodes())}
        for node in found.values():
            if node.id not in self._names:
                taken = {name: known for known, name in self._names.items()}
                self._names[node.id] = named(node, taken)
                if node.lanes(self._terms.device, self._cpus):
                    self._ask_versions(node)
        for gone in self._nodes.keys() - found.keys():
            self._tell(f"node {self._names[gone]} is gone")
        self._nodes = {i: node for i, node in self._nodes.items() if i in found}
        self._read_board()

    def _ask_versions(self, node: Node) -> None:
        import ray

        self._nodes[node.id] = node
        looking = ray.remote(_versions()).options(num_cpus=0, **_on(node))
        self._wait_for(looking.remote(), node.id, self._looked_at)

    def _looked_at(self, node_id: str, installed: tuple[str | None, str | None]) -> Iterator[Event]:
        node = self._nodes.get(node_id)
        why_not = unfit(Installed(*installed), self._wanted, self._allow)
        if why_not:
            self._leave_out(node_id, why_not)
        elif node:
            for _ in range(node.lanes(self._terms.device, self._cpus)):
                self._open(node)
        yield from ()

    def _leave_out(self, node_id: str, why: str) -> None:
        if node_id not in self._left_out:
            self._left_out.add(node_id)
            self._tell(f"node {self._names[node_id]} is not used: {why}")

    # --- lanes ---------------------------------------------------------------------------------

    def _open(self, node: Node) -> None:
        import ray

        cpus = self._cpus or (node.cpus if self._terms.device == "cpu" else 1)
        name = f"{self._names[node.id]} {next(self._numbers)}"
        actor = (
            ray.remote(Lane)
            .options(
                num_cpus=cpus,
                num_gpus=int(self._terms.device != "cpu"),
                max_restarts=0,
                **_on(node),
            )
            .remote(name, replace(self._terms, cpus=cpus), self._board)
        )
        self._places[name] = _Place(name, node, actor, time.monotonic())
        self._wait_for(actor.hold.remote(), name, self._held)

    def _held(self, name: str, machine: Manifest) -> Iterator[Event]:
        place = self._places[name]
        place.ready = True
        machine = replace(machine, run=self._wanted.run, node=self._names[place.node.id])
        kind = machine.device_name(self._terms.device) or self._terms.device
        yield Ready(LaneState(name, machine, kind))

    def _measured(self, name: str, reply: Reply) -> Iterator[Event]:
        del self._jobs[name]
        place = self._places[name]
        if reply.record is None:
            self._leave_out(place.node.id, reply.refusal or "it cannot measure")
            yield from self._closed(name, reply.refusal or "")
            return
        self._stillborn[place.node.id] = 0
        yield Done(name, reply.record)

    def _failed(self, name: str, error: Exception) -> Iterator[Event]:
        """Say what becomes of a lane, or of a node that could not be looked at."""
        import ray

        if name not in self._places:
            if name in self._nodes:
                self._leave_out(name, _sentence(error))
            return
        place = self._places[name]
        begun, case = self._taken(name)
        if isinstance(error, ray.exceptions.RayTaskError | ray.exceptions.RuntimeEnvSetupError):
            self._leave_out(place.node.id, _sentence(error))
        if not begun:
            self._stillborn[place.node.id] += 1
        yield from self._closed(name, _sentence(error), begun, case)
        if self._stillborn[place.node.id] >= MOST_STILLBORN:
            self._leave_out(place.node.id, f"its lanes are lost: {_sentence(error)}")
        if place.node.id in self._nodes and place.node.id not in self._left_out:
            self._tell(
                f"node {self._names[place.node.id]} lost a lane ({_sentence(error)}): another "
                "takes over"
            )
            self._open(place.node)

    def _closed(
        self, name: str, why: str, begun: bool = False, case: int | None = None
    ) -> Iterator[Event]:
        import ray

        place = self._places.pop(name)
        self._jobs.pop(name, None)
        # one that cannot be reached for now must not come back
        with suppress(ray.exceptions.RayError):
            ray.kill(place.actor)
        yield Lost(name, why, begun, case)

    def _swept(self) -> Iterator[Event]:
        """Close lanes of nodes that are gone; be impatient where there is none at all."""
        for place in list(self._places.values()):
            if place.node.id not in self._nodes:
                waited = [ref for ref, (name, _) in self._waited.items() if name == place.name]
                for reference in waited:
                    del self._waited[reference]
                yield from self._closed(place.name, "its node is gone", *self._taken(place.name))
            elif not place.ready and not place.late and self._is_late(place):
                place.late = True
                node = self._names[place.node.id]
                self._tell(f"waiting for node {node}: its CPUs or GPUs are taken, or slow to start")
        if self._places or self.expecting:
            self._barren_since = None
            return
        self._barren_since = self._barren_since or time.monotonic()
        unfit_all = self._nodes and self._nodes.keys() <= self._left_out
        if unfit_all or self._is_barren():
            raise NoLaneError("no node is left that can measure")

    def _is_late(self, place: _Place) -> bool:
        return time.monotonic() - place.since > LATE_S

    def _is_barren(self) -> bool:
        return time.monotonic() - (self._barren_since or time.monotonic()) > BARREN_S

    # --- the board -----------------------------------------------------------------------------

    def _taken(self, lane: str) -> tuple[bool, int | None]:
        import ray

        try:
            begun: tuple[bool, int | None] = ray.get(self._board.taken.remote(lane), timeout=ASK_S)
        except ray.exceptions.RayError:
            return True, None
        return begun

    def _read_board(self) -> None:
        import ray

        with suppress(ray.exceptions.RayError):
            steps, said = ray.get(self._board.read.remote(), timeout=ASK_S)
            for lane, text in said:
                self._tell(f"{self.node_of(lane)}: {text}")
            self._steps = steps


def _on(node: Node) -> Mapping[str, Any]:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node.id, soft=False)}


def _versions() -> Callable[[], tuple[str | None, str | None]]:
    """A function that tells what a node has, also where it has no gcbench to import it from.

    One that is made here travels whole; one of a module travels by its name.
    """

    def versions() -> tuple[str | None, str | None]:
        from importlib import metadata

        found: list[str | None] = []
        for package in ("gcbench", "torch"):
            try:
                found.append(metadata.version(package))
            except metadata.PackageNotFoundError:
                found.append(None)
        return found[0], found[1]

    return versions


def _sentence(error: Exception) -> str:
    """What Ray says in one line."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    # of an exception that a lane raised, the last line is the exception; of Ray's own, the first
    line = (lines[-1] if "Traceback" in str(error) else lines[0]) if lines else ""
    return line[:200] or type(error).__name__
