"""The simple, parameter-free attention module.

Yang, Zhang, Li, Xie: "SimAM: A Simple, Parameter-Free Attention Module for Convolutional Neural
Networks", ICML 2021, PMLR 139:11863-11874. For each channel, with the mean mu and the variance v of
its N positions, a position is gated by how far it stands out:

    z = x * sigmoid(1 / e),   1 / e = (x - mu)^2 / (4 (v + lam)) + 1/2

Reference code consulted: the authors'. There v divides by N - 1, in the paper by N (unbiased=false,
and a single position has v = 0 here in both). The authors' ImageNet runs name lam 0.1, their
CIFAR runs 1e-4. Difference: the squares are averaged, where the authors sum them and divide, which
overflows float16 on large maps: every gate is then sigmoid(1/2), in silence.
"""

import torch
from torch import Tensor, nn


class SimpleAttention(nn.Module):
    """A gate for each element, from its distance to the mean of its channel; no parameters."""

    def __init__(self, channels: int, *, lam: float = 1e-4, unbiased: bool = True) -> None:
        """Make the block for `channels` = C, which it does not depend on.

        Raises ValueError where there is no channel, or lam is not above 0.
        """
        super().__init__()
        if channels < 1:
            raise ValueError(f"channels={channels} is not 1 or more")
        if not lam > 0:
            raise ValueError(f"lam={lam} is not above 0")
        self.lam, self.unbiased = lam, unbiased

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        N = x.shape[2] * x.shape[3]
        squares = (x - x.mean((2, 3), keepdim=True)) ** 2
        variance = squares.mean((2, 3), keepdim=True)  # (B, C, 1, 1)
        if self.unbiased and N > 1:
            variance = variance * (N / (N - 1))
        return x * torch.sigmoid(squares / (4 * (variance + self.lam)) + 0.5)

    def letters(self, shape: tuple[int, int, int, int]) -> dict[str, int]:
        """Name the quantities that the closed forms are written in, at shape (B, C, H, W)."""
        B, C, H, W = shape
        return {"B": B, "C": C, "N": H * W}

    def closed_form(self, B: int, C: int, N: int) -> dict[str, int]:
        """Parameters, MACs of a forward pass, and elements that must move.

        Element-wise work alone. Every gate depends on all of its channel, so x is read twice and z
        written once: 3 BCN elements.
        """
        return {"params": 0, "macs": 0, "min_elements": 3 * B * C * N}

    def alive_bytes(self, B: int, C: int, N: int, e: int) -> tuple[int, ...]:
        """Bytes of e-byte elements that a forward pass holds, at each moment that may be its peak.

        In the gate and where z is written: the squares, two maps of such a size, and the variance.
        """
        return (e * B * (3 * C * N + C),)
