"""gcbench's own Non-local block, with every similarity, sub-sampling and norm."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from gcbench.attention.calls import Call
from gcbench.attention.kinds.convolved import NO_DISTRIBUTION
from gcbench.attention.kinds.convolved import calls as convolved
from gcbench.blocks.nl import NonLocal


def calls(module: NonLocal, arguments: dict[str, Any], output: Tensor) -> Iterator[Call]:
    """Compute theta, phi and g as the block does; its own `attention` makes rows of them."""
    x = arguments["x"]
    source = module.pool(x) if module.subsample == "before" else x
    theta, phi, g = module.theta(x), module.phi(source), module.g(source)
    if module.subsample == "after":
        phi, g = module.pool(phi), module.pool(g)

    def weigh(part: Tensor, image: int) -> Tensor:
        return module.attention(part.unsqueeze(-1), phi[image : image + 1])

    yield from convolved(
        x,
        output,
        theta.flatten(2),
        g.flatten(2),
        (phi.shape[2], phi.shape[3]),
        weigh,
        lambda y, image, at: module.bn(module.z(y)),
    )


def map_bytes(module: NonLocal, arguments: dict[str, Any]) -> int:
    """The closed form of the block's peak memory."""
    x = arguments["x"]
    return max(module.alive_bytes(**module.letters(tuple(x.shape)), e=x.element_size()))


def detail(module: NonLocal) -> str:
    """The similarity, and the sub-sampling where there is one."""
    pooled = f", subsample={module.subsample}" if module.subsample else ""
    return f"{module.similarity}{pooled}"


def no_distribution(module: NonLocal) -> str | None:
    """Say why rows are no distributions."""
    return NO_DISTRIBUTION.get(module.similarity)


def as_block(module: NonLocal) -> nn.Module:
    """It is one."""
    return module
