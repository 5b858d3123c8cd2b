"""Between trying the cases of a comparison and its record, wherever its arms live.

Which cases do not fit in memory beside the others, whether anything is left to compare, and the
timing itself: begun anew without a case that fails, and kept where a person ends it.
"""

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from gcbench.engines.attempts import Bounds, rotates
from gcbench.engines.jobs import Job, Listener, record_of
from gcbench.errors import CaseError
from gcbench.measure.timing.replicates import Lineup, Progress
from gcbench.measure.timing.standing import Standing, standings
from gcbench.records import ComparisonRecord, Measurement, Timing
from gcbench.spec.cases import Case, Effort
from gcbench.units import size_text

OnProgress = Callable[[Progress], None]

# where cases failed late, the others still get this share of the time
LEAST_SHARE = 0.25


class SoFar:
    """What was timed of a comparison so far, and how far that is, for who wants to know."""

    # working standings out takes some milliseconds, of the time that is there for timing
    EACH_S = 0.5

    def __init__(self, job: Job, on_progress: OnProgress) -> None:
        """Begin with nothing."""
        self.timing: Timing | None = None
        self._job, self._on_progress = job, on_progress
        self._found: tuple[Standing, ...] = ()
        self._last = -math.inf

    def keep(self, timing: Timing) -> None:
        """Take what there is by now."""
        self.timing = timing

    def heard(self, step: Progress) -> None:
        """Hear of a step, and pass it on, with standings where the job wants them."""
        now = time.monotonic()
        if self._job.standings and self.timing and now - self._last >= self.EACH_S:
            self._last, comparison = now, self._job.comparison
            labels = [case.label for case in comparison.cases]
            precision = self._job.effort.precision
            self._found = standings(
                self.timing, comparison.baselines, labels, step.elapsed_s, precision
            )
        self._on_progress(replace(step, standings=self._found))


def time_what_runs(
    working: Collection[int],
    job: Job,
    on_progress: OnProgress,
    once: Callable[[Effort, SoFar], Timing],
    failed: Callable[[int, BaseException | None], None],
    let_go: Callable[[int], None] = lambda case: None,
) -> Timing | None:
    """Time the cases that are `working` now, while there are any.

    `once` does so within an effort. Of a case that fails `failed` hears, with what it raised, and
    takes it out, and `let_go` when nothing holds that any more; the others then start anew. An
    interrupt leaves what was timed, where the job wants that.
    """
    effort, started = job.effort, time.monotonic()
    while working:
        left_s = effort.max_time_s - (time.monotonic() - started)
        left = replace(effort, max_time_s=max(left_s, LEAST_SHARE * effort.max_time_s))
        so_far = SoFar(job, on_progress)
        try:
            return once(left, so_far)
        except KeyboardInterrupt:
            if so_far.timing is None or not job.partial:
                raise
            return replace(so_far.timing, stopped_by="interrupt")
        except CaseError as failure:
            guilty = failure.case
            failed(guilty, failure.__cause__)
        let_go(guilty)
    return None


def worth_timing(working: Collection[int], job: Job) -> bool:
    """Whether a job wants its cases timed: with `rivals_only` not a baseline that is left alone."""
    baselines = job.comparison.baselines
    rivals = any(i in working and baselines[i] in working and baselines[i] != i for i in working)
    return rivals or not job.rivals_only or len(baselines) == 1


def tell_of_failures(
    found: Sequence[Measurement], working: Collection[int], job: Job, listener: Listener
) -> None:
    """Say before the timing which cases it goes without, where it was not said yet."""
    for position, measured in enumerate(found):
        if position not in working and position not in job.known:
            news = f"{measured.case.label}: {measured.status}, {measured.reason}"
            listener.on_progress(Progress(0.0, job.effort.max_time_s, news=news))


def timed_record(
    job: Job, found: Sequence[Measurement], working: Collection[int], timing: Timing | None
) -> ComparisonRecord:
    """The record of a job: what was found, flagged where a baseline is missing, and the timing."""
    rows = tuple(
        measured
        if baseline in working
        else replace(measured, flags=(*measured.flags, "baseline_failed"))
        for measured, baseline in zip(found, job.comparison.baselines, strict=True)
    )
    return record_of(job.comparison, rows, job.effort, () if timing is None else (timing,))


def lineup_of(
    cases: Sequence[Case],
    working: Collection[int],
    baselines: tuple[int, ...],
    controls: Collection[int] = (),
) -> Lineup:
    """What stands in a comparison of which these cases work; one copy of each of their inputs.

    The `controls` have A/A arms of their own, as baselines do.
    """
    # the last case of an input comes first here, so that the first one stays
    of_input = {cases[position].input: position for position in sorted(working, reverse=True)}
    copies = tuple(sorted(of_input.values()))
    return Lineup(tuple(sorted(working)), baselines, copies, tuple(controls))


def crowded_out(
    working: Mapping[int, Measurement],
    twice: Collection[int],
    bounds: Bounds,
    process_of: Callable[[Case], object] = lambda case: None,
) -> dict[int, Measurement]:
    """Leave out the largest cases until all arms of the others fit in memory together.

    Returns the rows of those left out. Of those that are there `twice` a second copy is timed too;
    `process_of` tells cases apart that live in different
    processes: what one of those frees is not there for another.
    """
    kept, out = dict(working), dict[int, Measurement]()
    while kept:
        # each is called with the others alive
        needed = sum(held_bytes(m) * (2 if i in twice else 1) for i, m in kept.items())
        most: dict[object, int] = {}
        for measured in kept.values():
            process = process_of(measured.case)
            most[process] = max(most.get(process, 0), activation_bytes(measured))
        needed += sum(most.values())
        needed *= 2 if any(rotates(measured.case) for measured in kept.values()) else 1
        room = bounds.room(next(iter(kept.values())).case.device)
        if room is None or needed <= room[0]:
            break
        largest = max(kept, key=lambda i: held_bytes(kept[i]) + activation_bytes(kept[i]))
        reason = (
            f"all arms of the comparison need {size_text(needed)} at once, and "
            f"{room[1]}: compare fewer blocks"
        )
        crowded = kept.pop(largest)
        flags = (*crowded.flags, "crowded")
        out[largest] = replace(crowded, status="oom", reason=reason, flags=flags)
    return out


def heap_bytes(measured: Sequence[Measurement], bounds: Bounds, shift_bytes: int) -> int:
    """What all arms of some cases will take of the heap, at places that are drawn anew each time.

    Each is shifted by up to so many bytes. No more than a quarter of what is free.
    """
    device = measured[0].case.device if measured else "cpu"
    room = bounds.room(device) if measured and device == "cpu" else None
    if room is None:
        return 0
    wanted = sum(2 * (peak_bytes(each) + shift_bytes) for each in measured)
    return min(wanted, room[0] // 4)


def held_bytes(measured: Measurement) -> int:
    """What a case holds before and after every call."""
    return peak_bytes(measured) - activation_bytes(measured)


def activation_bytes(measured: Measurement) -> int:
    """What a call takes beside that."""
    cell = measured.metrics.get("activation_memory_bytes")
    return cell if isinstance(cell, int) else 0


def peak_bytes(measured: Measurement) -> int:
    """What a case takes that was tried; where that is not known, what it was predicted to."""
    cell = measured.metrics.get("peak_memory_bytes")
    return cell if isinstance(cell, int) else measured.needed_bytes or 0
