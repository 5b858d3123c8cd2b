"""What `gcbench sweep` does once it knows what is asked: look ahead, measure, leave the result."""

import sys
from collections import Counter
from collections.abc import Collection
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gcbench import spelling, store
from gcbench.cli import faults
from gcbench.cli.output import require_writable, show, write_whole
from gcbench.cli.progress import sweep_bar
from gcbench.errors import RunError, StoppedError, UsageError
from gcbench.units import counted

if TYPE_CHECKING:
    from gcbench.engines.sweeps import Extent
    from gcbench.records import Manifest, Status
    from gcbench.store import RunFile
    from gcbench.sweep import Place

RESULTS = Path("results")
# more cases than this are for a file
MOST_SHOWN = 2000


def new_run() -> Path:
    """Name a run that is not there yet, in the folder of results, which is made."""
    try:
        RESULTS.mkdir(exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the folder {RESULTS}: {error.strerror} (-o RUN)") from error
    return store.path_in(RESULTS, f"sweep-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")


def foreseen(place: "Place", run: Path | None, retry: "Collection[Status]") -> list[str]:
    """Say what a sweep would be, or what is left of a run, in lines."""
    from gcbench.engines import forecasts, sweeps

    statuses = store.statuses(run) if run else {}
    found = forecasts.forecast(place.sweep, sweeps.due(place, statuses, retry))
    return list(forecasts.lines(place.sweep, found))


def require_new(run: Path | None) -> None:
    """Make sure that a run can be begun. Raises RunError with the line that goes on with it."""
    require_writable("--output", run)
    if run and run.is_file():
        raise RunError(
            f"{run} is there already: go on with it by gcbench sweep --resume {run}, "
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


def start(place: "Place", run: Path) -> "RunFile":
    """Begin a run. Raises RunError where it is there already, or cannot be written."""
    return store.create(run, _manifest(place, run))


def go_on(place: "Place", run: Path, allow_mismatch: bool) -> "RunFile":
    """Open a run to go on with it. Raises RunError where machine or versions have changed."""
    changed = store.mismatches(store.manifest(run), _manifest(place, run))
    if changed and not allow_mismatch:
        raise RunError(
            f"{run} was begun elsewhere or otherwise, and its rows would not compare: "
            f"{'; '.join(changed)} (--allow-mismatch goes on all the same)"
        )
    for change in changed:
        faults.say(f"warning: {change}")
    return store.resume(run, faults.say)


def measure_into(
    kept: "RunFile",
    place: "Place",
    run: Path,
    retry: "Collection[Status]",
    extent: "Extent",
    wait: bool,
    csv: Path | None,
) -> None:
    """Measure what is due into a run. Raises StoppedError where the person ends it.

    `csv` is what the rows go to in the end, and is named in the line that goes on.
    """
    from gcbench.engines import sweeps
    from gcbench.engines.jobs import Listener

    try:
        with redirect_stdout(sys.stderr):
            statuses = store.statuses(run)
            faults.say(
                f"{counted(extent.cases, 'case')} in "
                f"{counted(extent.comparisons, 'comparison')} into {run}"
                + (f"; {len(statuses):,} are there already" if statuses else "")
            )
            with (
                sweeps.Session(place, store.manifest(run), wait, faults.say) as session,
                sweep_bar(extent.comparisons) as bar,
            ):
                comparisons = bar.watched(sweeps.due(place, statuses, retry))
                for record in session.measure(comparisons, extent.comparisons, Listener(bar.moved)):
                    kept.append(record)
                    bar.done(record)
    except KeyboardInterrupt:
        raise StoppedError(
            f"interrupted: what was measured is kept; go on with: gcbench sweep --resume {run}"
            + (f" --csv {csv}" if csv else "")
        ) from None


def leave(run: Path, csv: Path | None) -> None:
    """Write the rows of a run to a file, if one was named, and show them as a pivot on stdout."""
    from gcbench import tables
    from gcbench.findings import Watch
    from gcbench.formats import FORMATS, PIVOTS
    from gcbench.formats.pivot import pivot

    stored = store.open_run(run, faults.say)
    if csv:
        write_whole(csv, FORMATS["csv"].load()(tables.rows(stored), stored.manifest))
    cases = len(store.statuses(run))
    if cases > MOST_SHOWN:
        faults.say(
            f"{cases:,} cases are more than a table shows: gcbench report {run} --format csv"
        )
        return
    watch = Watch(stored)
    made = pivot(watch.over(tables.placed(stored)))
    show(made, stored.manifest, PIVOTS["table"], watch)
    faults.say(f"shown again, and otherwise, by: gcbench report {run}")


def counts(run: Path) -> "Counter[Status]":
    """How many cases of each status a run has."""
    return Counter(store.statuses(run).values())


def _manifest(place: "Place", run: Path) -> "Manifest":
    from gcbench import environment

    # the devices that were found, so that another machine does not go on with others
    asked = replace(place.sweep, device=place.devices)
    manifest = environment.manifest(run.stem, asked.seed)
    return replace(manifest, sweep=spelling.to_toml(asked))
