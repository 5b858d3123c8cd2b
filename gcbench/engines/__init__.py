"""Where comparisons run: in this process, or in others. `run` makes a run of them.

Nothing here loads torch before it is called, so that a process which measures can be started first.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from math import inf

from gcbench import blocks, networks
from gcbench.anatomy import Anatomy
from gcbench.engines.apart import is_apart
from gcbench.engines.device_lock import Log, alone_on
from gcbench.engines.isolated import Isolated
from gcbench.engines.jobs import Caller, Engine, Job, call_here
from gcbench.engines.measuring import Events, Plan, here, measure, stamp
from gcbench.engines.worker_process import CallError
from gcbench.errors import UsageError
from gcbench.measure import environment, heap, modules, peaks
from gcbench.measure.timing.replicates import Progress
from gcbench.networks.places import Position
from gcbench.networks.variants import Insertion
from gcbench.records import QUICK, Manifest, Peaks, Run
from gcbench.runtime import known, require_installed
from gcbench.spec import cases, grid
from gcbench.spec.cases import Axes, Block, Comparison, CounterName, Dtype, Effort, Network, Pair
from gcbench.spec.grid import Sweep


@contextmanager
def opened(apart: bool, timeout_s: float = inf) -> Iterator[Engine]:
    """Have an engine: `apart` in a process of its own, which is started at once, or else here.

    There, trying one case may take `timeout_s`. Raises LimitError where the system has no room for
    it.
    """
    if not apart:
        from gcbench.engines.inline import Inline

        yield Inline()
        return
    with Isolated(timeout_s) as isolated:
        isolated.begin()
        yield isolated


def looked_at(name: str, call: Caller = call_here) -> Block:
    """Look at a block, given as a spec, as `blocks.resolve` does, wherever that is called.

    Raises UsageError with what that said, or with how the import ended its process.
    """
    try:
        return call(blocks.resolve, name)
    except CallError as error:
        raise UsageError(f"block {name!r}: {_importing(error)}") from error


def _importing(error: CallError) -> str:
    broke_off = error.reason.startswith("broke off")
    return f"{'importing it' if broke_off else 'to import it'} {error.reason}"


def compare(
    names: Sequence[str],
    axes: Axes,
    baseline: str | None = None,
    pair: Pair | None = None,
    call: Caller = call_here,
) -> Comparison:
    """Put blocks, given as specs, side by side on this machine.

    They are looked at where `call` has that done. Raises UsageError where this machine lacks the
    device or does not tell what was asked for needs, or a block cannot be imported or built as it
    was asked for.
    """
    device = call(environment.resolve_device, axes.device)
    if pair and pair.axis == "heap":
        cases.require_beside(pair, None, (axes.regime,))
        heap.require_both("--pair heap", device)
    comparison = cases.comparison_of(
        [looked_at(name, call) for name in names],
        replace(axes, device=device),
        device,
        None if baseline is None else looked_at(baseline, call),
        pair,
    )
    given = [name for name in names if blocks.is_given(name)]
    if given and is_apart(comparison):
        why = "--pair heap takes a process for each heap"
        if any(known(case.runtime).foreign for case in comparison.cases):
            why = "a runtime that is not torch's own takes processes of its own"
        raise UsageError(f"{why}, and {given[0]} is a module of this one: name it as module:Class")
    return possible(comparison, call)


def compare_inside_on(
    asked: Sweep,
    network: Network,
    insertions: Sequence[Insertion],
    ratios: Sequence[int],
    call: Caller = call_here,
) -> list[Comparison]:
    """Put a network beside itself at every point of a plan's axes; see `compare_inside`."""
    named = asked.device or (None,)
    devices = tuple(dict.fromkeys(call(environment.resolve_device, each) for each in named))
    return [
        replace(
            compare_inside(network, insertions, ratios, axes, call),
            place=place,
            kind=cases.kind_among(str(axes.device), devices),
        )
        for place, axes in enumerate(grid.points(asked, devices))
    ]


def named_inside(
    net: str, rows: Sequence[tuple[str, Position]], call: Caller = call_here
) -> tuple[str, list[Insertion]]:
    """Look at a network and at what is to be put into it, each row once; returns both, canonical.

    Raises UsageError, as `looked_at` does.
    """
    try:
        resolved = call(networks.resolve, net)
    except CallError as error:
        raise UsageError(f"network {net!r}: {_importing(error)}") from error
    found = []
    for text, position in rows:
        try:
            found.append(call(networks.read_insertion, text, position))
        except CallError as error:
            raise UsageError(f"row {text!r}: {_importing(error)}") from error
    return resolved, list(dict.fromkeys(found))


def compare_inside(
    network: Network,
    insertions: Sequence[Insertion],
    ratios: Sequence[int],
    axes: Axes,
    call: Caller = call_here,
) -> Comparison:
    """Put a network beside itself with blocks inside, on this machine.

    `axes` has the images' batch and size. Raises UsageError as `compare` does, and where the
    network has no such place, or a block cannot be built there.
    """
    device = call(environment.resolve_device, axes.device)
    axes = replace(axes, device=device)
    # one that ends its process when it is made is a row
    with suppress(CallError):
        network = call(networks.on_images, network, axes)
    return possible(networks.comparison_inside(network, insertions, ratios, axes, device), call)


def possible(comparison: Comparison, call: Caller = call_here) -> Comparison:
    """Return a comparison. Raises UsageError where a case cannot be built, or run as asked for."""
    # a case that ends its process when it is built is a row
    with suppress(CallError):
        call(require_possible, comparison)
    return comparison


