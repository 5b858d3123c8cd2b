"""gcbench's Disentangled Non-local block: its pairwise term, without the map that all share."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from gcbench.attention.calls import Call
from gcbench.attention.kinds.convolved import calls as convolved
from gcbench.blocks.dnl import DisentangledNonLocal


def calls(
    module: DisentangledNonLocal, arguments: dict[str, Any], output: Tensor
) -> Iterator[Call]:
    """Compute whitened queries, keys and values as the block does; its `attention` makes rows."""
    x = arguments["x"]
    g, keys = module.g(x).flatten(2), module.phi(x).flatten(2)
    shared = g @ module.mask(x).flatten(2).softmax(2).transpose(1, 2)  # (B, d, 1)

    def weigh(part: Tensor, image: int) -> Tensor:
        return module.attention(part, keys[image : image + 1])

    def project(y: Tensor, image: int, at: Tensor) -> Tensor:
        added: Tensor = module.bn(module.z(y + shared[image : image + 1].unsqueeze(3)))
        return added

    grid = (x.shape[2], x.shape[3])
    yield from convolved(x, output, module.whitened(x), g, grid, weigh, project)


def map_bytes(module: DisentangledNonLocal, arguments: dict[str, Any]) -> int:
    """The map, and its softmax."""
    x = arguments["x"]
    return int(2 * x.shape[0] * (x.shape[2] * x.shape[3]) ** 2 * x.element_size())


def detail(module: DisentangledNonLocal) -> str:
    """It has one pairwise term, beside the map that all queries share."""
    return "pairwise term"


def no_distribution(module: DisentangledNonLocal) -> str | None:
    """Its rows are a softmax."""
    return None


def as_block(module: nn.Module) -> nn.Module:
    """It is one."""
    return module
