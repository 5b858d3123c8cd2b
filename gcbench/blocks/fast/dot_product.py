"""The Non-local block's dot product, in the order of sums that takes the fewest MACs.

Without a softmax the sums over keys can be taken before there is a query:

    sum_j (theta_i . phi_j) g_j / K = S theta_i,   S = sum_j g_j phi_j^T / K   (d x d)

which is linear in N where the map is quadratic; and W_z S W_theta is one C x C matrix that takes x
to what is added to it, without theta. At 1x256x56x56 this takes 16 % of the block's MACs. Gradients
are autograd's own.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from gcbench.blocks.fast.adding import added, column, made_bytes, projected, source_of
from gcbench.blocks.fast.calling import weights

if TYPE_CHECKING:
    from gcbench.blocks.nl import NonLocal


def orders(C: int, d: int, N: int, K: int) -> dict[str, int]:
    """MACs of an image in each order of the sums: all that is beside phi and g.

    `map` makes theta_i . phi_j, as the block's own page; `state` S, and theta; `matrix` S, and
    W_z S W_theta with its bias.
    """
    return {
        "map": 2 * C * d * N + 2 * N * K * d,
        "state": 2 * C * d * N + K * d * d + N * d * d,
        "matrix": K * d * d + C * d * d + C * C * d + C * d + C * C * N,
    }


def order(C: int, d: int, N: int, K: int) -> str:
    """The order with the fewest MACs."""
    macs = orders(C, d, N, K)
    return min(macs, key=lambda name: macs[name])


def forward(block: "NonLocal", x: Tensor, which: str) -> Tensor:
    """(B, C, H, W) -> (B, C, H, W), in an order that has no map."""
    B = len(x)
    state = _state(block, x)
    (outer, bias), (inner, shift) = weights(block.z), weights(block.theta)
    if which == "state":
        theta = F.conv2d(x, inner, shift).flatten(2)
        y = torch.bmm(state, theta)
        return projected(block, x, y)
    left = torch.bmm(outer.flatten(1).expand(B, -1, -1), state)  # (B, C, d)
    matrix = torch.bmm(left, inner.flatten(1).expand(B, -1, -1))  # (B, C, C)
    offset = torch.bmm(left, column(shift).expand(B, -1, -1)) + column(bias)  # (B, C, 1)
    return added(block, x, matrix, x.flatten(2), offset)


def _state(block: "NonLocal", x: Tensor) -> Tensor:
    """S of each image, (B, d, d). phi and g each have a root of 1/K, so that no sum overflows."""
    source = source_of(block, x)
    kernels, biases = zip(weights(block.phi), weights(block.g), strict=True)
    both = F.conv2d(source, torch.cat(kernels), torch.cat(biases))
    if block.subsample == "after":
        both = block.pool(both)
    both = both.flatten(2)
    phi, g = both.mul_(both.shape[2] ** -0.5).chunk(2, 1)
    return torch.bmm(g, phi.transpose(1, 2))


def alive_bytes(
    block: "NonLocal", which: str, B: int, C: int, d: int, N: int, K: int, M: int, e: int
) -> tuple[int, ...]:
    """Bytes at each moment that may be the peak.

    While keys are pooled (an index of 8 bytes for each); while the weights of phi and g lie side by
    side; when S is made; and when z is, beside S and what led from it to z.
    """
    pooled = C * K if block.subsample == "before" else 0
    moments = [
        (e + 8) * B * pooled,
        e * (B * pooled + 2 * d * (C + 1) + B * 2 * d * M),
        e * B * (pooled + 2 * d * K + d * d),
    ]
    if block.subsample == "after":
        moments.append(B * (e * 2 * d * M + (e + 8) * 2 * d * K))
    held = 2 * d * N if which == "state" else C * d + C * C + C
    return *moments, e * B * (d * d + held) + made_bytes(block, B, C, N, e)
