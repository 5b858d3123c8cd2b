"""What a case costs on paper: parameters, MACs, bytes and memory, without timing anything.

Each metric is one file here and one line in `gcbench.metrics`.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING

from gcbench.blocks.forms import closed_form
from gcbench.errors import CountingError, quoted, told
from gcbench.metrics import METRICS, Metric
from gcbench.records import Cell
from gcbench.spec.cases import Case, CounterName, Mode

if TYPE_CHECKING:
    from torch import nn

    from gcbench.measure.counting.account import Pass
    from gcbench.measure.workload import Workload


LOG = logging.getLogger("gcbench")


@dataclass(frozen=True)
class Subject:
    """What a metric is computed of: a case, its module, the counter that was asked for.

    `module` is that of the case, never called. `build` makes it with its weights, on the CPU.
    `work` makes a call of it in a mode, never made before; without one it is called on the meta
    device. Its first call is `alike` all others, or else one that comes after it is counted.
    Metrics add to `flags` what is special. With `by_form` the block's closed forms
    speak where it has them, and nothing is run for that. `witnesses` says whether other counters
    are asked for a second opinion.
    """

    case: Case
    module: "nn.Module"
    build: "Callable[[], nn.Module]"
    counter: CounterName = "auto"
    flags: list[str] = field(default_factory=list)
    by_form: bool = False
    work: "Callable[[Mode], Workload] | None" = None
    alike: bool = True
    witnesses: bool = False
    _works: "dict[Mode, Workload]" = field(default_factory=dict)
    _outcomes: "dict[Mode, Pass | CountingError]" = field(default_factory=dict)

    @cached_property
    def form(self) -> dict[str, int] | None:
        """The closed forms of the block at the shape of the case; None where it has none."""
        return closed_form(self.module, self.case.shape)

    @property
    def forward(self) -> "Pass":
        """One forward pass, watched. Raises CountingError where it raises."""
        return self._watched("infer")

    @property
    def call(self) -> "Pass":
        """One call in the case's own mode, watched. Raises CountingError where it raises."""
        return self._watched(self.case.mode)

    def _watched(self, mode: Mode) -> "Pass":
        if mode not in self._outcomes:
            self._outcomes[mode] = self._watch(mode)
        outcome = self._outcomes[mode]
        if isinstance(outcome, CountingError):
            raise outcome
        return outcome

    def _watch(self, mode: Mode) -> "Pass | CountingError":
        from gcbench.measure.counting.account import settled, watched

        try:
            work = self._work_in(mode)
            outcome = watched(work) if self.alike else settled(work)
        except (Exception, SystemExit) as error:  # the module may raise anything
            LOG.debug("%s was not counted", self.case.label, exc_info=error)
            return CountingError(f"{self.case.label} is not counted: {told(error)}")
        self._works[mode] = work
        return outcome

    def ready(self, mode: Mode) -> "Workload":
        """A call of the module in a mode, made before; raises what the module raises."""
        if mode not in self._works:
            work = self._work_in(mode)
            if not self.alike:
                work.settle()
            self._works[mode] = work
        return self._works[mode]

    def _work_in(self, mode: Mode) -> "Workload":
        from gcbench.measure.counting.meta import on_meta_device

        if self.work is not None:
            return self.work(mode)
        return on_meta_device(self.module, replace(self.case, mode=mode))


@cache
def _loaded() -> list[tuple[Metric, Callable[[Subject], dict[str, Cell]]]]:
    """The table of metrics, with what computes each."""
    return [(metric, metric.load()) for metric in METRICS]


def count(subject: Subject) -> tuple[dict[str, Cell], list[str]]:
    """Compute every metric of the table: the cells of its columns, by name.

    Returns beside them why cells are empty, where a metric could not be computed.
    """
    cells: dict[str, Cell] = {}
    reasons: list[str] = []
    for metric, compute in _loaded():
        try:
            cells |= _fitting(metric, compute(subject))
        except CountingError as error:
            cells |= dict.fromkeys(metric.columns)
            reasons.append(str(error))
        except Exception as error:  # counting runs the block's own code, which may raise anything
            cells |= dict.fromkeys(metric.columns)
            reasons.append(f"{metric.name} not counted: {told(error)}")
    return cells, list(dict.fromkeys(reasons))


def _fitting(metric: Metric, cells: dict[str, Cell]) -> dict[str, Cell]:
    """The cells, if they are what its columns take: a run that holds others reads as damaged."""
    for column in metric.fills:
        if not column.takes(cells[column.name]):
            came = quoted(cells[column.name])
            raise CountingError(f"{column.name} not counted: it takes {column.holds}, not {came}")
    return cells
