"""mmcv's NonLocal2d; https://github.com/open-mmlab/mmcv, `mmcv/cnn/bricks/non_local.py`.

Rows come from the block's own method of its mode, on the part of theta that belongs to them; of
concatenation from w . [theta, phi] = a + b, since the block's own way holds 2d numbers for each
weight.
"""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from gcbench.attention.calls import Call
from gcbench.attention.kinds.convolved import NO_DISTRIBUTION
from gcbench.attention.kinds.convolved import calls as convolved


def calls(module: Any, arguments: dict[str, Any], output: Tensor) -> Iterator[Call]:
    """Compute theta, phi and g as the block does."""
    x = arguments["x"]
    gaussian = module.mode == "gaussian"
    theta = (x if gaussian else module.theta(x)).flatten(2)
    phi = module.phi(x) if module.sub_sample or not gaussian else x
    keys = phi.flatten(2)
    g = module.g(x).flatten(2)

    def weigh(part: Tensor, image: int) -> Tensor:
        of_image = keys[image : image + 1]
        if module.mode == "concatenation":
            return _concatenated(module, part, of_image)
        rows: Tensor = getattr(module, module.mode)(part.transpose(1, 2), of_image)
        return rows

    grid = (phi.shape[2], phi.shape[3])

    def project(y: Tensor, image: int, at: Tensor) -> Tensor:
        added: Tensor = module.conv_out(y)
        return added

    yield from convolved(x, output, theta, g, grid, weigh, project)


def _concatenated(module: Any, theta: Tensor, phi: Tensor) -> Tensor:
    w = module.concat_project.conv.weight.flatten()
    d = theta.shape[1]
    a, b = (half @ part for half, part in ((w[:d], theta), (w[d:], phi)))
    rows: Tensor = (a.unsqueeze(2) + b.unsqueeze(1)).relu() / phi.shape[2]
    return rows


def map_bytes(module: Any, arguments: dict[str, Any]) -> int:
    """The map and its softmax; for concatenation 2d numbers for each weight."""
    x = arguments["x"]
    B, _, H, W = x.shape
    keys = (H // 2) * (W // 2) if module.sub_sample else H * W
    numbers = 2 * module.inter_channels + 1 if module.mode == "concatenation" else 2
    return int(B * H * W * keys * numbers * x.element_size())


def detail(module: Any) -> str:
    """The mode, and whether keys are pooled."""
    return f"{module.mode}{', sub_sample' if module.sub_sample else ''}"


def no_distribution(module: Any) -> str | None:
    """Say why rows are no distributions."""
    return NO_DISTRIBUTION.get(module.mode)


def as_block(module: nn.Module) -> nn.Module:
    """It is one."""
    return module
