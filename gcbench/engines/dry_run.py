"""What a sweep would be, before it is measured: how much, how long, how large, and what is lost."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from gcbench.engines.apart import WORKER_BYTES, workers_of
from gcbench.engines.attempts import Bounds
from gcbench.engines.jobs import Caller, Job, call_here
from gcbench.engines.static import Static
from gcbench.measure import runtimes
from gcbench.records import Measurement
from gcbench.spec.cases import Axes, Case, Comparison
from gcbench.spec.grid import Sweep
from gcbench.units import size_text, span_text

# reasons that a forecast tells one by one
MOST_LOSSES = 20


@dataclass
class Forecast:
    """What a sweep would be: how much, how long at most, and what of it would not be measured.

    `largest` is the case that needs the most memory, of those whose need can be predicted;
    `workers` are those that arms live in, where they have any of their own. `losses` counts the
    cases that would have no timing, by why; each with its first case.
    """

    comparisons: int = 0
    cases: int = 0
    timed_s: float = 0.0
    largest: tuple[Case, int] | None = None
    unpredicted: int = 0
    workers: int = 0
    losses: dict[str, tuple[int, Case]] = field(default_factory=dict)


# the memory that a comparison may take under bounds on a device, and in words whose limit that is
Room = Callable[[Bounds, str], tuple[int, str] | None]


def limit_alone(bounds: Bounds, device: str) -> tuple[int, str] | None:
    """The limit that was asked for, wherever that is: what machines have free is not known here."""
    return bounds.limit()


def forecast(
    asked: Sweep,
    comparisons: Iterable[Comparison],
    room: Room = Bounds.room,
    lanes: int = 1,
    call: Caller = call_here,
) -> Forecast:
    """Go through comparisons on paper, of which `lanes` are measured at once."""
    found = Forecast()
    paper = Static(call)
    bounds = Bounds(asked.memory_limit_bytes)
    rooms: dict[str, tuple[int, str] | None] = {}
    for comparison in comparisons:
        device = comparison.device
        if device not in rooms:
            rooms[device] = room(bounds, device)
        effort = asked.effort(device)
        found.comparisons += 1
        found.workers = max(found.workers, workers_of(comparison))
        found.timed_s += 0.0 if asked.static else effort.max_time_s
        for measurement in paper.measure(Job(comparison, effort, asked.seed)).measurements:
            _enter(found, measurement, rooms[device], asked.static)
    found.timed_s /= max(lanes, 1)
    if asked.budget_s is not None:
        found.timed_s = min(found.timed_s, asked.budget_s)
    return found


def _enter(
    found: Forecast, measurement: Measurement, room: tuple[int, str] | None, static: bool
) -> None:
    case, needed = measurement.case, measurement.metrics.get("peak_memory_bytes")
    found.cases += 1
    why = None if measurement.status == "ok" else measurement.reason
    if isinstance(needed, int):
        if found.largest is None or needed > found.largest[1]:
            found.largest = case, needed
        if room is not None and needed > room[0] and not static:
            why = why or f"more memory than there is: {room[1]}"
    elif why is None:
        found.unpredicted += 1
    why = why or (None if static else runtimes.why_not(case))
    if why:
        count, first = found.losses.get(why, (0, case))
        found.losses[why] = count + 1, first


def lines(asked: Sweep, found: Forecast) -> Iterator[str]:
    """A forecast in words, line by line."""
    yield f"comparisons  {found.comparisons:,}"
    yield f"cases        {found.cases:,}"
    if asked.static:
        yield "time         nothing is timed (--static)"
    else:
        timed = "at most " if asked.budget_s is None else "shared out of --budget: at most "
        yield (
            f"time         {timed}{span_text(found.timed_s)} of timing, and what trying each case "
            f"takes: seconds for most, at most {span_text(asked.timeout_s)} each (--timeout)"
        )
    if found.largest:
        case, needed = found.largest
        yield f"memory       at most {size_text(needed)}: {_named(case)}"
    if found.unpredicted:
        yield f"             not predicted for {found.unpredicted:,} cases (other modes than infer)"
    if found.workers and not asked.static:
        taken = size_text(WORKER_BYTES)
        yield f"             and {found.workers} processes that take about {taken} each"
    for why, (count, first) in itertools.islice(found.losses.items(), MOST_LOSSES):
        yield f"not measured {count:,}: {why}; first {_named(first)}"
    if len(found.losses) > MOST_LOSSES:
        yield f"             and for {len(found.losses) - MOST_LOSSES:,} reasons more"


def _named(case: Case) -> str:
    """A case in words: its block, its shape, and the axes that are not as usual."""
    usual = Axes()
    axes = ("dtype", "layout", "mode", "runtime", "threads", "regime")
    other = [name for name in axes if getattr(case, name) != getattr(usual, name)]
    words = [f"{case.threads} threads" if n == "threads" else getattr(case, n) for n in other]
    return " ".join([case.label, "at", "x".join(map(str, case.shape)), *words])
