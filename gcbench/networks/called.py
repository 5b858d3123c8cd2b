"""A network that takes more than images, called on images: all else is kept beside it.

The images are the first floating-point tensor that goes in, of at least three sides; they are drawn
for every case. All else is the same for every variant.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree

from gcbench.errors import UsageError, worded
from gcbench.networks.inputs import LEAST_SIDES, Sides
from gcbench.registry import imported
from gcbench.spec.cases import Network

# what a function makes has this seed
_SEED = 0


class Called(nn.Module):
    """A network, and the tensors that it takes beside images, which go wherever it goes."""

    def __init__(self, network: nn.Module, leaves: Sequence[Any], tree: Any) -> None:
        """Keep all that goes in, as torch flattens positional and named arguments."""
        super().__init__()
        self.network = network
        self._images = _images(leaves)
        self._tree = tree
        self._leaves = list(leaves)
        self._tensors = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        for i in self._tensors:
            self._leaves[i] = None
            if i != self._images:
                self.register_buffer(f"input_{i}", leaves[i], persistent=False)

    def forward(self, x: Tensor) -> Any:
        """Images -> what the network gives for them."""
        leaves = list(self._leaves)
        for i in self._tensors:
            leaves[i] = x if i == self._images else getattr(self, f"input_{i}")
        args, kwargs = _pytree.tree_unflatten(leaves, self._tree)
        return self.network(*args, **kwargs)


def called(part: nn.Module, network: Network) -> nn.Module:
    """Make a network that is called on images alone.

    Raises UsageError where what goes in beside them cannot be made.
    """
    if network.maker is not None:
        return Called(part, *_pytree.tree_flatten(_made(network.maker)))
    if len(network.inputs) < 2:
        return part
    drawn = torch.Generator().manual_seed(_SEED)
    tensors = [torch.randn(shape, generator=drawn, device="cpu") for shape in network.inputs]
    return Called(part, *_pytree.tree_flatten((tuple(tensors), {})))


def shape_made(maker: str) -> Sides:
    """The shape of the images among what a function makes.

    Raises UsageError where there are none.
    """
    leaves, _ = _pytree.tree_flatten(_made(maker))
    index = _images(leaves)
    if index is None:
        raise UsageError(
            f"--input {maker}: it makes no images, a floating-point tensor of at least "
            f"{LEAST_SIDES} sides"
        )
    return tuple(leaves[index].shape)


def _made(maker: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a function makes, as arguments of a call: a tensor, several in a row, or by name."""
    factory: Callable[[], Any] = imported(f"--input {maker!r}", maker)
    try:
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.manual_seed(_SEED)
            found = factory()
    except (Exception, SystemExit) as error:
        raise UsageError(f"--input {maker} cannot be made: {worded(error)}") from error
    if isinstance(found, dict):
        return (), found
    return (tuple(found) if isinstance(found, tuple | list) else (found,)), {}


def _images(leaves: Sequence[Any]) -> int | None:
    for index, leaf in enumerate(leaves):
        is_real = isinstance(leaf, Tensor) and leaf.is_floating_point()
        if is_real and leaf.ndim >= LEAST_SIDES:
            return index
    return None