def require_possible(comparison: Comparison) -> None:
    """Raise UsageError where a case cannot be built, or run as asked for."""
    from gcbench.engines.counted import require_buildable
    from gcbench.measure import runtimes

    for case in comparison.cases:
        if case.cache == "cold":
            environment.require_cache_bytes(case.device)
        require_installed("--runtime", case.runtime)
    reasons = [runtimes.why_not(case) for case in comparison.cases]
    # one of several is a row that says so
    if all(reasons):
        raise UsageError(f"--runtime {comparison.cases[0].runtime}: {reasons[0]}")
    for case in comparison.cases:
        if modules.is_known(case):
            modules.build_meta(case)
    require_buildable([case for case in comparison.cases if not modules.is_known(case)])


def run(
    comparisons: Sequence[Comparison],
    effort: Effort,
    seed: int = 0,
    counter: CounterName = "auto",
    on_progress: Callable[[Progress], None] = lambda progress: None,
    *,
    engine: Engine | None = None,
    timeout_s: float = inf,
    wait: bool = True,
    tell: Log = lambda text: None,
    profile: bool = False,
    rivals_only: bool = False,
    partial: bool = False,
    standings: bool = False,
    allow_nondeterministic: bool = False,
) -> Run:
    """Make a run of comparisons, measured as a `Plan` of them is.

    Where no `engine` is given, that is in this process, unless a case may leave it unfit to go on,
    or several processes are to measure; there trying one case may take `timeout_s`.
    """
    found: list[Manifest] = []
    plan = Plan(
        lambda device: effort,
        comparisons,
        len(comparisons),
        seed=seed,
        counter=counter,
        wait=wait,
        profile=profile,
        rivals_only=rivals_only,
        partial=partial,
        standings=standings,
        allow_nondeterministic=allow_nondeterministic,
    )

    def warn(news: str) -> None:
        on_progress(Progress(0.0, effort.max_time_s, news=news))

    events = Events(tell, on_progress, on_manifest=found.append, warn=warn)
    with ExitStack() as held:
        if engine is None or not isinstance(engine, Isolated):
            apart = effort.processes > 1 or any(_may_break(c) or is_apart(c) for c in comparisons)
            engine = held.enter_context(opened(apart, timeout_s))
        records = tuple(measure(plan, engine, events))
    return Run(found[0], records)


def _may_break(comparison: Comparison) -> bool:
    """Whether a case may leave a process unfit to measure in, and another process can build it.

    On CUDA any may: an illegal access or a broken capture outlasts the case.
    """
    return comparison.device != "cpu" and not any(
        blocks.is_given(case.spec) for case in comparison.cases
    )


def count_only(
    comparison: Comparison, seed: int = 0, counter: CounterName = "auto", call: Caller = call_here
) -> Run:
    """Make a run of a comparison that is counted and not timed."""
    return count_all([comparison], seed, counter, call)


def count_all(
    comparisons: Sequence[Comparison],
    seed: int = 0,
    counter: CounterName = "auto",
    call: Caller = call_here,
) -> Run:
    """Make a run of comparisons that are counted and not timed."""
    from gcbench.engines.static import Static

    engine = Static(call)
    records = [engine.measure(Job(each, QUICK, seed, counter)) for each in comparisons]
    return Run(here(call, engine.name, stamp(), seed), tuple(records))


def take_apart(
    target: str,
    sides: Sequence[int] | None,
    channels: int | None,
    ratio: int,
    dtype: Dtype,
    seed: int,
    call: Caller = call_here,
) -> Anatomy:
    """Count a block or a network part by part, where `call` has that done; see `taken_apart`.

    Raises UsageError where it cannot be built or called.
    """
    try:
        return call(taken_apart, target, sides, channels, ratio, dtype, seed)
    except CallError as error:
        raise UsageError(f"{target}: to count it {error.reason}") from error


def taken_apart(
    target: str,
    sides: Sequence[int] | None,
    channels: int | None,
    ratio: int,
    dtype: Dtype,
    seed: int,
) -> Anatomy:
    """Count a block or a network part by part, at an input of these sides, or its usual one.

    `channels` are those that a block is built for, where they are not the input's second side.
    """
    from gcbench.engines import dissected

    if dissected.is_network(target):
        sides = sides or dissected.IMAGES
        wanted = dissected.network(target, sides, seed)
    else:
        sides = sides or (1, channels or 256, 56, 56)
        wanted = dissected.block(target, channels or sides[1], ratio, seed)
    return dissected.anatomy(wanted, sides, dtype, seed)


def measure_peaks(
    axes: Axes, dtypes: Sequence[str], on_step: Log, *, wait: bool, tell: Log
) -> tuple[Peaks, Manifest]:
    """Measure the ceilings of the axes' device, at their threads, alone on it; and where that was.

    `wait` and `tell` are those of `run`, `on_step` gets what is measured next. Raises UsageError
    where the device is missing.
    """
    device = environment.resolve_device(axes.device)
    with alone_on(device, wait, tell) as alone:
        manifest = environment.manifest("peaks", seed=0)
        threads = (axes.threads or manifest.threads) if device == "cpu" else None
        found = peaks.anew(manifest, device, threads, dtypes, tell, on_step)
    return found if alone else replace(found, flags=(*found.flags, "not_alone")), manifest
