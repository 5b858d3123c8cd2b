"""gcbench's Asymmetric Pyramid Non-local block: rows over the cells of its pyramid."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from gcbench.attention.calls import Call
from gcbench.attention.kinds.convolved import calls as convolved
from gcbench.blocks.apnb import AsymmetricPyramidNonLocal


def calls(
    module: AsymmetricPyramidNonLocal, arguments: dict[str, Any], output: Tensor
) -> Iterator[Call]:
    """Compute queries, pooled keys and pooled values as the block does."""
    x = arguments["x"]
    query = module.query(x)
    keys, values = module.pooled(query), module.pooled(module.value(x))

    def weigh(part: Tensor, image: int) -> Tensor:
        return module.attention(part, keys[image : image + 1])

    def project(y: Tensor, image: int, at: Tensor) -> Tensor:
        given: Tensor = module.z(y)
        if module.fuse is None:
            return given
        before: Tensor = x[image].flatten(1)[:, at.to(x.device)][None, :, :, None]  # (1, C, n, 1)
        fused: Tensor = module.fuse(torch.cat([given, before], 1))
        return fused.clamp_min(0) - before

    cells = (1, keys.shape[2])
    yield from convolved(x, output, query.flatten(2), values, cells, weigh, project)


def map_bytes(module: AsymmetricPyramidNonLocal, arguments: dict[str, Any]) -> int:
    """The map over the cells, and its softmax."""
    x = arguments["x"]
    cells = sum(side * side for side in module.bins)
    return int(2 * x.shape[0] * x.shape[2] * x.shape[3] * cells * x.element_size())


def detail(module: AsymmetricPyramidNonLocal) -> str:
    """The cells a side of each level."""
    return f"cells of {'-'.join(map(str, module.bins))}"


def no_distribution(module: AsymmetricPyramidNonLocal) -> str | None:
    """Its rows are a softmax."""
    return None


def as_block(module: nn.Module) -> nn.Module:
    """It is one."""
    return module
