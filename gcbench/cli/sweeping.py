"""What `gcbench sweep` does once it knows what is asked: look ahead, measure, leave the result."""

import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gcbench import store
from gcbench.cli import faults
from gcbench.cli.output import is_stdout, require_writable
from gcbench.cli.progress import SweepBar, sweep_bar
from gcbench.cli.stored import opened
from gcbench.errors import RunError, StoppedError, UsageError, cause
from gcbench.options import config
from gcbench.report.text import pasted
from gcbench.units import counted, span_text

if TYPE_CHECKING:
    from gcbench.engines.jobs import Caller, Engine
    from gcbench.engines.ray.sessions import Cluster
    from gcbench.engines.sweeps import Extent
    from gcbench.records import ComparisonRecord, Manifest, Status
    from gcbench.report import Format
    from gcbench.report.document import Document
    from gcbench.spec.cases import Comparison
    from gcbench.spec.grid import ResolvedSweep, Sweep
    from gcbench.store import RunFile

RESULTS = Path("results")
# more cases than this are for a file
MOST_SHOWN = 2000


def new_run() -> Path:
    """Name a run that is not there yet, in the folder of results, which is made."""
    try:
        RESULTS.mkdir(exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the folder {RESULTS}: {cause(error)} (-o RUN)") from error
    return store.path_in(RESULTS, f"sweep-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")


@dataclass(frozen=True)
class ResumeOptions:
    """What was said of how to go through a sweep, beside what it measures.

    `csv` is what the rows go to in the end, `ray_address` the cluster: both are named in the line
    that goes on. With `forget` it does not matter what ran out of memory before.
    """

    retry: "Collection[Status]"
    forget: bool
    wait: bool
    allow_mismatch: bool
    csv: Path | None
    ray_address: str | None

    def way_on(self, run: Path) -> str:
        """What was kept, and the line that goes on."""
        options = {"--ray-address": self.ray_address, "--csv": self.csv}
        more = "".join(f" {name} {pasted(value)}" for name, value in options.items() if value)
        return f"what was measured is kept; go on with: gcbench sweep --resume {pasted(run)}{more}"


@dataclass(frozen=True)
class SweepContext:
    """A sweep where it is measured: what it names, looked at, and what became of its cases so far.

    `engine` measures it, or its `cluster`, where it has one; `call` calls what looks at its code.
    What became `retry` is due again.
    """

    place: "ResolvedSweep"
    engine: "Engine"
    call: "Caller"
    statuses: "Mapping[str, Status]"
    retry: "Collection[Status]"
    cluster: "Cluster | None" = None

    def due(self) -> "Iterator[Comparison]":
        """Yield what is still to be measured."""
        from gcbench.engines import sweeps

        return sweeps.due(self.place, self.statuses, self.retry)

    def extent(self) -> "Extent":
        """Count what is due."""
        from gcbench.engines import sweeps

        return sweeps.extent(self.due())

    def foreseen(self) -> list[str]:
        """Say what the sweep would be, or what is left of a run, in lines."""
        from gcbench.engines import dry_run

        request, cluster = self.place.sweep, self.cluster
        with redirect_stdout(sys.stderr):
            if cluster is None:
                found = dry_run.forecast(request, self.due(), call=self.call)
                return list(dry_run.lines(request, found))
            # nodes have memory of their own, which is not looked at
            found = dry_run.forecast(
                request, self.due(), dry_run.limit_alone, cluster.lanes, self.call
            )
            return [*dry_run.lines(request, found), *cluster.lines()]


@contextmanager
def prepared(
    request: "Sweep", ray_address: str | None, run: Path | None, retry: "Collection[Status]"
) -> Iterator[SweepContext]:
    """Look at what a sweep names; be connected to its cluster, if it has one and anything is due.

    Raises UsageError where something of it cannot be had, or nothing of a new sweep is due.
    """
    from gcbench.engines import sweeps
    from gcbench.engines.jobs import call_here
    from gcbench.measure import environment

    statuses = store.statuses(run) if run else {}
    spread = request.engine == "ray" and not request.static
    with environment.tf32(request.tf32), sweeps.opened(request) as engine:
        call = engine.call if sweeps.is_foreign(request) else call_here
        # stdout is the result alone, whatever a block of the user's own prints
        with redirect_stdout(sys.stderr):
            place = (
                sweeps.place_on(request, request.device or ("cpu",), call)
                if spread
                else sweeps.place(request, call)
            )
        context = SweepContext(place, engine, call, statuses, retry)
        if not run and not context.extent().cases:
            raise UsageError("--where leaves no case of the grid")
        # with --per-device nothing counts as done here: only the cluster tells which kinds it has
        if not spread or (run and not context.extent().cases):
            yield context
            return
        from gcbench.engines.ray import connecting, sessions

        connecting.require_ray()
        faults.info(
            f"joining Ray at {ray_address}" if ray_address else "starting Ray on this machine"
        )
        with sessions.opened(place, ray_address) as cluster:
            yield replace(context, place=cluster.place, cluster=cluster)


def require_new(run: Path | None) -> None:
    """Make sure that a run can be begun. Raises RunError with the line that goes on with it."""
    if is_stdout(run):
        raise RunError("--output -: a sweep goes on from its run, which is a file: name one")
    require_writable("--output", run)
    if run and run.is_file():
        raise RunError(
            f"{run} is there already: go on with it by gcbench sweep --resume {pasted(run)}, "
            "or name another"
        )
    require_writable("--output", run, new=True)


def start(context: SweepContext, run: Path) -> "RunFile":
    """Begin a run. Raises RunError where it is there already, or cannot be written."""
    return store.create(run, _manifest(context, run))


def go_on(context: SweepContext, run: Path, allow_mismatch: bool) -> "RunFile":
    """Open a run to go on with it. Raises RunError where machine or versions have changed."""
    now = _manifest(context, run)
    changed = store.mismatches(
        store.manifest(run), now, elsewhere=context.place.sweep.engine == "ray"
    )
    if changed and not allow_mismatch:
        raise RunError(
            f"{run} was begun elsewhere or otherwise, and its rows would not compare: "
            f"{'; '.join(changed)} (--allow-mismatch goes on all the same)"
        )
    for change in changed:
        faults.info(f"warning: {change}")
    return store.resume(run, faults.info)


def measure_into(kept: "RunFile", context: SweepContext, run: Path, options: ResumeOptions) -> None:
    """Measure what is due into a run.

    Raises RunError where it cannot be written, and GcbenchError where no process can be started, or
    a cluster has no node left.
    """
    request, extent, before = context.place.sweep, context.extent(), len(context.statuses)
    each = ", on each kind of device," if request.per_device else ""
    with redirect_stdout(sys.stderr):
        faults.info(
            f"{counted(extent.cases, 'case')} in "
            f"{counted(extent.comparisons, 'comparison')}{each} into {run}"
            + (f"; {before:,} are there already" if before else "")
        )
        if before and extent.cases and request.budget_s is not None:
            faults.info(f"--budget {span_text(request.budget_s)} begins anew")
        with sweep_bar(extent.comparisons) as bar:
            for record in _measured(context, run, extent.comparisons, options, bar):
                kept.append(record)
                bar.done(record)


def _measured(
    context: SweepContext, run: Path, total: int, options: ResumeOptions, bar: "SweepBar"
) -> "Iterator[ComparisonRecord]":
    from gcbench.engines import sweeps
    from gcbench.engines.measuring import Events, measure
    from gcbench.measure.environment import node_name

    ran_out = {} if options.forget else store.shortages(run)
    plan = replace(
        sweeps.plan_of(context.place.sweep),
        comparisons=context.due(),
        total=total,
        manifest=store.manifest(run),
        ran_out=ran_out.get(node_name(), ()),
        wait=options.wait,
    )
    if context.cluster is None:
        yield from measure(plan, context.engine, Events(faults.info, bar.moved, bar.begin))
        return
    from gcbench.engines.ray import sessions

    yield from sessions.measure(
        context.cluster,
        store.manifest(run),
        context.statuses,
        options.retry,
        wait=options.wait,
        allow_mismatch=options.allow_mismatch,
        tell=faults.info,
        watched=bar.moves,
        on_view=lambda view: bar.spread(view.total, view.doing),
        ran_out=ran_out,
    )


@contextmanager
def going_on(run: Path, options: ResumeOptions) -> Iterator[None]:
    """Say of whatever ends a sweep, once its run is there, how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        if not run.is_file():
            raise
        stopped = StoppedError("interrupted")
        stopped.add_note(options.way_on(run))
        raise stopped from None


@contextmanager
def begun(run: Path, options: ResumeOptions) -> Iterator[None]:
    """Say of what breaks off a sweep that was begun how to go on."""
    try:
        yield
    except Exception as error:
        error.add_note(options.way_on(run))
        raise


def told(run: Path, shown: "Format") -> "tuple[Document, Document]":
    """A pivot of a run, and all of its rows; in the place of a table of very many cases nothing."""
    from gcbench.analysis.sections import Watch
    from gcbench.report import cases
    from gcbench.report.pivot import pivot
    from gcbench.results import tables

    stored = opened(run)
    rows = cases.cases(lambda: tables.rows(stored), stored.manifest)
    number = len(store.statuses(run))
    if number > MOST_SHOWN and shown.name == "table":
        faults.info(f"{number:,} cases are more than a table shows; --format csv has them")
        return replace(rows, sections=lambda detail: ()), rows
    watch = Watch(stored)
    made = pivot(watch.over(tables.placed(stored)))
    return cases.pivoted(made, stored.manifest, watch), rows


def counts(run: Path) -> "Counter[Status]":
    """How many cases of each status a run has."""
    return Counter(store.statuses(run).values())


def _manifest(context: SweepContext, run: Path) -> "Manifest":
    from gcbench.engines.measuring import here

    place = context.place
    # the devices that were found, so that another machine does not go on with others
    request = replace(place.sweep, device=place.devices)
    engine = "static" if request.static else request.engine
    manifest = here(context.call, engine, run.stem, request.seed)
    return replace(manifest, sweep=config.to_toml(request), origins=request.origins)
