"""What `gcbench sweep` does once it knows what is asked: look ahead, measure, leave the result."""

import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gcbench import spelling, store
from gcbench.cli import faults
from gcbench.cli.output import is_stdout, require_writable
from gcbench.cli.progress import SweepBar, sweep_bar
from gcbench.cli.stored import opened
from gcbench.errors import RunError, StoppedError, UsageError, cause
from gcbench.formats.text import pasted
from gcbench.units import counted, span_text

if TYPE_CHECKING:
    from gcbench.cluster.sessions import Cluster
    from gcbench.engines.sweeps import Extent
    from gcbench.formats import Format
    from gcbench.formats.document import Document
    from gcbench.records import ComparisonRecord, Manifest, Measurement, Status
    from gcbench.store import RunFile
    from gcbench.sweep import Place, Sweep

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
class Ground:
    """Where a sweep measures: what it names, and the cluster, where one is needed."""

    place: "Place"
    cluster: "Cluster | None" = None


@dataclass(frozen=True)
class How:
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
class Known:
    """What is due of a run, and what it has already.

    That is its manifest, what became of cases, and which ran out of memory on each node.
    """

    due: "Extent"
    run: Path
    manifest: "Manifest"
    statuses: "Mapping[str, Status]"
    ran_out: "Mapping[str, Collection[Measurement]]"


@contextmanager
def prepared(
    asked: "Sweep", ray_address: str | None, run: Path | None, retry: "Collection[Status]"
) -> Iterator[Ground]:
    """Look at what a sweep names; be connected to its cluster, if it has one and anything is due.

    Raises UsageError where something of it cannot be had.
    """
    from gcbench import environment
    from gcbench.engines import sweeps

    with environment.tf32(asked.tf32):
        if asked.engine != "ray" or asked.static:
            # stdout is the result alone, whatever a block of the user's own prints
            with redirect_stdout(sys.stderr):
                place = sweeps.place(asked)
            yield Ground(place)
            return
        from gcbench.cluster import connecting, sessions

        with redirect_stdout(sys.stderr):
            place = sweeps.place_on(asked, asked.device or ("cpu",))
        # with --per-device nothing counts as done here: only the cluster tells which kinds it has
        if run and not due_in(place, run, retry).cases:
            yield Ground(place)
            return
        connecting.require_ray()
        faults.say(
            f"joining Ray at {ray_address}" if ray_address else "starting Ray on this machine"
        )
        with sessions.opened(place, ray_address) as cluster:
            yield Ground(cluster.place, cluster)


def foreseen(ground: Ground, run: Path | None, retry: "Collection[Status]") -> list[str]:
    """Say what a sweep would be, or what is left of a run, in lines."""
    from gcbench.engines import forecasts, sweeps

    place, cluster = ground.place, ground.cluster
    statuses = store.statuses(run) if run else {}
    with redirect_stdout(sys.stderr):
        if cluster is None:
            found = forecasts.forecast(place.sweep, sweeps.due(place, statuses, retry))
            return list(forecasts.lines(place.sweep, found))
        # nodes have memory of their own, which is not looked at
        found = forecasts.forecast(
            place.sweep, sweeps.due(place, statuses, retry), forecasts.limit_alone, cluster.lanes
        )
        return [*forecasts.lines(place.sweep, found), *cluster.lines()]


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


def due_in(place: "Place", run: Path | None, retry: "Collection[Status]") -> "Extent":
    """Count what is due. Raises UsageError where the condition leaves nothing of a new sweep."""
    from gcbench.engines import sweeps

    statuses = store.statuses(run) if run else {}
    extent = sweeps.extent(sweeps.due(place, statuses, retry))
    if not (run or extent.cases):
        raise UsageError("--where leaves no case of the grid")
    return extent


def start(ground: Ground, run: Path) -> "RunFile":
    """Begin a run. Raises RunError where it is there already, or cannot be written."""
    return store.create(run, _manifest(ground.place, run))


def go_on(ground: Ground, run: Path, allow_mismatch: bool) -> "RunFile":
    """Open a run to go on with it. Raises RunError where machine or versions have changed."""
    now = _manifest(ground.place, run)
    changed = store.mismatches(
        store.manifest(run), now, elsewhere=ground.place.sweep.engine == "ray"
    )
    if changed and not allow_mismatch:
        raise RunError(
            f"{run} was begun elsewhere or otherwise, and its rows would not compare: "
            f"{'; '.join(changed)} (--allow-mismatch goes on all the same)"
        )
    for change in changed:
        faults.say(f"warning: {change}")
    return store.resume(run, faults.say)


