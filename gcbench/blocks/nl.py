"""The Non-local block.

Wang, Girshick, Gupta, He: "Non-local Neural Networks", 2018, arXiv 1711.07971, equations 1 to 6:

    z_i = x_i + W_z sum_j f(x_i, x_j) g(x_j)

    f = softmax_j(x_i . x_j)                          similarity=gaussian
    f = softmax_j(theta_i . phi_j / sqrt(d))          similarity=embedded_gaussian
    f = theta_i . phi_j / K                           similarity=dot_product
    f = relu(w . [theta_i, phi_j]) / K                similarity=concatenation

over K keys, with theta, phi and g 1x1 convolutions to d = C // reduction channels. `subsample`
takes a 2x2 maximum over the keys and values: before their convolutions, as the Caffe2 original and
SlowFast do, or after them, as mmcv and AlexHex7's repository do.

impl=fast computes the same from the same weights in other orders and by other operators: see
`fast/nl.py`.

Reference code consulted: mmcv's `NonLocal2d`. Differences: 1/sqrt(d) and 1/K multiply theta (d x N)
and, for concatenation, the two halves of w . [theta, phi], instead of the N x K map, which is the
same function up to rounding and spares one pass over the map; with norm=batch, z keeps its bias
(mmcv drops it); scale=false leaves the logits as the paper's equation 3 writes them.
"""

from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from gcbench.blocks.fast import nl as fast

Similarity = Literal["embedded_gaussian", "gaussian", "dot_product", "concatenation"]
Subsample = Literal[None, "before", "after"]
Norm = Literal[None, "batch"]
Impl = Literal["reference", "fast"]


