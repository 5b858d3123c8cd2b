"""Where comparisons run: in this process, or in others. `run` makes a run of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby

from gcbench import blocks, environment, heap, modules, networks, peaks, runtimes, spec, sweep
from gcbench.cores import tell_of_busy_cores
from gcbench.engines.alone import Tell, alone_on
from gcbench.engines.apart import is_apart
from gcbench.engines.counted import require_buildable
from gcbench.engines.inline import Inline
from gcbench.engines.isolated import Isolated
from gcbench.engines.jobs import Engine, Job, Listener
from gcbench.engines.static import Static
from gcbench.errors import UsageError
from gcbench.networks.variants import Insertion
from gcbench.peaks import Ceilings
from gcbench.records import QUICK, ComparisonRecord, Effort, Manifest, Peaks, Run
from gcbench.spec import Axes, Comparison, CounterName, Network, Pair
from gcbench.sweep import Sweep
from gcbench.timing.replicates import Progress


def compare(
    names: Sequence[str], axes: Axes, baseline: str | None = None, pair: Pair | None = None
) -> Comparison:
    """Put blocks, given as specs, side by side on this machine.

    Raises UsageError where this machine lacks the device or does not tell what was asked for needs,
    or a block cannot be imported or built as it was asked for.
    """
    device = environment.resolve_device(axes.device)
    if pair and pair.axis == "heap":
        spec.require_beside(pair, None, (axes.regime,))
        heap.require_both("--pair heap", device)
        if given := [name for name in names if blocks.is_given(name)]:
            raise UsageError(
                f"--pair heap takes a process for each heap, and {given[0]} is a module of this "
                "one: name it as module:Class"
            )
    comparison = spec.compare(
        [blocks.resolve(name) for name in names],
        replace(axes, device=device),
        device,
        None if baseline is None else blocks.resolve(baseline),
        pair,
    )
    return possible(comparison)


def compare_inside_on(
    asked: Sweep, network: Network, insertions: Sequence[Insertion], ratios: Sequence[int]
) -> list[Comparison]:
    """Put a network beside itself at every point of a plan's axes; see `compare_inside`."""
    named = asked.device or (None,)
    devices = tuple(dict.fromkeys(map(environment.resolve_device, named)))
    return [
        replace(
            compare_inside(network, insertions, ratios, axes),
            place=place,
            kind=spec.kind_among(str(axes.device), devices),
        )
        for place, axes in enumerate(sweep.points(asked, devices))
    ]


def compare_inside(
    network: Network, insertions: Sequence[Insertion], ratios: Sequence[int], axes: Axes
) -> Comparison:
    """Put a network beside itself with blocks inside, on this machine.

    `axes` has the images' batch and size. Raises UsageError as `compare` does, and where the
    network has no such place, or a block cannot be built there.
    """
    device = environment.resolve_device(axes.device)
    axes = replace(axes, device=device)
    network = networks.on_images(network, axes)
    return possible(networks.compare(network, insertions, ratios, axes, device))


def possible(comparison: Comparison) -> Comparison:
    """Return a comparison. Raises UsageError where a case cannot be built, or run as asked for."""
    for case in comparison.cases:
        if case.cache == "cold":
            environment.require_cache_bytes(case.device)
        why_not = runtimes.why_not(case)
        if why_not:
            raise UsageError(f"--runtime {case.runtime}: {why_not}")
    for case in comparison.cases:
        if modules.is_known(case):
            modules.build_meta(case)
    require_buildable([case for case in comparison.cases if not modules.is_known(case)])
    return comparison