def measure_into(kept: "RunFile", ground: Ground, run: Path, extent: "Extent", how: How) -> None:
    """Measure what is due into a run.

    Raises RunError where it cannot be written, and GcbenchError where no process can be started, or
    a cluster has no node left.
    """
    asked = ground.place.sweep
    each = ", on each kind of device," if asked.per_device else ""
    with redirect_stdout(sys.stderr):
        ran_out = {} if how.forget else store.shortages(run)
        known = Known(extent, run, store.manifest(run), store.statuses(run), ran_out)
        faults.say(
            f"{counted(extent.cases, 'case')} in "
            f"{counted(extent.comparisons, 'comparison')}{each} into {run}"
            + (f"; {len(known.statuses):,} are there already" if known.statuses else "")
        )
        if known.statuses and extent.cases and asked.budget_s is not None:
            faults.say(f"--budget {span_text(asked.budget_s)} begins anew")
        with sweep_bar(extent.comparisons) as bar:
            through = _spread if ground.cluster else _here
            for record in through(ground, known, how, bar):
                kept.append(record)
                bar.done(record)


@contextmanager
def going_on(run: Path, how: How) -> Iterator[None]:
    """Say of whatever ends a sweep, once its run is there, how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        if not run.is_file():
            raise
        stopped = StoppedError("interrupted")
        stopped.add_note(how.way_on(run))
        raise stopped from None


@contextmanager
def begun(run: Path, how: How) -> Iterator[None]:
    """Say of what breaks off a sweep that was begun how to go on."""
    try:
        yield
    except Exception as error:
        error.add_note(how.way_on(run))
        raise


def _here(ground: Ground, known: Known, how: How, bar: "SweepBar") -> "Iterator[ComparisonRecord]":
    from gcbench.engines import sweeps
    from gcbench.engines.jobs import Listener
    from gcbench.environment import node_name

    # nobody is waited for where nothing is left to do
    if not known.due.comparisons:
        return
    due = sweeps.due(ground.place, known.statuses, how.retry)
    ran_out = known.ran_out.get(node_name(), ())
    with sweeps.Session(ground.place, known.manifest, how.wait, faults.say) as session:
        yield from session.measure(
            bar.watched(due), known.due.comparisons, Listener(bar.moved), ran_out
        )


def _spread(
    ground: Ground, known: Known, how: How, bar: "SweepBar"
) -> "Iterator[ComparisonRecord]":
    from gcbench.cluster import sessions

    assert ground.cluster
    yield from sessions.measure(
        ground.cluster,
        known.manifest,
        known.statuses,
        how.retry,
        wait=how.wait,
        allow_mismatch=how.allow_mismatch,
        tell=faults.say,
        watched=bar.moves,
        on_view=lambda view: bar.spread(view.total, view.doing),
        ran_out=known.ran_out,
    )


def told(run: Path, shown: "Format") -> "tuple[Document, Document]":
    """A pivot of a run, and all of its rows; in the place of a table of very many cases nothing."""
    from gcbench import tables
    from gcbench.findings import Watch
    from gcbench.formats import cases
    from gcbench.formats.pivot import pivot

    stored = opened(run)
    rows = cases.cases(lambda: tables.rows(stored), stored.manifest)
    number = len(store.statuses(run))
    if number > MOST_SHOWN and shown.name == "table":
        faults.say(f"{number:,} cases are more than a table shows; --format csv has them")
        return replace(rows, sections=lambda detail: ()), rows
    watch = Watch(stored)
    made = pivot(watch.over(tables.placed(stored)))
    return cases.pivoted(made, stored.manifest, watch), rows


def counts(run: Path) -> "Counter[Status]":
    """How many cases of each status a run has."""
    return Counter(store.statuses(run).values())


def _manifest(place: "Place", run: Path) -> "Manifest":
    from gcbench import environment

    # the devices that were found, so that another machine does not go on with others
    asked = replace(place.sweep, device=place.devices)
    manifest = environment.manifest(run.stem, asked.seed)
    return replace(manifest, sweep=spelling.to_toml(asked), origins=asked.origins)
