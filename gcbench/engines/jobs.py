"""What an engine is asked to do with a comparison, and who hears of it on the way."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gcbench.engines.attempts import UNBOUNDED, Bounds, Trying
from gcbench.records import ComparisonRecord, Effort, Measurement
from gcbench.spec import Comparison, CounterName
from gcbench.timing.replicates import Progress


@dataclass(frozen=True)
class Job:
    """A comparison to measure, and how.

    `process` is its number among those that measure the same: each draws orders of its own, and all
    the same weights and inputs. `known` are cases, by position, that are not to be tried: it is
    known what becomes of them.
    """

    comparison: Comparison
    effort: Effort
    seed: int = 0
    counter: CounterName = "auto"
    process: int = 0
    bounds: Bounds = UNBOUNDED
    known: Mapping[int, Measurement] = field(default_factory=dict)


@dataclass(frozen=True)
class Listener:
    """Who hears of a job on its way.

    Of a case that is about to be tried `on_trying` hears before anything of its block runs, and
    again before it is called.
    """

    on_progress: Callable[[Progress], None] = lambda progress: None
    on_trying: Callable[[Trying], None] = lambda trying: None


SILENT = Listener()


class Engine(Protocol):
    """What measures one comparison after another."""

    def measure(self, job: Job, listener: Listener = SILENT) -> ComparisonRecord:
        """Do a job; a case that fails is a row."""
