"""What cases cost on paper, and nothing else: thousands of them in a second.

Where a block has closed forms they speak, and `macs_counter` and `memory_source` are `formula`;
where it has none, it is run on the meta device, at the speed of that.
"""

from collections.abc import Mapping
from functools import lru_cache

from gcbench import blocks, modules, sweep
from gcbench.counting import Subject, count
from gcbench.engines.attempts import UNBOUNDED, Bounds
from gcbench.engines.fresh import Listener
from gcbench.errors import UsageError
from gcbench.records import ComparisonRecord, Effort, Measurement, Status
from gcbench.spec import Case, Comparison, CounterName

# modules are made once for all shapes; a grid's fastest axis is the size
KEPT_MODULES = 256


class Static:
    """An engine that counts and times nothing."""

    def __init__(self) -> None:
        """Remember no module yet."""
        self._meta = lru_cache(KEPT_MODULES)(blocks.build_at)

    def measure(
        self,
        comparison: Comparison,
        effort: Effort,
        seed: int = 0,
        counter: CounterName = "auto",
        listener: Listener | None = None,
        bounds: Bounds = UNBOUNDED,
        known: Mapping[int, Measurement] | None = None,
    ) -> ComparisonRecord:
        """Count every case; effort, bounds and listener matter to engines that run something."""
        known = known or {}
        found = tuple(
            known[i] if i in known else self._counted(case, seed, counter)
            for i, case in enumerate(comparison.cases)
        )
        return ComparisonRecord(found, comparison.baselines, effort.precision, (), comparison.pair)

    def _counted(self, case: Case, seed: int, counter: CounterName) -> Measurement:
        why_not = sweep.why_not(case)
        if why_not:
            return Measurement(case, "skipped", why_not)
        try:
            meta = (
                self._meta(case.spec, case.channels, case.ratio)
                if case.network is None
                else modules.build_meta(case)
            )
        except UsageError as error:
            return Measurement(case, "error", str(error))
        formed = blocks.has_closed_forms(meta)
        if counter == "auto":
            counter = "formula" if formed else "torch"
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
