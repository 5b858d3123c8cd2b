"""One call, watched operator by operator: its MACs, its bytes, and what it read of its input.

Works on any device. On the meta device tensors have shapes and lifetimes but no numbers, so a
Non-local block's map of 256 GiB costs nothing to follow.
"""

import weakref
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._ops import HigherOrderOperator
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from gcbench.measure.counting.operators import (
    flop_registry,
    is_convolution,
    macs_of,
    may_multiply,
    name_of,
    registered,
)
from gcbench.measure.counting.uncompiled import uncompiled
from gcbench.measure.workload import Workload
from gcbench.tensors import parameter_count, pieces

# operators that make or move tensors and compute nothing
_MOVES = frozenset({"_unsafe_view", "_to_copy", "clone", "copy_", "detach", "empty", "empty_like"})
# of these, what does not even touch a number
_TOUCH_NOTHING = frozenset({"_unsafe_view", "detach", "empty", "empty_like", "empty_strided"})
# what takes values out of tensors: what is done next, or shapes, may depend on them
_READS = frozenset(
    {
        *("_local_scalar_dense", "equal", "nonzero", "masked_select", "_unique2", "unique_dim"),
        *("unique_consecutive", "bincount", "_to_sparse", "_to_sparse_csr"),
    }
)
_MASKED = frozenset({"index", "index_put", "index_put_", "_index_put_impl_"})
# what asks for shapes alone; tensors that answer for themselves are asked
_ASKS = frozenset(
    {
        *("size", "sym_size", "stride", "sym_stride", "numel", "sym_numel", "dim", "layout"),
        *("storage_offset", "sym_storage_offset", "is_contiguous", "sym_is_contiguous"),
        *("is_strides_like_format", "is_non_overlapping_and_dense", "device"),
    }
)


_CONVOLUTIONS = frozenset(
    {
        *(torch.conv1d, torch.conv2d, torch.conv3d),
        *(torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d),
    }
)


@dataclass(frozen=True)
class Pass:
    """What one call did, of a module with `params` parameters.

    `conv_macs` are those of the MACs that convolutions do. `uncounted` are the operators that
    compute but have no MAC formula, `unknown` those of them that may multiply matrices all the
    same. `held_bytes` are the weights, buffers and input; `activation_bytes` the peak of all that
    the call made beside them; `traffic_bytes` what each operator reads and writes, added up.
    `value_dependent` says that values computed from the input were read, so that another input may
    cost something else.
    """

    params: int
    macs: int
    conv_macs: int
    uncounted: tuple[str, ...]
    unknown: tuple[str, ...]
    held_bytes: int
    activation_bytes: int
    traffic_bytes: int
    value_dependent: bool

    @property
    def peak_bytes(self) -> int:
        """The most bytes alive at one moment of the call."""
        return self.held_bytes + self.activation_bytes


@dataclass(frozen=True)
class Step:
    """One operator of a call: its name, its MACs, and the bytes of the tensors that it made.

    `unknown` says that it has no formula and may multiply matrices.
    """

    operator: str
    macs: int
    made_bytes: int
    unknown: bool


def watched(work: Workload, steps: "list[Step] | None" = None) -> Pass:
    """Prepare and call a work once, and say what the call did; `steps` gets every operator of it.

    What torch.compile made of parts of the module is left aside: they run as they are written.
    """
    return _passed(work, _followed(work, steps))


def settled(work: Workload) -> Pass:
    """Say what a call of a work does that comes after the first one; it was never called before.

    A first call that leaves nothing behind is like any other, and is not made twice: no tensor that
    it made lives on, it wrote into none that was there, and the modules hold what they held.
    """
    before = _contents(work.module)
    account = _followed(work)
    found = _passed(work, account)
    work.clear()
    if account.live_bytes or account.wrote_held or not _same(before, _contents(work.module)):
        return watched(work)
    return found


def _followed(work: Workload, steps: "list[Step] | None" = None) -> "Account":
    """Prepare and call a work, and return the account of that call."""
    held = work.held()
    account = Account(held, [work.x])
    # a preparation may set the gradient mode
    with torch.set_grad_enabled(torch.is_grad_enabled()), uncompiled():
        with account:
            work.prepare()
        account.begin(steps)
        with account, account.complex_convolutions(held):
            work.call()
    return account


