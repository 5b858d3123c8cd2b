"""The two ends that every fast way of the Non-local block has: its keys' source, and its output."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gcbench.blocks.fast.calling import weights

if TYPE_CHECKING:
    from gcbench.blocks.nl import NonLocal


def source_of(block: "NonLocal", x: Tensor) -> Tensor:
    """What phi and g are made of: x, or its maxima where sub-sampling comes before them."""
    return block.pool(x) if block.subsample == "before" else x


def projected(block: "NonLocal", x: Tensor, y: Tensor) -> Tensor:
    """x + W_z y + b, normalised: (B, d, N) -> (B, C, H, W)."""
    weight, bias = weights(block.z)
    return added(block, x, weight.flatten(1).expand(len(x), -1, -1), y, column(bias))


def added(block: "NonLocal", x: Tensor, matrix: Tensor, y: Tensor, offset: Tensor) -> Tensor:
    """x + the norm of (matrix y + offset), made in one map that has the layout of x."""
    if x.is_contiguous():
        z = torch.bmm(matrix, y).add_(offset)
    else:
        z = torch.bmm(y.transpose(1, 2), matrix.transpose(1, 2)).transpose(1, 2).add_(offset)
    return block.bn(z.unflatten(2, x.shape[2:])).add_(x)


def column(bias: Tensor) -> Tensor:
    """A bias beside positions: (C,) -> (C, 1)."""
    return bias.unsqueeze(1)


def made_bytes(block: "NonLocal", B: int, C: int, N: int, e: int) -> int:
    """Bytes of z, and of what a norm makes of it beside two statistics, of 4 bytes at least."""
    if block.norm is None:
        return e * B * C * N
    return 2 * e * B * C * N + 2 * C * max(e, 4)
