"""Putting a block into a network: behind a module, whichever network that is.

A module is replaced by one that calls it and then the block; nothing of the network is copied or
written anew.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gcbench import blocks
from gcbench.errors import UsageError, told
from gcbench.forked import ForkError, forked, is_known
from gcbench.networks.places import Place, find
from gcbench.networks.with_block import WithBlock
from gcbench.spec import Shape
from gcbench.tensors import copied, on_meta

T = TypeVar("T")


def insert(
    model: nn.Module,
    spec: str,
    places: tuple[Place, ...],
    ratio: int | None = None,
    seed: int = 0,
    shape: Shape = (1, 3, 224, 224),
) -> list[str]:
    """Put a block behind every module that the places name; return the paths of those.

    Each block is built for the channels and the size that arrive there, with weights of its own, on
    the device and in the dtype of the network; the model is changed in place, once all of that
    worked. `ratio` goes in where the block takes one; `shape` is an input that the model takes.
    Raises UsageError where a place does not exist, its output is no (B, C, H, W), or the block
    cannot be built.
    """
    paths = find(model, places)
    outputs = outputs_at(model, paths, shape)
    made = [
        _fitting(model, path, spec, outputs[path], ratio, seed + number)
        for number, path in enumerate(paths)
    ]
    # what lies within another place first: its path is another once that is replaced
    for path, block in sorted(zip(paths, made, strict=True), key=lambda put: -put[0].count(".")):
        _put(model, path, block)
    return paths


def inserted(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The path of the module behind which each block of a network stands, and the block."""
    for path, module in model.named_modules():
        if isinstance(module, WithBlock):
            yield from ((path, block) for block in module.inserted)


def outputs_at(model: nn.Module, paths: Sequence[str], shape: Shape) -> dict[str, Shape]:
    """Tell the shape of what the modules at some paths give, by a pass without numbers.

    The model is called on `shape` until all of them were; what comes behind may fail there. A model
    with code of others is asked in a copy of this process, and where it needs numbers, with them.
    Raises UsageError where one gives no (B, C, H, W), different widths, or is not reached.
    """
    return _asked(model, lambda twin, device: _outputs_at(twin, paths, shape, device))


def _asked(module: nn.Module, ask: Callable[[nn.Module, str], T]) -> T:
    """Ask a copy of a module on the meta device, or on the CPU where it does not answer there."""
    if is_known(module) or any(tensor.is_meta for tensor in module.parameters()):
        return ask(on_meta(module), "meta")
    try:
        return forked(lambda: ask(on_meta(module), "meta"))
    except ForkError:
        return ask(copied(module).to("cpu"), "cpu")


def _outputs_at(
    twin: nn.Module, paths: Sequence[str], shape: Shape, device: str
) -> dict[str, Shape]:
    twin.eval()
    outputs: dict[str, list[Any]] = {path: [] for path in paths}
    for path in paths:
        # bound now: the loop's variable will be another
        def keep(module: nn.Module, given: Any, output: Any, path: str = path) -> None:
            outputs[path].append(output)

        twin.get_submodule(path).register_forward_hook(keep)
    failure = None
    try:
        with torch.no_grad():
            twin(torch.zeros(shape, device=device, dtype=dtype_of(twin)))
    except (Exception, SystemExit) as error:  # a model may raise anything
        failure = error
    return {path: _shape(path, found, shape, failure) for path, found in outputs.items()}


def _shape(path: str, outputs: Sequence[Any], shape: Shape, failure: BaseException | None) -> Shape:
    """The shape of the first of a module's outputs, which must have the same channels."""
    size = _times(shape)
    if not outputs:
        why = f": {told(failure)}" if failure else ""
        raise UsageError(f"place {path!r} is not reached when an input {size} goes through{why}")
    widths = set()
    for output in outputs:
        if not isinstance(output, Tensor) or output.ndim != 4:
            what = (
                f"of shape {tuple(output.shape)}"
                if isinstance(output, Tensor)
                else f"a {type(output).__name__}"
            )
            raise UsageError(f"place {path!r}: the output there is {what}, no (B, C, H, W) tensor")
        widths.add(output.shape[1])
    if len(widths) > 1:
        told_widths = ", ".join(map(str, sorted(widths)))
        raise UsageError(f"place {path!r} is called more than once, with {told_widths} channels")
    B, C, H, W = outputs[0].shape
    return B, C, H, W


def _fitting(
    model: nn.Module, path: str, spec: str, shape: Shape, ratio: int | None, seed: int
) -> nn.Module:
    """Build a block as it goes behind the module at a path, which gives a shape."""
    channels, size = shape[1], shape[2:]
    weights = [*model.get_submodule(path).parameters(), *model.parameters()]
    like = next((tensor for tensor in weights if tensor.is_floating_point()), torch.empty(0))
    with _naming(path):
        if like.device.type == "meta":
            block = blocks.build_at(spec, channels, ratio, size)
        else:
            block = blocks.build(spec, channels, ratio, seed, size)
        _require_shape_kept(block, spec, shape)
    return block.to(device=like.device, dtype=like.dtype).train(model.training)


def _require_shape_kept(block: nn.Module, spec: str, shape: Shape) -> None:
    """Raise UsageError where a block gives another shape, which an addition might even take."""

    def ask(twin: nn.Module, device: str) -> str:
        with torch.no_grad():
            output = twin.eval()(torch.zeros(shape, dtype=dtype_of(twin), device=device))
        return _times(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"

    try:
        given = _asked(block, ask)
    except (Exception, SystemExit) as error:  # a block may raise anything
        raise UsageError(f"block {spec!r} does not take {_times(shape)}: {told(error)}") from error
    if given != _times(shape):
        raise UsageError(f"block {spec!r} gives {given} for {_times(shape)}")


def dtype_of(model: nn.Module) -> torch.dtype:
    """The dtype of a model's weights: the first of its floating-point parameters."""
    floating = (each.dtype for each in model.parameters() if each.is_floating_point())
    return next(floating, torch.float32)


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


@contextmanager
def _naming(path: str) -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        raise UsageError(f"at {path}: {error}") from error


def _put(model: nn.Module, path: str, block: nn.Module) -> None:
    there = model.get_submodule(path)
    if isinstance(there, WithBlock):
        there.inserted.append(block)
    else:
        model.set_submodule(path, WithBlock(there, block).train(model.training))
