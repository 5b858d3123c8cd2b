"""Sweeps: what one names, looked at; what of its grid is due; how it is to be measured."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from gcbench import blocks
from gcbench.engines import looked_at, possible
from gcbench.engines.isolated import Isolated
from gcbench.engines.jobs import Caller, Engine, call_here
from gcbench.engines.measuring import Plan
from gcbench.errors import UsageError
from gcbench.measure import environment, heap
from gcbench.records import Status, identity
from gcbench.runtime import require_installed
from gcbench.spec import grid
from gcbench.spec.cases import Comparison
from gcbench.spec.grid import ResolvedSweep, Sweep


def place(asked: Sweep, call: Caller = call_here) -> ResolvedSweep:
    """Look at what a sweep names, on this machine, before anything is measured.

    Raises UsageError where a device is missing, a block cannot be imported or has no such option,
    the baseline is not among the blocks, or the grid has too many cases.
    """
    named = asked.device or (None,)
    devices = tuple(dict.fromkeys(call(environment.resolve_device, each) for each in named))
    for device in devices:
        if "cold" in grid.caches(asked, device):
            call(environment.require_cache_bytes, device)
    return place_on(asked, devices, call)


def place_on(asked: Sweep, devices: tuple[str, ...], call: Caller = call_here) -> ResolvedSweep:
    """Look at what a sweep names, for devices that are known to be there; raises as `place`."""
    named = [*asked.blocks, *(() if asked.baseline is None else (asked.baseline,))]
    known = {name: looked_at(name, call) for name in dict.fromkeys(named)}
    baseline = None if asked.baseline is None else known[asked.baseline]
    found = ResolvedSweep(asked, tuple(known[name] for name in asked.blocks), devices, baseline)
    grid.require_bounded(found)
    for name in grid.runtimes(asked):
        call(require_installed, "--runtime", name)
    if grid.pairs_heaps(asked):
        for device in devices:
            heap.require_both("--pair heap", device)
    return found


def comparisons(asked: Sweep, call: Caller = call_here) -> list[Comparison]:
    """Make the comparisons of a plan whose every case can be built; raises UsageError as `place`.

    It is raised too where a case cannot be built, or run as asked for, and where none is left.
    """
    found = [possible(each, call) for each in grid.grid(place(asked, call))]
    if not found:
        raise UsageError("--where leaves no case of the grid")
    return found


def is_foreign(asked: Sweep) -> bool:
    """Whether a sweep names code of others, which is to run where it can end only itself."""
    named = [*asked.blocks, *(() if asked.baseline is None else (asked.baseline,))]
    return asked.engine != "inline" and not all(map(blocks.is_ours, named))


@contextmanager
def opened(asked: Sweep) -> Iterator[Engine]:
    """Have the engine that measures a sweep on this machine, with its process where it needs one.

    That is started at once where there is code of others to look at.
    """
    apart = asked.engine != "inline" and not asked.static
    with Isolated(asked.timeout_s) if apart or is_foreign(asked) else nullcontext() as isolated:
        if isolated and is_foreign(asked):
            isolated.begin()
        if asked.static:
            from gcbench.engines.static import Static

            yield Static(isolated.call if isolated else call_here)
        elif isolated:
            yield isolated
        else:
            from gcbench.engines.inline import Inline

            yield Inline()


def due(
    place: ResolvedSweep,
    statuses: Mapping[str, Status],
    retry: Collection[Status] = (),
    kind: str | None = None,
) -> Iterator[Comparison]:
    """Yield what of a grid is still to be measured, given what became of cases.

    `statuses` go by what `records.identity` makes of a key and the `kind` of device, where each
    kind measures all. A comparison of which some cases are due holds those, and their baselines.
    """
    for whole in grid.grid(place):
        known = [statuses.get(identity(case.key, kind or whole.kind)) for case in whole.cases]
        positions = [i for i, status in enumerate(known) if status is None or status in retry]
        if len(positions) == len(whole.cases):
            yield whole
        elif positions:
            yield grid.part(whole, grid.with_baselines(whole, positions))


@dataclass(frozen=True)
class Extent:
    """How much is due."""

    comparisons: int = 0
    cases: int = 0


def extent(comparisons: Iterable[Comparison]) -> Extent:
    """Count comparisons and their cases."""
    sizes = [len(comparison.cases) for comparison in comparisons]
    return Extent(len(sizes), sum(sizes))


def plan_of(asked: Sweep) -> Plan:
    """What a sweep asks for, beside its comparisons."""
    return Plan(
        asked.effort,
        seed=asked.seed,
        counter=asked.counter,
        budget_s=asked.budget_s,
        memory_limit_bytes=asked.memory_limit_bytes,
        on_oom=asked.on_oom,
        allow_nondeterministic=asked.allow_nondeterministic,
    )
