"""The Asymmetric Pyramid Non-local block.

Zhu, Xu, Bai, Huang, Bai: "Asymmetric Non-local Neural Networks for Semantic Segmentation", 2019,
arXiv 1908.07678. Keys and values are averages over the cells of a pyramid, S of them instead of N:

    q = relu(BN(W_k x)),   v = W_v x,   d = C // reduction
    a = softmax(q^T pool(q) d^-0.5) (N x S),   y = W_z (pool(v) a^T)
    z = relu(BN(W_f [y; x]))               fusion=concat
    z = x + y                              fusion=add, the form of Non-local

pool takes adaptive averages of 1, 3, 6 and 8 cells a side, S = 110. One layer makes queries and
keys.

Reference code consulted: the authors' and mmseg's. Differences: mmseg has no bias where a BN
follows; the authors start W_z at zero, and drop 5 % in training. For the last ReLU fusion=concat is
the identity at no start.
"""

from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Fusion = Literal["concat", "add"]


class AsymmetricPyramidNonLocal(nn.Module):
    """An attention map of its own for every position, over the cells of a pyramid: O(N)."""

    LETTERS: ClassVar = {"d": "inner width C // reduction", "S": "cells of the pyramid"}

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 2,
        bins: str = "1-3-6-8",
        fusion: Fusion = "concat",
    ) -> None:
        """Make the block for `channels` = C; its inner width is d = C // reduction.

        `bins` are the cells a side of each level of the pyramid. Raises ValueError where the
        reduction leaves no channel, a bin is no number of cells, or there is no such fusion.
        """
        super().__init__()
        if not 1 <= reduction <= channels:
            raise ValueError(
                f"reduction={reduction} leaves no channel of {channels}: it must be 1 to {channels}"
            )
        if fusion not in get_args(Fusion):
            raise ValueError(f"fusion={str(fusion).lower()} is not one of concat, add")
        sides = str(bins).split("-")
        if not all(side.isdecimal() and 1 <= len(side) <= 4 and int(side) for side in sides):
            raise ValueError(f"bins={bins} is no list of cells a side such as 1-3-6-8")
        self.inner, self.bins = channels // reduction, tuple(map(int, sides))
        self.query = nn.Sequential(
            nn.Conv2d(channels, self.inner, 1), nn.BatchNorm2d(self.inner), nn.ReLU(inplace=True)
        )
        self.value = nn.Conv2d(channels, self.inner, 1)
        self.z = nn.Conv2d(self.inner, channels, 1)
        self.fuse = (
            nn.Sequential(
                nn.Conv2d(2 * channels, channels, 1),
                nn.BatchNorm2d(channels),
            )
            if fusion == "concat"
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W). Raises ValueError where a batch norm cannot train."""
        if self.training and x.numel() == x.shape[1]:
            raise ValueError("training at B = H = W = 1 leaves a batch norm a single value")
        query = self.query(x)
        attention = self.attention(query.flatten(2), self.pooled(query))  # (B, N, S)
        y = self.pooled(self.value(x)) @ attention.transpose(1, 2)  # (B, d, N)
        y = self.z(y.unflatten(2, x.shape[2:]))
        if self.fuse is None:
            return x + y
        # not relu(), whose gradient needs what it returned, and a network may add to that in place
        return self.fuse(torch.cat([y, x], 1)).clamp_min(0)

    def pooled(self, x: Tensor) -> Tensor:
        """Average over the cells of the pyramid: (B, d, H, W) -> (B, d, S)."""
        return torch.cat([F.adaptive_avg_pool2d(x, side).flatten(2) for side in self.bins], 2)

    def attention(self, query: Tensor, key: Tensor) -> Tensor:
        """Weigh every key for every query: (B, d, N) and (B, d, S) -> (B, N, S)."""
        return (query.transpose(1, 2) @ (key * self.inner**-0.5)).softmax(2)

    def letters(self, shape: tuple[int, int, int, int]) -> dict[str, int]:
        """Name the quantities that the closed forms are written in, at shape (B, C, H, W)."""
        B, C, H, W = shape
        S = sum(side * side for side in self.bins)
        return {"B": B, "C": C, "N": H * W, "d": self.inner, "S": S}

    def closed_form(self, B: int, C: int, N: int, d: int, S: int) -> dict[str, int]:
        """Parameters, MACs of a forward pass, and elements that must move.

        Three convolutions of Cd MACs at each position, logits and weighted sum of Sd there, and
        2 C^2 to fuse by concatenation. Every output depends on all of x, so x is read twice and z
        written once: 3 BCN elements.
        """
        params, macs = 3 * C * d + 2 * d + C + 2 * d, N * (3 * C * d + 2 * S * d)
        if self.fuse is not None:
            params, macs = params + 2 * C * C + 3 * C, macs + N * 2 * C * C
        return {"params": params, "macs": B * macs, "min_elements": 3 * B * C * N + params}