class NonLocal(nn.Module):
    """An attention map of its own for every position: O(N^2)."""

    LETTERS: ClassVar = {
        "d": "inner width C // reduction",
        "K": "keys",
        "M": "positions at which phi and g act",
        "P": "MACs of the sums over keys, in the order taken here",
    }

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 2,
        similarity: Similarity = "embedded_gaussian",
        scale: bool = True,
        subsample: Subsample = None,
        norm: Norm = None,
        zero_init: bool = False,
        impl: Impl = "reference",
    ) -> None:
        """Make the block for `channels` = C; its inner width is d = C // reduction.

        Raises ValueError where an option has no such value or the reduction leaves no channel.
        """
        super().__init__()
        for name, value, choices in (
            ("similarity", similarity, Similarity),
            ("subsample", subsample, Subsample),
            ("norm", norm, Norm),
            ("impl", impl, Impl),
        ):
            if value not in get_args(choices):
                allowed = ", ".join(str(choice).lower() for choice in get_args(choices))
                came = value if isinstance(value, str) else str(value).lower()
                raise ValueError(f"{name}={came} is not one of {allowed}")
        if not 1 <= reduction <= channels:
            raise ValueError(
                f"reduction={reduction} leaves no channel of {channels}: it must be 1 to {channels}"
            )
        self.inner = channels // reduction
        self.similarity, self.subsample, self.norm, self.scale = similarity, subsample, norm, scale
        self.impl = impl
        embedded = similarity != "gaussian"
        self.theta = nn.Conv2d(channels, self.inner, 1) if embedded else nn.Identity()
        self.phi = nn.Conv2d(channels, self.inner, 1) if embedded else nn.Identity()
        self.g = nn.Conv2d(channels, self.inner, 1)
        if similarity == "concatenation":
            # w of 2d weights, applied to theta and phi apart: w . [theta_i, phi_j] = a_i + b_j
            self.w_theta = nn.Conv2d(self.inner, 1, 1, bias=False)
            self.w_phi = nn.Conv2d(self.inner, 1, 1, bias=False)
        self.pool = nn.MaxPool2d(2)
        self.z = nn.Conv2d(self.inner, channels, 1)
        self.bn = nn.BatchNorm2d(channels) if norm == "batch" else nn.Identity()
        if zero_init:
            for parameter in (self.z if norm is None else self.bn).parameters():
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W). Raises ValueError where it is too small to sub-sample."""
        self._require_room(*x.shape[-2:])
        return fast.forward(self, x) if self.impl == "fast" else self.reference(x)

    def reference(self, x: Tensor) -> Tensor:
        """Compute the equations as they are written: (B, C, H, W) -> (B, C, H, W)."""
        B, _, H, W = x.shape
        source = self.pool(x) if self.subsample == "before" else x
        theta, phi, g = self.theta(x), self.phi(source), self.g(source)
        if self.subsample == "after":
            phi, g = self.pool(phi), self.pool(g)
        attention = self.attention(theta, phi)  # (B, N, K)
        y = g.flatten(2) @ attention.transpose(1, 2)  # (B, d, N)
        return x + self.bn(self.z(y.view(B, self.inner, H, W)))

    def _require_room(self, H: int, W: int) -> None:
        if self.subsample is not None and min(H, W) < 2:
            raise ValueError(f"subsample={self.subsample} needs H and W of 2 or more, not {H}x{W}")

    def attention(self, theta: Tensor, phi: Tensor) -> Tensor:
        """Weigh every key for every query: (B, d, H, W) and (B, d, keys) -> (B, N, K)."""
        if self.similarity == "concatenation":
            keys = phi.shape[2] * phi.shape[3]
            query_part = self.w_theta(theta).flatten(2).transpose(1, 2) / keys  # (B, N, 1)
            key_part = self.w_phi(phi).flatten(2) / keys  # (B, 1, K)
            # relu is positively homogeneous, so dividing its argument divides its value
            return torch.relu_(query_part + key_part)
        phi = phi.flatten(2)  # (B, d, K)
        if self.similarity == "dot_product":
            return (theta.flatten(2) / phi.shape[2]).transpose(1, 2) @ phi
        if self.similarity == "embedded_gaussian" and self.scale:
            theta = theta * self.inner**-0.5
        return (theta.flatten(2).transpose(1, 2) @ phi).softmax(-1)

    def letters(self, shape: tuple[int, int, int, int]) -> dict[str, int]:
        """Name the quantities that the closed forms are written in, at shape (B, C, H, W).

        K is the number of keys; M the positions at which phi and g are convolved: K where the
        sub-sampling comes before them, else N. Raises ValueError where it is too small for that.
        """
        B, C, H, W = shape
        self._require_room(H, W)
        N = H * W
        K = N if self.subsample is None else (H // 2) * (W // 2)
        letters = {
            "B": B,
            "C": C,
            "d": self.inner,
            "N": N,
            "K": K,
            "M": K if self.subsample == "before" else N,
        }
        if self.impl == "fast" and self.similarity in ("dot_product", "concatenation"):
            letters["P"] = fast.macs_of_pairs(self, **letters)
        return letters

    def closed_form(
        self, B: int, C: int, d: int, N: int, K: int, M: int, P: int = 0
    ) -> dict[str, int]:
        """Parameters, MACs of a forward pass, and elements that must move.

        theta and z act at N positions, phi and g at M; the logits take NKd MACs (NKC for gaussian,
        d(N + K) for concatenation, which adds instead of multiplying) and the weighted sum NKd.
        With impl=fast, dot_product and concatenation take P instead, beside phi and g, or g and z.
        Every output depends on all of x, so x is read twice and z written once: 3 BCN elements.
        """
        g_and_z = 2 * C * d + d + C
        theta_and_phi = 2 * C * d + 2 * d
        params, macs = {
            "gaussian": (g_and_z, C * d * (N + M) + N * K * (C + d)),
            "concatenation": (
                g_and_z + theta_and_phi + 2 * d,
                2 * C * d * (N + M) + d * (N + K) + N * K * d,
            ),
        }.get(self.similarity, (g_and_z + theta_and_phi, 2 * C * d * (N + M) + 2 * N * K * d))
        if self.norm == "batch":
            params += 2 * C
        macs *= B
        if self.impl == "fast" and self.similarity == "dot_product":
            macs = B * 2 * C * d * M + P
        elif self.impl == "fast" and self.similarity == "concatenation":
            macs = B * C * d * (N + M) + P
        return {"params": params, "macs": macs, "min_elements": 3 * B * C * N + params}

    def alive_bytes(
        self, B: int, C: int, d: int, N: int, K: int, M: int, e: int, P: int = 0
    ) -> tuple[int, ...]:
        """Bytes of e-byte elements that a forward pass holds, at each moment that may be its peak.

        While keys are pooled: the result, and an index of 8 bytes for each. While the map is made:
        what it is made of, and a second map where there is a softmax. When z is written: z and what
        is added to x, beside y and the map (in norm=batch also two statistics, of 4 bytes at
        least). With them all, what the convolutions made. impl=fast has moments of its own.
        """
        if self.impl == "fast" and fast.differs(self, C, d, N, K, M):
            return fast.alive_bytes(self, B, C, d, N, K, M, e)
        moments = []
        pooled = C * K if self.subsample == "before" else 0
        theta, phi = (0, 0) if self.similarity == "gaussian" else (d * N, d * M)
        g = d * M
        if self.subsample == "before":
            moments.append((e + 8) * pooled)
        elif self.subsample == "after":
            phi_pooled = (C if self.similarity == "gaussian" else d) * K
            moments.append(e * (theta + phi + g + phi_pooled) + 8 * phi_pooled)
            moments.append(e * (theta + phi + g + phi_pooled + d * K) + 8 * d * K)
            phi, g = phi_pooled, d * K
        held = pooled + theta + phi + g
        parts = {
            "embedded_gaussian": N * K + (d * N if self.scale else 0),
            "gaussian": N * K,
            "dot_product": d * N,
            "concatenation": N + K,
        }[self.similarity]
        moments.append(e * (held + parts + N * K))
        moments.append(e * (held + N * K + d * N + 2 * C * N))
        statistics = 2 * C * max(e, 4) if self.norm == "batch" else 0
        return (*(B * moment for moment in moments[:-1]), B * moments[-1] + statistics)
