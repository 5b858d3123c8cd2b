"""Measure comparisons in processes of their own, so that a case can end only itself.

Every case is tried alone before anything is timed. Where its process dies or overruns, that case is
blamed: it gets its row, and the comparison goes on without it in a new process. A process that dies
while all are timed together names nobody: then each case is timed alone, in a process of its own,
and those that die again are blamed. Where none does, the comparison is tried once more. Nor does a
case that fails where the code of others had run count as failed before it was tried alone.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, Self, TypeVar

from gcbench import blocks
from gcbench.engines.apart import Apart, is_apart
from gcbench.engines.attempts import ProcessTaintedError, Trying
from gcbench.engines.jobs import SILENT, Job, Listener
from gcbench.engines.worker_process import CallError, NotBegunError, Worker, WorkerError
from gcbench.errors import GcbenchError, limited
from gcbench.measure import environment, modules
from gcbench.measure.timing.replicates import Progress
from gcbench.records import ComparisonRecord, Measurement
from gcbench.spec.cases import Effort

T = TypeVar("T")

_FOUND = ", when it was timed alone to find what had ended the process of all"
_TWICE = ", twice while all were timed together, though each alone went through"


class Isolated:
    """A worker for one comparison after another, replaced where it is lost."""

    name = "process"
    times = True

    def __init__(self, timeout_s: float = math.inf) -> None:
        """Let trying one case take `timeout_s`."""
        self._timeout_s = timeout_s
        self._worker: Worker | None = None
        self._device: str | None = None
        self._apart = Apart(timeout_s)
        # whose code, other than gcbench's and torch's own, ran in it
        self._ran: set[str] = set()
        # failures, by block and words, that were seen where nobody else's code had run
        self._own: set[tuple[str, str | None]] = set()

    def __enter__(self) -> Self:
        """Use it; a process is started when the first comparison comes."""
        return self

    def __exit__(self, *failure: object) -> None:
        """Leave no process behind."""
        self.end()

    def end(self) -> None:
        """End every process; the next comparison starts new ones."""
        self._apart.end()
        if self._worker:
            self._worker.end()
        self._worker = None
        self._ran.clear()

    def begin(self) -> None:
        """Start a process now, which loads what it needs while this one goes on."""
        self._worker = self._worker or Worker()

    def call(
        self,
        function: Callable[..., T],
        *given: object,
        heard: Callable[[Any], object] | None = None,
    ) -> T:
        """Call a function, of a module's top, where whatever it runs can end only itself.

        What is given and returned is copied. What it tells by its last argument, where `heard` is
        given, is heard here. Raises what gcbench raised there, and CallError where it did not
        return.
        """
        # nothing of others runs where this machine is looked at
        ours = function.__module__ == environment.__name__
        try:
            self.begin()
            assert self._worker
            limit_s = math.inf if ours else self._timeout_s
            return self._worker.call(function, given, limit_s, heard)
        except NotBegunError as error:
            self.end()
            raise _cannot_start(error) from error
        except CallError:
            self.end()
            raise
        except GcbenchError:
            raise
        except BaseException:
            self.end()
            raise

    def measure(self, job: Job, listener: Listener = SILENT) -> ComparisonRecord:
        """Do a job; with more than one of `processes`, share its effort among them.

        What a process keeps from its start to its end (where its libraries and heap lie, what it
        compiled) is then drawn several times, and the interval holds every process's own median.
        """
        if self._device not in (None, job.comparison.device):
            # it holds memory of the other device
            self.end()
        self._device = job.comparison.device
        if job.profile:
            return self._profiled(job, listener)
        effort = job.effort
        share_s = effort.max_time_s / effort.processes
        # so many processes together are that much more precise
        share = Effort(effort.precision * math.sqrt(effort.processes), share_s)
        job = replace(job, effort=share)
        records: list[ComparisonRecord] = []
        for process in range(effort.processes):
            if effort.processes > 1:
                self.end()

            def moved(step: Progress, before_s: float = process * share_s) -> None:
                # a process may overrun its share by a replicate
                elapsed_s = before_s + min(step.elapsed_s, share_s)
                listener.on_progress(replace(step, elapsed_s=elapsed_s, budget_s=effort.max_time_s))

            job = replace(job, process=process)
            try:
                job = self._settled(job, replace(listener, on_progress=moved), records)
            except KeyboardInterrupt:
                if not (job.partial and records and records[-1].timings):
                    raise
                records[-1] = records[-1].broken_off()
            if records[-1].interrupted:
                break
        return _merged(records, effort)

    def _profiled(self, job: Job, listener: Listener) -> ComparisonRecord:
        """Have measured cases looked at; where that fails, they stay as they are known."""
        try:
            return self._ask(job, listener)
        except (WorkerError, ProcessTaintedError):
            found = tuple(job.known[i] for i in range(len(job.comparison.cases)))
            return ComparisonRecord(found, job.comparison.baselines, job.effort.precision, ())

    def _settled(self, job: Job, listener: Listener, records: list[ComparisonRecord]) -> Job:
        """Do a job until a worker finishes it; returns it with all that was learnt on the way."""
        again = True
        while True:
            try:
                record = self._ask(job, listener)
                cleared = self._cleared(job, record, listener)
                if cleared is None:
                    records.append(record)
                    return job
                job = cleared
            except ProcessTaintedError as error:
                job = job.after(error.taint)
            except WorkerError as lost:
                blamed = self._blamed(job, lost, listener)
                if not blamed and not again:
                    blamed = _all_blamed(job, lost)
                again = bool(blamed)
                job = replace(job, known={**job.known, **blamed})

    def _ask(self, job: Job, listener: Listener) -> ComparisonRecord:
        cases = job.comparison.cases
        self._ran |= {cases[i].spec for i in job.unknown if not modules.is_known(cases[i])}
        if is_apart(job.comparison):
            used = self._apart.began
            try:
                return self._apart.measure(job, listener)
            except NotBegunError as error:
                if used:  # one was lost while nobody asked anything of it; all are started anew
                    return self._ask(job, listener)
                raise _cannot_start(error) from error
        used = self._worker is not None
        if not used:
            limit_s = job.effort.max_time_s
            listener.on_progress(Progress(0.0, limit_s, doing="starting a process that measures"))
        self._worker = self._worker or Worker()
        try:
            return self._worker.ask(job, self._timeout_s, listener)
        except NotBegunError as error:
            self.end()
            if used:  # it was lost while nobody asked anything of it
                return self._ask(job, listener)
            raise _cannot_start(error) from error
        except BaseException:
            self.end()
            raise

    def _blamed(self, job: Job, lost: WorkerError, listener: Listener) -> dict[int, Measurement]:
        """Say which cases are to blame for a lost worker: the one on trial, or those found now."""
        if lost.trying and lost.trying.case is not None:
            return {lost.trying.case: _row(job, lost.trying.case, lost)}
        alone = {position: self._alone(job, position, listener) for position in job.unknown}
        return {i: _row(job, i, culprit, _FOUND) for i, culprit in alone.items() if culprit}

    def _alone(self, job: Job, position: int, listener: Listener) -> WorkerError | None:
        """Time one case alone; returns how its worker was lost, if it was."""
        case = job.comparison.cases[position]
        listener.on_progress(Progress(0.0, job.effort.max_time_s, doing=f"suspecting {case.label}"))
        tried: list[Trying] = []
        if self._ran - {case.spec}:
            # what others' code did to their process is no evidence
            self.end()
        try:
            self._ask(job.alone(position), Listener(on_trying=tried.append))
        except ProcessTaintedError as error:
            row = error.taint.known.get(position)
            return WorkerError(row.status, row.reason or "", None) if row else None
        except WorkerError as lost:
            # what was counted of it stays known, also where it is no longer tried but timed
            counted = next((each for each in reversed(tried) if each.counted), None)
            lost.trying = lost.trying or counted
            return lost
        return None

    def _cleared(self, job: Job, record: ComparisonRecord, listener: Listener) -> Job | None:
        """The job to do again, where a case failed for what another one did to their process.

        Each case that failed where others' code had run is tried alone in a fresh process. Where
        it goes through there, those that do not, or else the one beside which it fails, are left
        out, each with its own row. None where every failure is the case's own.
        """
        failed = [i for i in job.unknown if self._is_suspect(record.measurements[i])]
        if not failed:
            return None
        alone = {i: self._row_alone(job, {i}, i, listener) for i in failed}
        own = {i: row for i, row in alone.items() if row.status != "ok"}
        self._own |= {(row.case.spec, row.reason) for row in own.values()}
        innocent = [i for i in failed if i not in own]
        if not innocent:
            return None
        guilty = own or self._guilty(job, record, innocent[0], listener)
        self.end()
        return replace(job, known={**job.known, **guilty}) if guilty else None

    def _is_suspect(self, row: Measurement) -> bool:
        """Whether a case failed where the code of another one may be to blame."""
        known = (row.case.spec, row.reason) in self._own
        return row.status == "error" and not known and bool(self._ran - {row.case.spec})

    def _guilty(
        self, job: Job, record: ComparisonRecord, victim: int, listener: Listener
    ) -> dict[int, Measurement]:
        """Find the case beside which another one fails that goes through alone; its row says so."""
        cases = job.comparison.cases
        for position in job.unknown:
            if position == victim or modules.is_known(cases[position]):
                continue
            row = self._row_alone(job, {position, victim}, victim, listener)
            if row.status != "ok":
                spoils = (
                    f"beside it {row.case.label}, which goes through alone, fails: {row.reason}"
                    f"{blocks.made_at(cases[position].spec)}"
                )
                found = record.measurements[position]
                return {position: replace(found, status="error", reason=spoils)}
        return {}

    def _row_alone(
        self, job: Job, positions: Collection[int], wanted: int, listener: Listener
    ) -> Measurement:
        """What becomes of one case where these alone are measured, in a fresh process."""
        case = job.comparison.cases[wanted]
        listener.on_progress(Progress(0.0, job.effort.max_time_s, doing=f"suspecting {case.label}"))
        self.end()
        try:
            return self._ask(job.alone(*positions), SILENT).measurements[wanted]
        except ProcessTaintedError as error:
            return error.taint.known.get(wanted, Measurement(case))
        except WorkerError as lost:
            return _row(job, wanted, lost)


def _cannot_start(error: NotBegunError) -> GcbenchError:
    return GcbenchError(f"cannot start a process that measures: {error.reason}{limited()}")


def _all_blamed(job: Job, lost: WorkerError) -> dict[int, Measurement]:
    return {position: _row(job, position, lost, _TWICE) for position in job.unknown}


def _row(job: Job, position: int, lost: WorkerError, how: str = "") -> Measurement:
    counted = lost.trying and lost.trying.counted
    known = counted or Measurement(job.comparison.cases[position])
    return replace(known, status=lost.status, reason=lost.reason + how)


def _merged(records: Sequence[ComparisonRecord], effort: Effort) -> ComparisonRecord:
    """One record of all that the processes found."""
    found = tuple(
        _together(measurements)
        for measurements in zip(*(record.measurements for record in records), strict=True)
    )
    timings = tuple(timing for record in records for timing in record.timings)
    return replace(records[0], measurements=found, timings=timings, precision=effort.precision)


def _together(measurements: Sequence[Measurement]) -> Measurement:
    """One case as every process found it: ok only if it was in each, with the flags of all."""
    flags = tuple(dict.fromkeys(flag for each in measurements for flag in each.flags))
    first_failed = next((each for each in measurements if each.status != "ok"), measurements[0])
    return replace(first_failed, flags=flags)
