"""timm's NonLocalAttn; https://github.com/huggingface/pytorch-image-models, `timm/layers`."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from gcbench.attention.calls import Call
from gcbench.attention.kinds.convolved import calls as convolved


def calls(module: Any, arguments: dict[str, Any], output: Tensor) -> Iterator[Call]:
    """Compute t, p and g as the block does, and its softmax."""
    x = arguments["x"]
    t, p, g = (layer(x).flatten(2) for layer in (module.t, module.p, module.g))

    def weigh(part: Tensor, image: int) -> Tensor:
        logits: Tensor = part.transpose(1, 2) @ p[image : image + 1] * module.scale
        return logits.softmax(2)

    grid = (x.shape[2], x.shape[3])

    def project(y: Tensor, image: int, at: Tensor) -> Tensor:
        added: Tensor = module.norm(module.z(y))
        return added

    yield from convolved(x, output, t, g, grid, weigh, project)


def map_bytes(module: Any, arguments: dict[str, Any]) -> int:
    """The map, and what becomes of it."""
    x = arguments["x"]
    B, _, H, W = x.shape
    return int(2 * B * (H * W) ** 2 * x.element_size())


def detail(module: Any) -> str:
    """It has one similarity."""
    return "embedded_gaussian"


def no_distribution(module: Any) -> str | None:
    """Its rows are a softmax."""
    return None


def as_block(module: nn.Module) -> nn.Module:
    """It is one."""
    return module
