"""What a case costs on paper: parameters, MACs, bytes and memory, without timing anything.

Each metric is one file here and one line in `gcbench.metrics`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from gcbench.errors import CountingError, told
from gcbench.metrics import METRICS
from gcbench.records import Cell
from gcbench.spec import Case, CounterName

if TYPE_CHECKING:
    from torch import nn

    from gcbench.counting.meta import MetaPass


@dataclass(frozen=True)
class Subject:
    """What a metric is computed of: a case, its module on the meta device, the counter.

    `build` makes the module with its weights, on the CPU. Metrics add to `flags` what is special.
    With `by_form` the block's closed forms speak where it has them, and nothing is run for that.
    """

    case: Case
    meta: "nn.Module"
    build: "Callable[[], nn.Module]"
    counter: CounterName = "auto"
    flags: list[str] = field(default_factory=list)
    by_form: bool = False

    @cached_property
    def forward(self) -> "MetaPass":
        """One forward pass on the meta device: operators, MACs and live bytes."""
        from gcbench.counting.meta import meta_pass

        return meta_pass(self.meta, replace(self.case, mode="infer"))

    @cached_property
    def call(self) -> "MetaPass":
        """One call in the case's own mode on the meta device."""
        from gcbench.counting.meta import meta_pass

        return self.forward if self.case.mode == "infer" else meta_pass(self.meta, self.case)


def count(subject: Subject) -> tuple[dict[str, Cell], list[str]]:
    """Compute every metric of the table: the cells of its columns, by name.

    Returns beside them why cells are empty, where a metric could not be computed.
    """
    cells: dict[str, Cell] = {}
    reasons: list[str] = []
    for metric in METRICS:
        try:
            cells |= metric.load()(subject)
        except CountingError as error:
            cells |= dict.fromkeys(metric.columns)
            reasons.append(str(error))
        except Exception as error:  # counting runs the block's own code, which may raise anything
            cells |= dict.fromkeys(metric.columns)
            reasons.append(f"{metric.name} not counted: {told(error)}")
    return cells, list(dict.fromkeys(reasons))
