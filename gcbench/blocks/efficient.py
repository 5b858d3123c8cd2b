"""The Efficient Attention block.

Shen, Zhang, Zhao, Yi, Li: "Efficient Attention: Attention with Linear Complexities", 2018,
arXiv 1812.01243. Softmax of keys and queries apart, so that the product of keys and values, d x d,
can be taken first:

    k = softmax over positions of W_k x,   q = softmax over channels of W_q x,   v = W_v x
    z = x + W_z ((v k^T) q),   d = C // reduction

With heads, the softmax over channels and both products are taken within each d / heads channels.
The bias of W_k has no effect.

Reference code consulted: the authors'. Differences: theirs drops in silence the channels that the
heads leave over; its keys and values may have widths of their own. The paper's other variant, which
scales by N^-0.5 instead of the softmaxes, is left out.
"""

from typing import ClassVar

from torch import Tensor, nn


class EfficientAttention(nn.Module):
    """d maps shared by all positions, mixed by weights of each position."""

    LETTERS: ClassVar = {"d": "inner width C // reduction"}

    def __init__(self, channels: int, *, reduction: int = 2, heads: int = 1) -> None:
        """Make the block for `channels` = C; keys and values have d = C // reduction channels.

        Raises ValueError where the reduction leaves no channel or the heads do not divide d.
        """
        super().__init__()
        if not 1 <= reduction <= channels:
            raise ValueError(
                f"reduction={reduction} leaves no channel of {channels}: it must be 1 to {channels}"
            )
        self.inner, self.heads = channels // reduction, heads
        if heads < 1 or self.inner % heads:
            raise ValueError(f"heads={heads} does not divide the inner width {self.inner}")
        self.keys = nn.Conv2d(channels, self.inner, 1)
        self.queries = nn.Conv2d(channels, self.inner, 1)
        self.values = nn.Conv2d(channels, self.inner, 1)
        self.reprojection = nn.Conv2d(self.inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        keys = self._by_head(self.keys(x)).softmax(3)
        queries = self._by_head(self.queries(x)).softmax(2)
        context = self._by_head(self.values(x)) @ keys.transpose(2, 3)  # (B, heads, d/h, d/h)
        y = (context @ queries).flatten(1, 2)  # (B, d, N)
        return x + self.reprojection(y.unflatten(2, x.shape[2:]))

    def _by_head(self, tensor: Tensor) -> Tensor:
        """(B, d, H, W) -> (B, heads, d / heads, N)."""
        return tensor.flatten(2).unflatten(1, (self.heads, -1))

    def letters(self, shape: tuple[int, int, int, int]) -> dict[str, int]:
        """Name the quantities that the closed forms are written in, at shape (B, C, H, W)."""
        B, C, H, W = shape
        return {"B": B, "C": C, "N": H * W, "d": self.inner}

    def closed_form(self, B: int, C: int, N: int, d: int) -> dict[str, int]:
        """Parameters, MACs of a forward pass, and elements that must move.

        Four convolutions of Cd MACs at each position; in each head two products of (d / heads)^2
        there. Every output depends on all of x, so x is read twice and z written once: 3 BCN
        elements.
        """
        params = 4 * C * d + 3 * d + C
        macs = B * N * (4 * C * d + 2 * d * d // self.heads)
        return {"params": params, "macs": macs, "min_elements": 3 * B * C * N + params}

    def alive_bytes(self, B: int, C: int, N: int, d: int, e: int) -> tuple[int, ...]:
        """Bytes of e-byte elements that a forward pass holds, at each moment that may be its peak.

        When z is written: keys, queries and what was mixed, the descriptors, what is added, and z.
        """
        return (e * B * (3 * d * N + d * d // self.heads + 2 * C * N),)
