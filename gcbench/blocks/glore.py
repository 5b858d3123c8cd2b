"""The Global Reasoning unit.

Chen, Rohrbach, Yan, Yan, Feng, Kalantidis: "Graph-Based Global Reasoning Networks", 2018,
arXiv 1811.12814. Positions are projected to n nodes, a graph convolution mixes the nodes, and the
same projection brings them back:

    f = W_f x (s x N),   b = W_b x (n x N),   n = C // reduction nodes of s = 2n states
    V = f b^T / N                           normalize=true; without 1/N where false
    V' = W_s relu(V + V A^T + a)            A is n x n over the nodes, with a bias
    z = x + BN(W_e (V' b)),   eps 1e-4

b is no softmax: it may be negative, and sums to nothing in particular.

Reference code consulted: the authors' `GloRe_Unit_2D`. Differences: normalize is false there by
default, which fits one size of map only; 1/N multiplies b here and not the product, which spares
float16 an overflow. The paper writes I - A for what is I + A here: the sign of a learnt matrix.
"""

from typing import ClassVar

from torch import Tensor, nn


class GlobalReasoning(nn.Module):
    """Projection to nodes, a graph convolution between them, projection back."""

    LETTERS: ClassVar = {"n": "nodes C // reduction", "s": "states 2n"}

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 4,
        normalize: bool = True,
        zero_init: bool = False,
    ) -> None:
        """Make the block for `channels` = C, with n = C // reduction nodes of 2n states.

        Raises ValueError where the reduction leaves no channel.
        """
        super().__init__()
        if not 1 <= reduction <= channels:
            raise ValueError(
                f"reduction={reduction} leaves no channel of {channels}: it must be 1 to {channels}"
            )
        self.inner, self.normalize = channels // reduction, normalize
        states = 2 * self.inner
        self.state = nn.Conv2d(channels, states, 1)
        self.projection = nn.Conv2d(channels, self.inner, 1)
        self.adjacency = nn.Conv1d(self.inner, self.inner, 1)
        self.update = nn.Conv1d(states, states, 1, bias=False)
        self.extend = nn.Conv2d(states, channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=1e-4)
        if zero_init:
            for parameter in self.bn.parameters():
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W). Raises ValueError where a batch norm cannot train."""
        if self.training and x.numel() == x.shape[1]:
            raise ValueError("training at B = H = W = 1 leaves the batch norm a single value")
        projection = self.projection(x).flatten(2)  # (B, n, N)
        share = projection / projection.shape[2] if self.normalize else projection
        nodes = self.state(x).flatten(2) @ share.transpose(1, 2)  # (B, s, n)
        mixed = nodes + self.adjacency(nodes.transpose(1, 2)).transpose(1, 2)
        nodes = self.update(mixed.relu_())
        back = (nodes @ projection).unflatten(2, x.shape[2:])  # (B, s, H, W)
        return x + self.bn(self.extend(back))

    def letters(self, shape: tuple[int, int, int, int]) -> dict[str, int]:
        """Name the quantities that the closed forms are written in, at shape (B, C, H, W)."""
        B, C, H, W = shape
        return {"B": B, "C": C, "N": H * W, "n": self.inner, "s": 2 * self.inner}

    def closed_form(self, B: int, C: int, N: int, n: int, s: int) -> dict[str, int]:
        """Parameters, MACs of a forward pass, and elements that must move.

        At each position the convolutions take Cs twice and Cn, projecting forth and back ns each;
        the graph takes n^2 s over the nodes and s^2 n over the states. Every output depends on all
        of x, so x is read twice and z written once: 3 BCN elements.
        """
        params = (C * s + s) + (C * n + n) + (n * n + n) + s * s + C * s + 2 * C
        macs = B * (N * (2 * C * s + C * n + 2 * s * n) + n * n * s + s * s * n)
        return {"params": params, "macs": macs, "min_elements": 3 * B * C * N + params}

    def alive_bytes(self, B: int, C: int, N: int, n: int, s: int, e: int) -> tuple[int, ...]:
        """Bytes of e-byte elements that a forward pass holds, at each moment that may be its peak.

        When z is written: the projection, its shares, what comes back, nodes before and after, and
        two of the size of z; in the norm also two statistics, of 4 bytes at least.
        """
        projections = 2 if self.normalize else 1
        held = projections * n * N + s * N + 2 * s * n
        return (e * B * (held + 2 * C * N) + 2 * C * max(e, 4),)
