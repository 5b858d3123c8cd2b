"""What a module holds: weights, buffers, and what it packs away; moved and copied whole.

Complex weights stay complex, tied ones tied, sparse ones sparse, lazy ones lazy.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from gcbench.errors import UsageError, told


def held(module: nn.Module) -> list[Tensor]:
    """Every tensor that a module keeps, as dense pieces of memory: parameters, buffers, packed."""
    kept = [*module.parameters(), *module.buffers(), *packed_weights(module)]
    return [piece for tensor in kept if not is_lazy(tensor) for piece in pieces(tensor)]


def dense(module: nn.Module) -> list[Tensor]:
    """The parameters and buffers that are there and dense, whose memory can be another's."""
    kept = (*module.parameters(), *module.buffers())
    return [each for each in kept if not is_lazy(each) and each.layout == torch.strided]


def pieces(tensor: Tensor) -> list[Tensor]:
    """The dense tensors that a tensor is kept as: itself, or indices and values of a sparse one."""
    if tensor.layout == torch.strided:
        return [tensor]
    if tensor.layout == torch.sparse_coo:
        return [tensor._indices(), tensor._values()]
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return [tensor.ccol_indices(), tensor.row_indices(), tensor.values()]
    return []


def parameter_count(module: nn.Module) -> int:
    """Elements of a module's parameters, frozen ones too, and of the weights that it packs away.

    What is tied or shared counts once; a complex parameter counts its elements, and a sparse one
    those of its shape. Raises ValueError where some are made at the first call only.
    """
    parameters = list(module.parameters())
    if any(map(is_lazy, parameters)):
        raise ValueError("some parameters are made at the first call, and it was not called")
    return sum(tensor.numel() for tensor in (*parameters, *packed_weights(module)))


def packed_weights(module: nn.Module) -> Iterator[Tensor]:
    """Every tensor that quantized layers pack away, each object that packs some once."""
    seen: set[int] = set()
    for part in module.modules():
        for packed in vars(part).values():
            if isinstance(packed, torch.ScriptObject) and id(packed) not in seen:
                seen.add(id(packed))
                yield from packed_tensors(packed)


def packed_tensors(packed: Any) -> list[Tensor]:
    """The weights and biases that an object of torch's packs, the weight first."""
    return _tensors(packed.unpack() if hasattr(packed, "unpack") else packed.__getstate__())


def _tensors(state: Any) -> list[Tensor]:
    """The tensors of a state; where it packs others, those alone, since it names them twice."""
    if isinstance(state, Tensor):
        return [state]
    if isinstance(state, torch.ScriptObject):
        return packed_tensors(state)
    if not isinstance(state, list | tuple):
        return []
    inner = [each for each in _flat(state) if isinstance(each, torch.ScriptObject)]
    return [tensor for each in inner or state for tensor in _tensors(each)]


def _flat(state: Any) -> Iterator[Any]:
    if isinstance(state, list | tuple):
        for each in state:
            yield from _flat(each)
    else:
        yield state


def brought(
    module: nn.Module,
    device: str | torch.device,
    dtype: torch.dtype,
    memory_format: torch.memory_format = torch.preserve_format,
) -> nn.Module:
    """Bring a module, in place, to a device and its real numbers to a dtype; return it.

    Complex numbers stay complex: double where the dtype is float64, single otherwise. Dense tensors
    of four dimensions get the memory format.
    """
    complex_dtype = torch.complex128 if dtype == torch.float64 else torch.complex64

    def convert(tensor: Tensor) -> Tensor:
        kept = complex_dtype if tensor.is_complex() else dtype
        kept = kept if tensor.is_complex() or tensor.is_floating_point() else tensor.dtype
        if not is_lazy(tensor) and tensor.layout == torch.strided and tensor.ndim == 4:
            return tensor.to(device, kept, memory_format=memory_format)
        return tensor.to(device, kept)

    moved: nn.Module = module._apply(convert)
    return moved


def on_meta(module: nn.Module) -> nn.Module:
    """Copy a module without its numbers: no memory is taken, and the module is not touched.

    Raises UsageError where it cannot be copied.
    """
    tensors = (*module.parameters(), *module.buffers())
    return copied(module, lambda: {id(tensor): _empty(tensor) for tensor in tensors})


def copied(module: nn.Module, instead: Callable[[], dict[int, Any]] = dict[int, Any]) -> nn.Module:
    """Copy a module; `instead` makes what stands for some of its objects, by their ids.

    Raises UsageError where it cannot be copied.
    """
    try:
        return copy.deepcopy(module, instead())
    except Exception as error:  # a module's own copying may raise anything
        raise UsageError(
            f"{type(module).__name__} cannot be copied to see what its modules give: {told(error)}"
        ) from error


def _empty(tensor: Tensor) -> Tensor:
    if is_lazy(tensor):
        lazy: Any = type(tensor)
        made: Tensor = lazy(device="meta", dtype=tensor.dtype)
        return made
    empty = torch.empty_like(tensor, device="meta")
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
