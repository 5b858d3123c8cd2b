"""What cases cost on paper, and nothing else: thousands of them in a second.

Where a block has closed forms they speak, and `macs_counter` and `memory_source` are `formula`;
where it has none, or none of memory, it is run on the meta device for that, at the speed of that.
"""

from functools import lru_cache

from gcbench import blocks, modules, sweep
from gcbench.counting import Subject, count
from gcbench.engines.jobs import SILENT, Job, Listener, record_of
from gcbench.errors import UsageError
from gcbench.records import ComparisonRecord, Measurement, Status
from gcbench.spec import Case, CounterName

# modules are made once for all shapes; a grid's fastest axis is the size
KEPT_MODULES = 256


class Static:
    """An engine that counts and times nothing."""

    def __init__(self) -> None:
        """Remember no module yet."""
        self._meta = lru_cache(KEPT_MODULES)(blocks.build_at)

    def measure(self, job: Job, listener: Listener = SILENT) -> ComparisonRecord:
        """Count every case; effort, bounds and listener matter to engines that run something."""
        comparison = job.comparison
        found = tuple(
            job.known[i] if i in job.known else self._counted(case, job.seed, job.counter)
            for i, case in enumerate(comparison.cases)
        )
        return record_of(comparison, found, job.effort)

    def _counted(self, case: Case, seed: int, counter: CounterName) -> Measurement:
        why_not = sweep.why_not(case)
        if why_not:
            return Measurement(case, "skipped", why_not)
        try:
            meta = (
                self._meta(case.spec, case.channels, case.ratio, _bound_to(case))
                if case.network is None
                else modules.build_meta(case)
            )
        except UsageError as error:
            return Measurement(case, "error", str(error))
        formed = blocks.has_closed_forms(meta)
        if counter == "auto":
            counter = "formula" if blocks.has_closed_form(meta) else "torch"
        subject = Subject(
            case,
            meta,
            lambda: modules.build_case(case, seed),
            counter,
            by_form=formed,
        )
        cells, reasons = count(subject)
        flags = (*modules.flags(meta), *subject.flags)
        # to be counted is all that was asked of it
        status: Status = "error" if cells["macs"] is None else "ok"
        return Measurement(case, status, "; ".join(reasons) or None, cells, flags)


def _bound_to(case: Case) -> tuple[int, int] | None:
    """The size that a block is built for; None where one module serves every size."""
    return (case.height, case.width) if blocks.is_bound(case.spec) else None
