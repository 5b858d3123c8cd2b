"""The attention of the Bottleneck Transformer.

Srinivas, Lin, Parmar, Shlens, Abbeel, Vaswani: "Bottleneck Transformers for Visual Recognition",
2021, arXiv 2101.11605. Self-attention with learnt relative positions, for one size of map:

    z_i = concat_heads(softmax_j(q_i . k_j d^-0.5 + q_i . (R_h[j - i] + R_w[j - i])) v_j)

with [q; k; v] = W x, without bias, in heads of d = C / heads channels; R_h has 2H - 1 rows of d,
one for each vertical distance, R_w has 2W - 1; the heads share them. Nothing is added to x.

Reference code consulted: timm's `BottleneckAttn`, whose weights are kept by name. As in timm, the
positions' term is not scaled by d^-0.5; scale_position=true scales it, as a port of the authors'
TensorFlow code does.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BottleneckAttention(nn.Module):
    """Self-attention with relative positions, bound to one height and width: O(N^2)."""

    LETTERS: ClassVar = {"d": "channels of a head C / heads"}

    def __init__(
        self,
        channels: int,
        *,
        heads: int = 4,
        scale_position: bool = False,
        height: int | None = None,
        width: int | None = None,
    ) -> None:
        """Make the block for `channels` = C and maps of `height` x `width`.

        Raises ValueError where the heads do not divide the channels, or the size is not given.
        """
        super().__init__()
        if heads < 1 or channels < 1 or channels % heads:
            raise ValueError(f"heads={heads} does not divide {channels} channels")
        if height is None or width is None or min(height, width) < 1:
            raise ValueError("its learnt positions need the height and width of x")
        self.heads, self.scale_position, self.size = heads, scale_position, (height, width)
        inner = channels // heads
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.height_rel = nn.Parameter(torch.empty(2 * height - 1, inner))
        self.width_rel = nn.Parameter(torch.empty(2 * width - 1, inner))
        for parameter in (self.height_rel, self.width_rel):
            nn.init.normal_(parameter, std=inner**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W). Raises ValueError at another size than its own."""
        self._require_size(*x.shape[2:])
        q, k, v = self.by_head(x)
        y = self.attention(q, k) @ v  # (B, heads, N, d)
        return y.transpose(2, 3).reshape(x.shape)

    def by_head(self, x: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values: (B, C, H, W) -> three of (B, heads, N, C / heads)."""
        qkv = self.qkv(x).flatten(2).unflatten(1, (3, self.heads, -1))  # (B, 3, heads, d, N)
        return qkv.transpose(3, 4).unbind(1)

    def attention(self, q: Tensor, k: Tensor) -> Tensor:
        """Weigh every key for every query: (B, heads, N, d) twice -> (B, heads, N, N)."""
        scaled = q * q.shape[3] ** -0.5
        position = self.positions(scaled if self.scale_position else q)
        return (scaled @ k.transpose(2, 3) + position).softmax(3)

    def positions(self, q: Tensor) -> Tensor:
        """The logits of relative positions: (B, heads, N, d) -> (B, heads, N, N)."""
        grid = q.unflatten(2, self.size)  # (B, heads, H, W, d)
        across = _aligned(grid @ self.width_rel.T)  # (B, heads, H, W, W)
        down = _aligned(grid.transpose(2, 3) @ self.height_rel.T)  # (B, heads, W, H, H)
        both = across.unsqueeze(4) + down.transpose(2, 3).unsqueeze(5)  # (B, heads, H, W, H, W)
        return both.flatten(4).flatten(2, 3)

    def _require_size(self, H: int, W: int) -> None:
        if self.size != (H, W):
            raise ValueError(f"it is built for {self.size[0]}x{self.size[1]}, not {H}x{W}")

    def letters(self, shape: tuple[int, int, int, int]) -> dict[str, int]:
        """Name the quantities that the closed forms are written in, at shape (B, C, H, W).

        Raises ValueError at another size than its own.
        """
        B, C, H, W = shape
        self._require_size(H, W)
        return {"B": B, "C": C, "H": H, "W": W, "d": C // self.heads}

    def closed_form(self, B: int, C: int, H: int, W: int, d: int) -> dict[str, int]:
        """Parameters, MACs of a forward pass, and elements that must move.

        W takes 3 C^2 at each position, logits and weighted sum N^2 C each, and each query meets
        2H + 2W - 2 distances. Every output depends on all of x, so x is read twice and z written
        once: 3 BCHW elements.
        """
        N = H * W
        params = 3 * C * C + (2 * H + 2 * W - 2) * d
        macs = B * (3 * C * C * N + 2 * C * N * N + C * N * (2 * H + 2 * W - 2))
        return {"params": params, "macs": macs, "min_elements": 3 * B * C * N + params}


def _aligned(scores: Tensor) -> Tensor:
    """Turn scores of distances into scores of places: (..., L, 2L - 1) -> (..., L, L).

    Entry [a, b] is the score of distance b - a, which stands in column b - a + L - 1. In rows that
    are one longer it is number a (2L - 1) + b + L - 1: rows of 2L - 1 from L - 1 on.
    """
    L = scores.shape[-2]
    flat = F.pad(scores, (0, 1)).flatten(-2)[..., L - 1 :]
    return flat[..., : L * (2 * L - 1)].unflatten(-1, (L, 2 * L - 1))[..., :L]