def _passed(work: Workload, account: "Account") -> Pass:
    return Pass(
        params=parameter_count(work.module),
        macs=account.macs,
        conv_macs=account.conv_macs,
        uncounted=tuple(sorted(account.uncounted)),
        unknown=tuple(sorted(account.unknown)),
        held_bytes=account.held_bytes,
        activation_bytes=account.peak_bytes,
        traffic_bytes=account.traffic_bytes,
        value_dependent=account.value_dependent,
    )


def _contents(module: nn.Module) -> list[Any]:
    """What all modules hold, one after the other; of what holds others, those."""
    return [
        tuple(value.items())
        if isinstance(value, dict)
        else tuple(value)
        if isinstance(value, list | set)
        else value
        for part in module.modules()
        for value in vars(part).values()
    ]


def _same(one: Any, other: Any) -> bool:
    """Whether contents are the same objects, or equal plain values."""
    if isinstance(one, list | tuple) and type(one) is type(other):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, int | float | str) and type(one) is type(other):
        return bool(one == other)
    return one is other


class Account(TorchDispatchMode):
    """Follow operators: MACs, every storage that they make until it dies, and what they read.

    Storages of `held` tensors are not counted as made; values that come from `inputs` are traced.
    """

    supports_higher_order_operators = True

    def __init__(self, held: Iterable[Tensor], inputs: Iterable[Tensor] = ()) -> None:
        """Start with nothing alive but what is held."""
        super().__init__()  # type: ignore[no-untyped-call]
        storages = {tensor.untyped_storage() for tensor in held}
        self.held_bytes = sum(storage.nbytes() for storage in storages)
        self._held = weakref.WeakSet(storages)
        self._seen = weakref.WeakSet(storages)
        self._from_input = weakref.WeakSet(tensor.untyped_storage() for tensor in inputs)
        self.live_bytes = self.peak_bytes = 0
        self.wrote_held = False
        self.begin()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # nothing is compiled while this watches, and to forbid it would load the compiler
        return False

    def begin(self, steps: list[Step] | None = None) -> None:
        """Count from here on; what lives goes on living."""
        self._steps = steps
        self.macs = self.conv_macs = self.traffic_bytes = 0
        self.uncounted: set[str] = set()
        self.unknown: set[str] = set()
        self.value_dependent = False

    def complex_convolutions(self, held: Iterable[Tensor]) -> AbstractContextManager[Any]:
        """Charge convolutions of complex tensors as four real ones, while this watches.

        torch makes each of three, below where operators are seen. Only where weights are complex is
        that looked for, since fused layers are not taken where functions are.
        """
        if any(tensor.is_complex() for tensor in held):
            return _ComplexConvolutions(self)
        return nullcontext()

    def charge_again(self, macs: int) -> None:
        """Add MACs of a convolution that no operator showed."""
        self.macs += macs
        self.conv_macs += macs
        if self._steps is not None:
            self._steps.append(Step("convolution", macs, 0, False))

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run the operator, or what it is made of, and enter what it did."""
        kwargs = kwargs or {}
        if isinstance(func, HigherOrderOperator):
            return self._higher_order(func, args, kwargs)
        kind = _kind_of(func)
        if kind.composite:
            with self:
                return func.decompose(*args, **kwargs)
        if kind.asks:
            return NotImplemented
        result = func(*args, **kwargs)
        written = _tensors((result,))
        read = _tensors(args)
        if kwargs:
            read += _tensors(kwargs.values())
        made_bytes = sum([self._enter(storage) for storage in _storages(written)])
        self._trace(kind, args, read, written)
        if kind.writes and any(storage in self._held for storage in _storages(read)):
            self.wrote_held = True
        if kind.touches:
            self.traffic_bytes += sum(map(_touched_bytes, read + written))
        self._charge(func, kind, args, kwargs, result, made_bytes)
        return result

    def _charge(
        self,
        func: Any,
        kind: "_Kind",
        args: Sequence[Any],
        kwargs: Any,
        result: Any,
        made_bytes: int,
    ) -> None:
        """Add an operator's MACs, or its name to those without a formula."""
        try:
            macs = macs_of(func, args, kwargs, result)
            unknown = macs is None and may_multiply(func)
        except Exception:  # a formula, a user's own too, may not hold for tensors of this kind
            macs, unknown = None, True
        if macs:
            self.macs += macs
            self.conv_macs += macs if is_convolution(func) else 0
        if macs is None and kind.computes:
            self.uncounted.add(kind.name)
        if unknown:
            self.unknown.add(kind.name)
        if self._steps is not None:
            self._steps.append(Step(kind.name, macs or 0, made_bytes, unknown))

    def _higher_order(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator on functions: the branch that is taken, or all of it as one operator."""
        if func.name() == "cond":
            condition, if_true, if_false, *operands = args
            with self:
                return (if_true if condition else if_false)(*(operands[0] if operands else ()))
        result = func(*args, **kwargs)
        formula = flop_registry().get(func)
        if formula is None:
            self.uncounted.add(func.name())
            self.unknown.add(func.name())
        else:
            self.macs += formula(*args, **kwargs, out_val=result) // 2
        for storage in _storages(_tensors((result,))):
            self._enter(storage)
        return result

    def _trace(
        self, kind: "_Kind", args: Sequence[Any], read: list[Tensor], written: list[Tensor]
    ) -> None:
        """Follow values of the input to what is computed of them, and see where they are read."""
        if not any(storage in self._from_input for storage in _storages(read)):
            return
        for storage in _storages(written):
            self._from_input.add(storage)
        if kind.reads or (kind.masked and _has_mask(args)):
            self.value_dependent = True

    def _enter(self, storage: torch.UntypedStorage) -> int:
        """Enter a storage, if it is new; returns the bytes that came with it."""
        if storage in self._seen:
            return 0
        self._seen.add(storage)
        size = storage.nbytes()
        self.live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        weakref.finalize(storage, self._leave, size)
        return size

    def _leave(self, size: int) -> None:
        self.live_bytes -= size


class _ComplexConvolutions(TorchFunctionMode):
    """Charges a fourth real convolution where torch makes three of a complex one."""

    def __init__(self, account: Account) -> None:
        super().__init__()
        self._account = account

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        before = self._account.macs
        result = func(*args, **(kwargs or {}))
        if func in _CONVOLUTIONS and result.is_complex():
            self._account.charge_again((self._account.macs - before) // 3)
        return result


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    """The tensors of an operator's arguments or results, which are nested no deeper than lists."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += _tensors(value)
        elif isinstance(value, dict):
            found += _tensors(value.values())
    return found


def _storages(tensors: Iterable[Tensor]) -> list[torch.UntypedStorage]:
    return [piece.untyped_storage() for tensor in tensors for piece in pieces(tensor)]


def _touched_bytes(tensor: Tensor) -> int:
    # an expanded tensor has more numbers than its memory
    return sum(min(piece.nbytes, piece.untyped_storage().nbytes()) for piece in pieces(tensor))


def _has_mask(args: Sequence[Any]) -> bool:
    masks = (torch.bool, torch.uint8)
    return any(index.dtype in masks for index in _tensors(args[1:2]))


class _Kind(NamedTuple):
    """What is known of an operator before it is called.

    `name` is what a row calls it. It is made of others, which torch leaves whole in its inference
    mode (`composite`); `asks` for shapes alone; `touches` numbers; `computes` some; `reads` values
    out of tensors, or does where it is `masked`; `writes` into tensors that are there.
    """

    name: str
    composite: bool
    asks: bool
    touches: bool
    computes: bool
    reads: bool
    masked: bool
    writes: bool


@cache
def _kind_of(func: Any) -> _Kind:
    bare = func._overloadpacket.__name__
    return _Kind(
        name=_short_name(func),
        composite=_is_composite(func),
        asks=bare in _ASKS,
        touches=not (func.is_view or bare in _TOUCH_NOTHING),
        computes=not (func.is_view or bare in _MOVES),
        reads=bare in _READS,
        masked=bare in _MASKED,
        writes=func._schema.is_mutable,
    )


def _short_name(func: Any) -> str:
    """An operator's name as a row has it: bare where it is torch's own."""
    namespace, _, name = name_of(func).partition(".")
    return name.strip("_") if namespace == "aten" else f"{namespace}.{name}"


def _is_composite(func: Any) -> bool:
    implicit = torch._C.DispatchKey.CompositeImplicitAutograd
    return (
        torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), implicit)
        and registered(func) is None
    )
