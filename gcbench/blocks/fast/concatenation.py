"""The Non-local block's concatenation, by sorting its keys.

relu(a_i + b_j) is a_i + b_j for the keys with b_j > -a_i, and 0 for the others. With the keys
sorted from the largest b those are the first n_i, so

    sum_j relu(a_i + b_j) g_j = a_i G(n_i) + H(n_i),    G(n) = sum_{j <= n} g_j,
                                                        H(n) = sum_{j <= n} b_j g_j

which is a sort, two running sums and a search for each query: O(N log N) instead of O(N^2), and no
product over pairs. a + m and b - m give the same sums; with m the mean of b, from smaller numbers.
Nor are the embeddings needed: a_i = (w_theta W_theta) x_i + w_theta b_theta, and b_j likewise where
keys are not pooled after phi. Gradients are autograd's own.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gcbench.blocks.fast.adding import column, made_bytes, projected, source_of
from gcbench.blocks.fast.calling import weights
from gcbench.blocks.fast.pooling import across

if TYPE_CHECKING:
    from gcbench.blocks.nl import NonLocal


def forward(block: "NonLocal", x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, H, W)."""
    source = source_of(block, x)
    g = F.conv2d(source, *weights(block.g))
    if block.subsample == "after":
        phi = block.pool(F.conv2d(source, *weights(block.phi)))
        g = block.pool(g)
        b = across(phi.flatten(2), weights(block.w_phi)[0])
        del phi
    else:
        b = _scores(source, block.phi, block.w_phi)
    a = _scores(x, block.theta, block.w_theta)
    g = g.flatten(2)
    y = _summed(a.flatten(1), b.flatten(1), g)
    return projected(block, x, y.transpose(1, 2))


def _scores(x: Tensor, embed: nn.Module, score: nn.Module) -> Tensor:
    """w . (W x + b), without W x: (B, C, H, W) -> (B, 1, N)."""
    (weight, bias), w = weights(embed), weights(score)[0].flatten(1)  # (1, d)
    both = torch.mm(w, weight.flatten(1)), torch.mm(w, column(bias))
    return across(x.flatten(2), both[0]).add_(both[1])


def _summed(a: Tensor, b: Tensor, g: Tensor) -> Tensor:
    """sum_j relu(a_i + b_j) g_j / K: (B, N), (B, K), (B, d, K) -> (B, N, d)."""
    B, d, K = g.shape
    # running sums of so many numbers need more than half precision
    precise = torch.promote_types(g.dtype, torch.float32)
    a, b = a.to(precise) / K, b.to(precise) / K
    mean = b.detach().mean(1, keepdim=True)
    b, places = (b - mean).sort(1, descending=True)
    a = a + mean
    counts = torch.searchsorted(-b.detach(), a.detach())  # (B, N), 0 to K
    # a row of zeros comes first: the sums of no key
    first = torch.arange(B, device=g.device)[:, None] * (K + 1)
    places = (F.pad(places + 1, (1, 0)) + first).flatten()
    rows = F.pad(g.transpose(1, 2), (0, 0, 1, 0)).to(precise).flatten(0, 1)  # (B (K + 1), d)
    rows = rows.index_select(0, places).view(B, K + 1, d)
    del places
    weighed = (rows * F.pad(b, (1, 0))[..., None]).cumsum(1).flatten(0, 1)
    rows = rows.cumsum(1).flatten(0, 1)
    counts = (counts + first).flatten()
    y = rows.index_select(0, counts) * a.reshape(-1, 1)
    return y.add_(weighed.index_select(0, counts)).view(B, -1, d).to(g.dtype)


def macs(block: "NonLocal", B: int, C: int, d: int, N: int, K: int, M: int) -> int:
    """MACs beside g and z: w_theta W_theta and the like once, and their products with x."""
    of_a = C * d + d + B * C * N
    if block.subsample == "after":
        return of_a + B * (C * d * M + d * K)
    return of_a + C * d + d + B * C * K


def alive_bytes(
    block: "NonLocal", B: int, C: int, d: int, N: int, K: int, M: int, e: int
) -> tuple[int, ...]:
    """Bytes at each moment that may be the peak.

    While keys are pooled (an index of 8 bytes for each); while the places of sorted keys are found;
    while running sums are made, and while they are picked, both in 4 bytes at least; and when z is
    made.
    """
    p = max(e, 4)
    pooled = C * K if block.subsample == "before" else 0
    moments = [(e + 8) * B * pooled]
    if block.subsample == "after":
        moments.append(B * (e * (2 * d * M) + (e + 8) * d * K))
        moments.append(B * (e * (d * M + d * K) + (e + 8) * d * K))
    kept = e * B * (pooled + d * K + N + K)
    # a, the mean, b, and where a query's sums end
    found = B * (p * (N + 1 + K) + 8 * N + 8)
    moments.append(kept + found + B * (8 * K + 16 * (K + 1)))
    moments.append(kept + found + 3 * p * B * (K + 1) * d)
    moments.append(kept + found + 2 * p * B * (K + 1) * d + 2 * p * B * N * d)
    return *moments, kept + e * B * N * d + made_bytes(block, B, C, N, e)
