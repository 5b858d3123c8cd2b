"""Putting a block into a network: behind a module, or in its place, whichever network that is.

A module is replaced by one that calls it and then the block; nothing of the network is copied or
written anew.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gcbench import blocks
from gcbench.errors import UsageError, told
from gcbench.networks.detectors import part_of
from gcbench.networks.places import Place, actual, find, named, require_module
from gcbench.networks.probing import Around, Sides, Site, asked, dtype_of, probed, times
from gcbench.networks.with_block import ChannelsSecond, WithBlock
from gcbench.registry import suggestion


@dataclass(frozen=True, slots=True)
class Put:
    """A block that was put into a network: the path of the module behind which it stands.

    Or in whose place, where `went` names the class that stood there. `last` says that channels come
    last there, so that the block is called between two permutations.
    """

    path: str
    went: str = ""
    last: bool = False


def insert(
    model: nn.Module,
    spec: str,
    places: tuple[Place, ...],
    ratio: int | None = None,
    seed: int = 0,
    shape: Sides = (1, 3, 224, 224),
    around: Around | None = None,
    training: bool = False,
) -> list[Put]:
    """Put a block behind every module that the places name.

    Each block is built for the channels and the size that arrive there, with weights of its own, on
    the device and in the dtype of the network; the model is changed in place, once all of that
    worked. `ratio` goes in where the block takes one; `shape` is an input of what is measured of
    the model, which `around` makes of it (all of it, unless it says otherwise). `training` asks for
    places that are reached in training mode too. Raises UsageError where a place does not exist,
    its output is no (B, C, H, W), or the block cannot be built.
    """
    paths = find(model, places)
    sites = probed(model, paths, shape, around or whole_of(shape), training)
    made = _fitting(model, spec, paths, sites, ratio, seed)
    done = [Put(named(model, path), last=sites[path].last) for path in paths]
    for path, block in made:
        _put(model, path, block)
    return done


def replace(
    model: nn.Module,
    spec: str,
    what: str,
    ratio: int | None = None,
    seed: int = 0,
    shape: Sides = (1, 3, 224, 224),
    around: Around | None = None,
    training: bool = False,
) -> list[Put]:
    """Put a block in the place of each module of a class, or of the module at a path.

    As `insert` does; also raises UsageError where what stands there maps its input to another
    shape, or takes more than one tensor, since a block does neither.
    """
    paths = standing(model, what)
    sites = probed(model, paths, shape, around or whole_of(shape), training)
    for path in paths:
        _require_block_there(model, path, sites[path])
    made = _fitting(model, spec, paths, sites, ratio, seed)
    went = {path: type(model.get_submodule(path)).__name__ for path in paths}
    done = [Put(named(model, path), went[path], sites[path].last) for path in paths]
    for path, block in made:
        model.set_submodule(path, WithBlock(nn.Identity(), block).train(model.training))
    return done


def standing(model: nn.Module, what: str) -> list[str]:
    """The paths of the modules of a class, none within another; or the one of that path.

    Raises UsageError where the model has neither.
    """
    of_class = [n for n, module in model.named_modules() if n and type(module).__name__ == what]
    if of_class:
        return [p for p in of_class if not any(p.startswith(f"{other}.") for other in of_class)]
    if "." in what or what in dict(model.named_children()):
        path = actual(model, what)
        require_module(model, path)
        return [path]
    classes = sorted({type(module).__name__ for module in model.modules()})
    raise UsageError(
        f"nothing in the network is a {what!r}, class or path: {suggestion(what, classes)}"
    )


def whole_of(shape: Sides) -> Around:
    """What is called of a model where nobody says: all of it, of a detector on fixed boxes."""

    def around(model: nn.Module) -> nn.Module:
        return part_of(model, None, shape[0], (shape[-2], shape[-1]))

    return around


def _require_block_there(model: nn.Module, path: str, site: Site) -> None:
    kind, where = type(model.get_submodule(path)).__name__, named(model, path)
    if site.given is None:
        raise UsageError(
            f"{kind} at {where} is called with more than one tensor, and a block takes one"
        )
    if site.given != site.shape:
        raise UsageError(
            f"{kind} at {where} gives {times(site.shape)} for {times(site.given)}: no block can "
            "stand there, since a block keeps the shape"
        )


def _fitting(
    model: nn.Module,
    spec: str,
    paths: Sequence[str],
    sites: Mapping[str, Site],
    ratio: int | None,
    seed: int,
) -> list[tuple[str, nn.Module]]:
    """Build a block for each path; in the order in which they go in.

    What lies within another place first: its path is another once that is replaced.
    """
    made = [
        (path, _fitting_at(model, path, spec, sites[path], ratio, seed + number))
        for number, path in enumerate(paths)
    ]
    return sorted(made, key=lambda put: -put[0].count("."))


def _fitting_at(
    model: nn.Module, path: str, spec: str, site: Site, ratio: int | None, seed: int
) -> nn.Module:
    """Build a block as it goes to the module at a path, which gives what the site says."""
    shape = site.block_shape
    weights = [*model.get_submodule(path).parameters(), *model.parameters()]
    like = next((tensor for tensor in weights if tensor.is_floating_point()), torch.empty(0))
    size = (shape[-2], shape[-1])
    with _naming(named(model, path)):
        if len(shape) != 4 and not blocks.is_foreign(spec):
            raise UsageError(
                f"block {spec!r} takes (B, C, H, W), and the output there is {times(site.shape)}"
            )
        if like.device.type == "meta":
            block = blocks.build_at(spec, site.channels, ratio, size)
        else:
            block = blocks.build(spec, site.channels, ratio, seed, size)
        _require_shape_kept(block, spec, shape)
    block = block.to(device=like.device, dtype=like.dtype).train(model.training)
    return ChannelsSecond(block).train(model.training) if site.last else block


def _require_shape_kept(block: nn.Module, spec: str, shape: Sides) -> None:
    """Raise UsageError where a block gives another shape, which an addition might even take."""

    def ask(twin: nn.Module, device: str) -> str:
        with torch.no_grad():
            output = twin.eval()(torch.zeros(shape, dtype=dtype_of(twin), device=device))
        return times(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"

    try:
        given = asked(block, ask)
    except (Exception, SystemExit) as error:  # a block may raise anything
        raise UsageError(f"block {spec!r} does not take {times(shape)}: {told(error)}") from error
    if given != times(shape):
        raise UsageError(f"block {spec!r} gives {given} for {times(shape)}")


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
