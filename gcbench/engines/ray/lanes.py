"""A lane: what measures on one device of a node, one comparison after another, alone there.

A lane runs in a Ray actor. Its comparisons run in a worker process below it, as on one machine, so
that whatever a case does ends that process and not the lane. Nothing here loads torch before the
lane has its cores.
"""

import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gcbench.errors import GcbenchError
from gcbench.measure import environment, heap
from gcbench.records import ComparisonRecord, Manifest
from gcbench.spec.cases import Heap, Switch

if TYPE_CHECKING:
    from gcbench.engines.attempts import Trying
    from gcbench.engines.jobs import Job
    from gcbench.measure.timing.replicates import Progress

# a board hears no more often how far a comparison is
STEP_S = 1.0


@dataclass(frozen=True)
class Terms:
    """What a lane is to be: its device, its CPUs, and how it measures.

    `watched` tells that somebody looks at how far it is.
    """

    device: str
    cpus: int
    seed: int
    timeout_s: float
    tf32: Switch | None
    heap: Heap
    wait: bool
    watched: bool


@dataclass(frozen=True)
class Reply:
    """What a lane found; `refusal` says why it cannot measure at all."""

    record: ComparisonRecord | None = None
    refusal: str | None = None


class Board:
    """Where lanes tell what they are at, so that it is known when a lane is lost."""

    def __init__(self) -> None:
        """Begin with nothing told."""
        self._at: dict[str, int | None] = {}
        self._steps: dict[str, Progress] = {}
        self._said: list[tuple[str, str]] = []

    def at(self, lane: str, case: int | None) -> None:
        """Hear which case a lane is about to try; None where all are timed from here."""
        self._at[lane] = case

    def end(self, lane: str, comparison: None) -> None:
        """Hear that a lane is through with a comparison, and has tried nothing of another."""
        self._at.pop(lane, None)
        self._steps.pop(lane, None)

    def step(self, lane: str, progress: "Progress") -> None:
        """Hear how far a lane is."""
        self._steps[lane] = progress

    def say(self, lane: str, text: str) -> None:
        """Hear a sentence for the person."""
        self._said.append((lane, text))

    def taken(self, lane: str) -> tuple[bool, int | None]:
        """Whether a lane had tried anything of its comparison, and the case that it was trying."""
        return lane in self._at, self._at.get(lane)

    def read(self) -> tuple[dict[str, "Progress"], list[tuple[str, str]]]:
        """How far lanes are, and what was said since it was last read."""
        said, self._said = self._said, []
        return dict(self._steps), said


class Lane:
    """One device of this node."""

    def __init__(self, name: str, terms: Terms, board: Any) -> None:
        """Take a name, and hold nothing yet; `board` is a handle of Ray's on a `Board`."""
        self._name, self._terms, self._board = name, terms, board
        self._open = ExitStack()

    def hold(self) -> Manifest:
        """Wait for the device, have an engine ready, and describe this machine."""
        terms = self._terms
        _forget_rays_threads()
        if terms.device == "cpu" and terms.cpus < environment.usable_cores() and _can_pin():
            from gcbench.engines.ray.cores import own_cores

            alone = self._open.enter_context(own_cores(terms.cpus, terms.wait, self._say))
        else:
            from gcbench.engines.device_lock import alone_on

            alone = self._open.enter_context(alone_on(terms.device, terms.wait, self._say))
        heap.settle(terms.heap)
        from gcbench.engines.isolated import Isolated
        from gcbench.engines.jobs import call_here
        from gcbench.engines.measuring import Held, here
        from gcbench.measure.peaks import Ceilings

        self._open.enter_context(environment.tf32(terms.tf32))
        self._isolated = self._open.enter_context(Isolated(terms.timeout_s))
        manifest = replace(here(call_here, "ray", "", terms.seed), command=())
        self._held = Held(alone, Ceilings(manifest, self._say, lambda what: None))
        return manifest

    def measure(self, job: "Job") -> Reply:
        """Do a job. Before a case is tried, and before all are timed, the board knows it."""
        from gcbench.engines.jobs import Listener

        def tried(trying: "Trying") -> None:
            if trying.counted is None:
                self._told(self._board.at, trying.case)

        listener = Listener(self._stepper(), tried)
        try:
            return Reply(self._held.seen(self._isolated.measure(job, listener)))
        except GcbenchError as error:
            return Reply(refusal=str(error))
        finally:
            self._told(self._board.end, None)

    def _stepper(self) -> "Callable[[Progress], None]":
        last = 0.0

        def moved(step: "Progress") -> None:
            nonlocal last
            if self._terms.watched and time.monotonic() - last >= STEP_S:
                last = time.monotonic()
                self._board.step.remote(self._name, step)

        return moved

    def _say(self, text: str) -> None:
        self._told(self._board.say, text)

    def _told(self, method: Any, what: object) -> None:
        """Tell the board something, and return when it has heard it."""
        import ray

        # a board that is gone leaves comparisons as they are
        with suppress(ray.exceptions.RayError):
            ray.get(method.remote(self._name, what))


def _can_pin() -> bool:
    return sys.platform == "linux"


def _forget_rays_threads() -> None:
    """Drop OMP_NUM_THREADS where Ray set it: torch is to choose as it does on one machine."""
    with suppress(OSError):
        if b"OMP_NUM_THREADS=" not in Path("/proc/self/environ").read_bytes():
            os.environ.pop("OMP_NUM_THREADS", None)
