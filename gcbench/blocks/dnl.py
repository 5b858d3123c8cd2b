"""The Disentangled Non-local block.

Yin, Yao, Cao, Li, Zhang, Lin, Hu: "Disentangled Non-Local Neural Networks", 2020,
arXiv 2006.06668. The attention of a Non-local block is split into a whitened pairwise term and one
map shared by all queries, which have a softmax each:

    z_i = x_i + W_z sum_j (a_ij + m_j) g_j
    a_ij = softmax_j((q_i - mean q) . (k_j - mean k) s / t),   m = softmax_j(W_m x_j)

with q, k, g = theta x, phi x, g x of d = C // reduction channels, t the temperature, and s = d^-0.5
(1 with scale=false). The second term is the map of Global Context.

Only q is centred here: the mean of k adds the same to all logits of a query, which the softmax does
not see, and nor does it see the biases of theta, phi and W_m.

Reference code consulted: the authors' and mmseg's. Differences: the authors' has by default no W_z,
subsampled keys, and a gamma that starts at 0 on the pairwise term; mmseg applies W_z to both terms
apart, so that its bias counts twice. In float16 the logits, 20 times those of Non-local, overflow
earlier.
"""

from typing import ClassVar, Literal, get_args

from torch import Tensor, nn

Norm = Literal[None, "batch"]


class DisentangledNonLocal(nn.Module):
    """A whitened attention map for every position, and one shared by all: O(N^2)."""

    LETTERS: ClassVar = {"d": "inner width C // reduction"}

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 2,
        temperature: float = 0.05,
        scale: bool = True,
        norm: Norm = None,
        zero_init: bool = False,
    ) -> None:
        """Make the block for `channels` = C; its inner width is d = C // reduction.

        Raises ValueError where the reduction leaves no channel, the temperature is not above 0, or
        there is no such norm.
        """
        super().__init__()
        if not 1 <= reduction <= channels:
            raise ValueError(
                f"reduction={reduction} leaves no channel of {channels}: it must be 1 to {channels}"
            )
        if not temperature > 0:
            raise ValueError(f"temperature={temperature} is not above 0")
        if norm not in get_args(Norm):
            came = norm if isinstance(norm, str) else str(norm).lower()
            raise ValueError(f"norm={came} is not one of none, batch")
        self.inner, self.norm = channels // reduction, norm
        self.factor = (self.inner**-0.5 if scale else 1.0) / temperature
        self.theta = nn.Conv2d(channels, self.inner, 1)
        self.phi = nn.Conv2d(channels, self.inner, 1)
        self.g = nn.Conv2d(channels, self.inner, 1)
        self.mask = nn.Conv2d(channels, 1, 1)
        self.z = nn.Conv2d(self.inner, channels, 1)
        self.bn = nn.BatchNorm2d(channels) if norm == "batch" else nn.Identity()
        if zero_init:
            for parameter in (self.z if norm is None else self.bn).parameters():
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W). Raises ValueError where a batch norm cannot train."""
        if self.training and self.norm == "batch" and x.numel() == x.shape[1]:
            raise ValueError("training at B = H = W = 1 leaves the batch norm a single value")
        g = self.g(x).flatten(2)  # (B, d, N)
        pairwise = g @ self.attention(self.whitened(x), self.phi(x).flatten(2)).transpose(1, 2)
        shared = g @ self.mask(x).flatten(2).softmax(2).transpose(1, 2)  # (B, d, 1)
        y = (pairwise + shared).unflatten(2, x.shape[2:])
        return x + self.bn(self.z(y))

    def whitened(self, x: Tensor) -> Tensor:
        """Queries less their mean, times s / t: (B, C, H, W) -> (B, d, N)."""
        theta = self.theta(x).flatten(2)
        return (theta - theta.mean(2, keepdim=True)) * self.factor

    def attention(self, theta: Tensor, phi: Tensor) -> Tensor:
        """Weigh every key for every query by pairs: (B, d, N) and (B, d, K) -> (B, N, K)."""
        return (theta.transpose(1, 2) @ phi).softmax(2)

    def letters(self, shape: tuple[int, int, int, int]) -> dict[str, int]:
        """Name the quantities that the closed forms are written in, at shape (B, C, H, W)."""
        B, C, H, W = shape
        return {"B": B, "C": C, "N": H * W, "d": self.inner}

    def closed_form(self, B: int, C: int, N: int, d: int) -> dict[str, int]:
        """Parameters, MACs of a forward pass, and elements that must move.

        Four convolutions of Cd MACs at each position; logits and weighted sum of N^2 d each; the
        shared map takes CN for its logits and dN for its sum. Every output depends on all of x, so
        x is read twice and z written once: 3 BCN elements.
        """
        params = 4 * C * d + 3 * d + C + (C + 1) + (2 * C if self.norm == "batch" else 0)
        macs = B * (4 * C * d * N + 2 * N * N * d + C * N + d * N)
        return {"params": params, "macs": macs, "min_elements": 3 * B * C * N + params}

    def alive_bytes(self, B: int, C: int, N: int, d: int, e: int) -> tuple[int, ...]:
        """Bytes of e-byte elements that a forward pass holds, at each moment that may be its peak.

        In the softmax: logits and map, beside queries, keys and values. When z is written: values,
        what was gathered by pairs, by all, and both together, and two of the size of z; in a norm
        also two statistics, of 4 bytes at least.
        """
        statistics = 2 * C * max(e, 4) if self.norm == "batch" else 0
        written = e * B * (3 * d * N + d + 2 * C * N) + statistics
        return e * B * (3 * d * N + 2 * N * N), written
