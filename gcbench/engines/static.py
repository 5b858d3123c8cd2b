"""What cases cost on paper, and nothing else: thousands of them in a second.

Where a block has closed forms they speak, and `macs_counter` and `memory_source` are `formula`;
where it has none, or none of memory, it is called for that on the meta device, at the speed of
that, or else on the CPU.
"""

from dataclasses import replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from gcbench import blocks
from gcbench.blocks.forms import has_closed_form, has_closed_forms
from gcbench.engines.counted import foretold, is_counted, measured, on_cpu, without_numbers
from gcbench.engines.deploying import without_memory
from gcbench.engines.jobs import SILENT, Caller, Job, Listener, call_here, record_of
from gcbench.engines.worker_process import CallError
from gcbench.errors import UsageError
from gcbench.measure import modules
from gcbench.measure.counting import Subject
from gcbench.records import ComparisonRecord, Measurement
from gcbench.runtime import known
from gcbench.spec import grid
from gcbench.spec.cases import Case, CounterName, Network

if TYPE_CHECKING:
    from torch import nn

# modules are made once for all shapes; a grid's fastest axis is the size
KEPT_MODULES = 256


class Static:
    """An engine that counts and times nothing."""

    name = "static"
    times = False

    def __init__(self, call: Caller = call_here) -> None:
        """Remember no module yet; the code of others is counted where `call` has that done."""
        self.call = call
        self._meta = lru_cache(KEPT_MODULES)(blocks.build_at)
        self._is_bound = cache(blocks.is_bound)
        self._runs_on_meta: dict[tuple[str, Network | None], bool] = {}

    def measure(self, job: Job, listener: Listener = SILENT) -> ComparisonRecord:
        """Count every case; effort, bounds and listener matter to engines that run something."""
        comparison = job.comparison
        found = tuple(
            job.known[i] if i in job.known else self._anywhere(case, job.seed, job.counter)
            for i, case in enumerate(comparison.cases)
        )
        return record_of(comparison, found, job.effort)

    def _anywhere(self, case: Case, seed: int, counter: CounterName) -> Measurement:
        if self.call is call_here or modules.is_ours(case):
            return self.counted(case, seed, counter)
        try:
            return self.call(_counted, case, seed, counter)
        except CallError as error:
            return Measurement(case, error.status, f"to count it {error.reason}")

    def counted(self, case: Case, seed: int, counter: CounterName) -> Measurement:
        """Count a case here."""
        why_not = grid.why_not(case)
        if why_not:
            return Measurement(case, "skipped", why_not)
        try:
            found = self._by_form(case, seed, counter) or self._by_call(case, seed, counter)
        except UsageError as error:
            return Measurement(case, "error", str(error))
        if known(case.runtime).foreign:
            found = without_memory(found)
        # to be counted is all that was asked of it
        return found if is_counted(found) else replace(found, status="error")

    def _by_form(self, case: Case, seed: int, counter: CounterName) -> Measurement | None:
        """Count a block that has closed forms; None of anything else."""
        if case.network is not None or not modules.is_ours(case):
            return None
        module = self._built(case)
        if not has_closed_form(module):
            return None
        return measured(
            Subject(
                case,
                module,
                lambda: modules.build_case(case, seed),
                "formula" if counter == "auto" else counter,
                by_form=has_closed_forms(module),
            )
        )

    def _built(self, case: Case) -> "nn.Module":
        """The module of a case, without its numbers; of a block one for all shapes, if it can."""
        if case.network is not None:
            return modules.build_meta(case)
        # one that is bound to a size is made for each
        size = (case.height, case.width) if self._is_bound(case.spec) else None
        return self._meta(case.spec, case.channels, case.ratio, size)

    def _by_call(self, case: Case, seed: int, counter: CounterName) -> Measurement:
        """Count a case by calling it: without numbers where its code was seen to run so."""
        code = (case.spec, case.network)
        if code not in self._runs_on_meta:
            found = foretold(case, seed, counter)
            self._runs_on_meta[code] = is_counted(found)
        elif self._runs_on_meta[code]:
            found = without_numbers(case, seed, counter, build_meta=self._built)
        else:
            return on_cpu(case, seed, counter)
        return found if is_counted(found) else on_cpu(case, seed, counter)


# of a process that counts for another
_here = cache(Static)


def _counted(case: Case, seed: int, counter: CounterName) -> Measurement:
    return _here().counted(case, seed, counter)
