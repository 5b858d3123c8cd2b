"""One pass on the meta device: which operators run, their MACs, and how many bytes live at once.

On the meta device tensors have shapes and lifetimes but no numbers, so a Non-local block's map of
256 GiB costs nothing to follow.
"""

import copy
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from gcbench.errors import CountingError, told
from gcbench.spec import Case
from gcbench.workload import Workload, make_workload

# operators that make or move tensors and compute nothing
_MOVES = frozenset({"_unsafe_view", "_to_copy", "clone", "copy_", "detach", "empty", "empty_like"})
# of these, what does not even touch a number
_TOUCH_NOTHING = frozenset({"_unsafe_view", "detach", "empty", "empty_like", "empty_strided"})


@dataclass(frozen=True)
class MetaPass:
    """What one call did. `uncounted` are the operators that compute but have no MAC formula.

    `conv_macs` are those of the MACs that convolutions do.
    `held_bytes` are the weights, buffers and input; `activation_bytes` the peak of all that the
    call made beside them; `traffic_bytes` what each operator reads and writes, added up.
    """

    macs: int
    conv_macs: int
    uncounted: tuple[str, ...]
    held_bytes: int
    activation_bytes: int
    traffic_bytes: int

    @property
    def peak_bytes(self) -> int:
        """The most bytes alive at one moment of the call."""
        return self.held_bytes + self.activation_bytes


def meta_pass(module: nn.Module, case: Case) -> MetaPass:
    """Call a module on the meta device at the case's shape, dtype, layout and mode.

    Raises CountingError where the module cannot run there, with what it raised.
    """
    try:
        return _called(make_workload(copy.deepcopy(module), case, "meta"))
    except (Exception, SystemExit) as error:  # the module may raise anything
        raise CountingError(
            f"{case.label} does not run on the meta device: {told(error)}"
        ) from error


def _called(work: Workload) -> MetaPass:
    held = work.held()
    account = LiveBytes(held)
    counter = FlopCounterMode(display=False)
    with torch.set_grad_enabled(torch.is_grad_enabled()), account:
        work.prepare()
        prepared_bytes = account.traffic_bytes
        with counter:
            work.call()
    return MetaPass(
        macs=counter.get_total_flops() // 2,
        conv_macs=sum(
            flops
            for operator, flops in counter.get_flop_counts().get("Global", {}).items()
            if "convolution" in str(operator)
        )
        // 2,
        uncounted=tuple(sorted(account.uncounted)),
        held_bytes=sum(storage.nbytes() for storage in {t.untyped_storage() for t in held}),
        activation_bytes=account.peak_bytes,
        traffic_bytes=account.traffic_bytes - prepared_bytes,
    )


class LiveBytes(TorchDispatchMode):
    """Follow every storage that operators make until it dies; keep the peak of what lives.

    Storages of `held` tensors are not counted. Works on any device; on the meta device it costs
    nothing.
    """

    def __init__(self, held: Iterable[Tensor]) -> None:
        """Start with nothing alive but what is held."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._seen = weakref.WeakSet(tensor.untyped_storage() for tensor in held)
        self._live_bytes = 0
        self.peak_bytes = 0
        self.traffic_bytes = 0
        self.uncounted: set[str] = set()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run the operator, then enter the storages that are new."""
        result = func(*args, **(kwargs or {}))
        written = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        for leaf in written:
            self._enter(leaf.untyped_storage())
        operator = func._overloadpacket
        if not (func.is_view or operator.__name__ in _TOUCH_NOTHING):
            read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            self.traffic_bytes += sum(map(_touched_bytes, read + written))
        if not (func.is_view or operator in flop_registry or operator.__name__ in _MOVES):
            self.uncounted.add(operator.__name__.strip("_"))
        return result

    def _enter(self, storage: torch.UntypedStorage) -> None:
        if storage in self._seen:
            return
        self._seen.add(storage)
        size = storage.nbytes()
        self._live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self._live_bytes)
        weakref.finalize(storage, self._leave, size)

    def _leave(self, size: int) -> None:
        self._live_bytes -= size


def _touched_bytes(tensor: Tensor) -> int:
    # an expanded tensor has more numbers than its memory
    return min(tensor.nbytes, tensor.untyped_storage().nbytes())