def run(
    comparisons: Sequence[Comparison],
    effort: Effort,
    seed: int = 0,
    counter: CounterName = "auto",
    on_progress: Callable[[Progress], None] = lambda progress: None,
    *,
    wait: bool = True,
    tell: Tell = lambda text: None,
    profile: bool = False,
    rivals_only: bool = False,
    partial: bool = False,
    standings: bool = False,
    allow_nondeterministic: bool = False,
) -> Run:
    """Measure comparisons, alone on the device of each among all gcbench runs of this machine.

    Devices take their turns one after the other. Where another gcbench measures there already,
    `tell` gets a sentence, and this waits for it unless `wait` says otherwise; then every row is
    flagged `not_alone`. With `rivals_only` a baseline to which nothing is left to be compared is
    not timed. To `profile` adds what calls launch on CUDA, looked at when all of a device
    is timed. Where `partial`, an interrupt while cases are timed ends the run with what was timed
    until then; otherwise it is raised. With `standings`, progress says how far each case is;
    `allow_nondeterministic` is that of `Job`.
    """

    def step(what: str) -> None:
        on_progress(Progress(effort.max_time_s, effort.max_time_s, doing=what))

    def warn(news: str) -> None:
        on_progress(Progress(0.0, effort.max_time_s, news=news))

    manifest: Manifest | None = None
    records: list[ComparisonRecord] = []
    with Isolated() as isolated:
        for device, on_it in groupby(comparisons, lambda each: each.device):
            with alone_on(device, wait, tell) as alone:
                # the machine as it is when nobody else measures
                manifest = manifest or environment.manifest(_stamp(), seed)
                if device == "cpu":
                    tell_of_busy_cores(spec.most_threads(comparisons, manifest.threads), warn)
                ceilings = Ceilings(manifest, tell, step)
                jobs = [
                    Job(
                        each,
                        effort,
                        seed,
                        counter,
                        rivals_only=rivals_only,
                        partial=partial,
                        standings=standings,
                        allow_nondeterministic=allow_nondeterministic,
                    )
                    for each in on_it
                ]
                apart = effort.processes > 1 or _may_break(jobs[0].comparison)
                apart = apart or is_apart(jobs[0].comparison)
                engine: Engine = isolated if apart else Inline()
                made = list(_until_interrupted(engine, jobs, Listener(on_progress), ceilings))
                ended = made[-1].interrupted
                if profile and device != "cpu" and not ended:
                    step("profiling")
                    made = [with_kernels(*each, engine) for each in zip(made, jobs, strict=True)]
                records += made if alone else [r.flagged("not_alone") for r in made]
                # what profiled is slower from then on, and holds memory of this device
                isolated.end()
            if ended:
                break
    assert manifest
    return Run(manifest, tuple(records))


def _until_interrupted(
    engine: Engine, jobs: Sequence[Job], listener: Listener, ceilings: Ceilings
) -> Iterator[ComparisonRecord]:
    """Do jobs one after the other, up to one that is broken off, which needs no ceilings."""
    for job in jobs:
        record = engine.measure(job, listener)
        if record.interrupted:
            yield record
            return
        yield with_peaks(record, ceilings)


def _stamp() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"


def _may_break(comparison: Comparison) -> bool:
    """Whether a case may leave a process unfit to measure in, and another process can build it.

    On CUDA any may: an illegal access or a broken capture outlasts the case.
    """
    return comparison.device != "cpu" and not any(
        blocks.is_given(case.spec) for case in comparison.cases
    )


def count_only(comparison: Comparison, seed: int = 0, counter: CounterName = "auto") -> Run:
    """Make a run of a comparison that is counted and not timed."""
    return count_all([comparison], seed, counter)


def count_all(
    comparisons: Sequence[Comparison], seed: int = 0, counter: CounterName = "auto"
) -> Run:
    """Make a run of comparisons that are counted and not timed."""
    manifest = environment.manifest(_stamp(), seed)
    static = Static()
    jobs = [Job(each, QUICK, seed, counter) for each in comparisons]
    return Run(manifest, tuple(static.measure(job) for job in jobs))


def measure_peaks(
    axes: Axes, dtypes: Sequence[str], on_step: Tell, *, wait: bool, tell: Tell
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


def with_kernels(record: ComparisonRecord, job: Job, engine: Engine) -> ComparisonRecord:
    """Add what the calls of cases launch, which the engine of the job looks at."""
    looked_at = engine.measure(job.profiling(record.measurements))
    return replace(record, measurements=looked_at.measurements)


def with_peaks(record: ComparisonRecord, ceilings: Ceilings) -> ComparisonRecord:
    """Add the ceilings that what was timed is held against."""
    timed = [m.case for m in record.measurements if m.status == "ok" and record.timings]
    return replace(record, peaks=ceilings.of(timed))
