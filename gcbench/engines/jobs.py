"""What an engine is asked to do with a comparison, and who hears of it on the way."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from gcbench.engines.attempts import UNBOUNDED, Bounds, Taint, Trying
from gcbench.engines.orders import Order
from gcbench.measure.environment import TorchSettings
from gcbench.measure.timing.replicates import Progress
from gcbench.records import QUICK, ComparisonRecord, Measurement, Timing
from gcbench.spec.cases import Comparison, CounterName, Effort

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """A comparison to measure, and how.

    `process` is its number among those that measure the same: each draws orders of its own, and all
    the same weights and inputs. `known` are cases, by position, that are not to be tried: it is
    known what becomes of them; `graphless` are those that no CUDA graph can hold, with the reason.
    With `rivals_only` a baseline to which nothing is left to be compared is not timed. To `profile`
    is to look at what known cases launch, instead of timing any. Where `partial`, an interrupt
    while cases are timed leaves the record of what was timed until then, and is raised otherwise;
    so is one that comes before the first replicate. With `standings`, progress says how far each
    case is; with `allow_nondeterministic` a block is timed that does not give the same twice, and
    flagged.
    """

    comparison: Comparison
    effort: Effort
    seed: int = 0
    counter: CounterName = "auto"
    process: int = 0
    bounds: Bounds = UNBOUNDED
    known: Mapping[int, Measurement] = field(default_factory=dict)
    graphless: Mapping[int, str] = field(default_factory=dict)
    profile: bool = False
    rivals_only: bool = False
    partial: bool = False
    standings: bool = False
    allow_nondeterministic: bool = False

    @property
    def unknown(self) -> list[int]:
        """The cases, by position, that are to be tried."""
        return [i for i in range(len(self.comparison.cases)) if i not in self.known]

    def after(self, taint: Taint) -> "Job":
        """The job that is left when a process became unfit for it."""
        return replace(
            self,
            known={**self.known, **taint.known},
            graphless={**self.graphless, **taint.graphless},
        )

    def profiling(self, found: Sequence[Measurement]) -> "Job":
        """The job of looking at what cases launch that were measured."""
        return replace(self, known=dict(enumerate(found)), profile=True)

    def alone(self, *positions: int) -> "Job":
        """The job of timing these cases alone that are to be tried, and not for long."""
        others = {
            i: Measurement(case, "skipped", "not timed here")
            for i, case in enumerate(self.comparison.cases)
            if i not in positions
        }
        short = replace(self.effort, max_time_s=min(self.effort.max_time_s, QUICK.max_time_s))
        return replace(self, effort=short, known={**others, **self.known})


@dataclass(frozen=True)
class Call:
    """A function, as `module:name`, and its arguments, pickled.

    Where it `tells`, its last argument, `heard`, is what it tells on its way.
    """

    function: str
    arguments: bytes
    tells: bool = False


@dataclass(frozen=True)
class Request:
    """What a process is asked for: to do a job, or to call a function; and torch's switches.

    Or to `hold` the cases of a job, and then to do what each `order` says with arms of theirs. One
    that asks for nothing is answered when the process is ready.
    """

    job: Job | None = None
    call: Call | None = None
    hold: Job | None = None
    order: Order | None = None
    settings: TorchSettings | None = None


@dataclass(frozen=True)
class Listener:
    """Who hears of a job on its way.

    Of a case that is about to be tried `on_trying` hears before anything of its block runs, and
    again before it is called.
    """

    on_progress: Callable[[Progress], None] = lambda progress: None
    on_trying: Callable[[Trying], None] = lambda trying: None


SILENT = Listener()


def record_of(
    comparison: Comparison,
    found: tuple[Measurement, ...],
    effort: Effort,
    timings: tuple[Timing, ...] = (),
) -> ComparisonRecord:
    """The record of what was found of a comparison."""
    return ComparisonRecord(
        found,
        comparison.baselines,
        effort.precision,
        timings,
        comparison.pair,
        kind=comparison.kind,
    )


class Caller(Protocol):
    """Calls a function where what it runs of others belongs; see `Isolated.call`."""

    def __call__(
        self,
        function: Callable[..., T],
        *given: object,
        heard: Callable[[Any], object] | None = None,
    ) -> T:
        """Call it."""


def call_here(
    function: Callable[..., T], *given: object, heard: Callable[[Any], object] | None = None
) -> T:
    """Call a function in this process; a `Caller`."""
    return function(*given) if heard is None else function(*given, heard)


class Engine(Protocol):
    """What measures one comparison after another, and whether it `times` them."""

    @property
    def name(self) -> str:
        """Its name in manifests."""

    @property
    def times(self) -> bool:
        """Whether it is to be alone on a device."""

    @property
    def call(self) -> Caller:
        """Calls what looks at a comparison's code, where that code runs."""

    def measure(self, job: Job, listener: Listener = SILENT) -> ComparisonRecord:
        """Do a job; a case that fails is a row."""
