"""One forward pass taken apart: which module called which operators, and what that cost."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.utils._pytree import tree_leaves

from gcbench.anatomy import Operator, Part
from gcbench.measure.counting.account import Pass, Step, watched
from gcbench.measure.workload import Workload
from gcbench.tensors import parameter_count


@dataclass
class _Calls:
    """The calls of one module: from which step to which, and the shape of the last output."""

    spans: list[tuple[int, int]] = field(default_factory=list)
    output: tuple[int, ...] | None = None


def dissect(work: Workload) -> tuple[Pass, list[Part], list[Operator]]:
    """Call a work that was called before, and say what each of its parts did."""
    steps: list[Step] = []
    with _followed(work.module, steps) as calls:
        passed = watched(work, steps)
    parts = [
        _part(path, module, calls[id(module)], steps)
        for path, module in work.module.named_modules()
    ]
    return passed, parts, _operators(steps)


@contextmanager
def _followed(module: nn.Module, steps: Sequence[Step]) -> Iterator[dict[int, _Calls]]:
    """Note the calls of every module, by its id.

    By hooks on all modules of this process: a module with hooks of its own would leave the fused
    paths that it takes without them.
    """
    calls: dict[int, _Calls] = defaultdict(_Calls)
    begun: list[int] = []

    def begin(called: nn.Module, given: Any) -> None:
        begun.append(len(steps))

    def end(called: nn.Module, given: Any, output: Any) -> None:
        noted = calls[id(called)]
        noted.spans.append((begun.pop(), len(steps)))
        noted.output = _shape(output)

    handles = [
        hooks.register_module_forward_pre_hook(begin),
        hooks.register_module_forward_hook(end, always_call=True),
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _shape(output: Any) -> tuple[int, ...] | None:
    """The shape of the first tensor of an output; nested tensors have none."""
    first = next((leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)), None)
    return None if first is None or first.is_nested else tuple(first.shape)


def _part(path: str, module: nn.Module, calls: _Calls, steps: Sequence[Step]) -> Part:
    own = [step for begin, end in calls.spans for step in steps[begin:end]]
    return Part(
        path=path,
        kind=type(module).__name__,
        calls=len(calls.spans),
        params=parameter_count(module),
        macs=sum(step.macs for step in own),
        activation_bytes=sum(step.made_bytes for step in own),
        output=calls.output,
        unknown=tuple(sorted({step.operator for step in own if step.unknown})),
    )


def _operators(steps: Sequence[Step]) -> list[Operator]:
    by_name: dict[str, list[Step]] = defaultdict(list)
    for step in steps:
        by_name[step.operator].append(step)
    return [
        Operator(
            name,
            len(each),
            sum(step.macs for step in each),
            sum(step.made_bytes for step in each),
            any(step.unknown for step in each),
        )
        for name, each in by_name.items()
    ]
