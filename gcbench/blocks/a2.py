"""The Double Attention block.

Chen, Kalantidis, Li, Yan, Feng: "A^2-Nets: Double Attention Networks", 2018, arXiv 1810.11579. n
attention maps, shared by all positions, gather n descriptors; each position mixes those with
weights of its own:

    A = W_a x (m x N),   a = softmax over positions of W_b x (n x N),   v = softmax over the n maps
    of W_v x (n x N),   m = n = C // reduction
    z = x + W_z ((A a^T) v)                residual=true

Multiplying a^T v first is the same function with an N x N map. The bias of W_b has no effect.

No code of the authors is known. Widespread re-implementations take the softmax over the n maps for
both, which gathers otherwise than the paper says.
"""

from typing import ClassVar

from torch import Tensor, nn


class DoubleAttention(nn.Module):
    """Gather by n shared maps, distribute by weights of each position."""

    LETTERS: ClassVar = {"n": "maps and descriptors C // reduction"}

    def __init__(self, channels: int, *, reduction: int = 4, residual: bool = True) -> None:
        """Make the block for `channels` = C; descriptors and maps are m = n = C // reduction.

        Raises ValueError where the reduction leaves no channel.
        """
        super().__init__()
        if not 1 <= reduction <= channels:
            raise ValueError(
                f"reduction={reduction} leaves no channel of {channels}: it must be 1 to {channels}"
            )
        self.inner, self.residual = channels // reduction, residual
        self.a = nn.Conv2d(channels, self.inner, 1)
        self.b = nn.Conv2d(channels, self.inner, 1)
        self.v = nn.Conv2d(channels, self.inner, 1)
        self.z = nn.Conv2d(self.inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        features = self.a(x).flatten(2)  # (B, m, N)
        maps = self.b(x).flatten(2).softmax(2)  # (B, n, N)
        descriptors = features @ maps.transpose(1, 2)  # (B, m, n)
        mixed = descriptors @ self.v(x).flatten(2).softmax(1)  # (B, m, N)
        z = self.z(mixed.unflatten(2, x.shape[2:]))
        return x + z if self.residual else z

    def letters(self, shape: tuple[int, int, int, int]) -> dict[str, int]:
        """Name the quantities that the closed forms are written in, at shape (B, C, H, W)."""
        B, C, H, W = shape
        return {"B": B, "C": C, "N": H * W, "n": self.inner}

    def closed_form(self, B: int, C: int, N: int, n: int) -> dict[str, int]:
        """Parameters, MACs of a forward pass, and elements that must move.

        Four convolutions of Cn MACs at each position, and two products of n^2 there. Every output
        depends on all of x, so x is read twice and z written once: 3 BCN elements.
        """
        params = 4 * C * n + 3 * n + C
        macs = B * N * (4 * C * n + 2 * n * n)
        return {"params": params, "macs": macs, "min_elements": 3 * B * C * N + params}

    def alive_bytes(self, B: int, C: int, N: int, n: int, e: int) -> tuple[int, ...]:
        """Bytes of e-byte elements that a forward pass holds, at each moment that may be its peak.

        When z is written: features, maps, what was mixed, the descriptors, and what is given; with
        a residual also the sum with x.
        """
        return (e * B * (3 * n * N + n * n + (2 if self.residual else 1) * C * N),)
