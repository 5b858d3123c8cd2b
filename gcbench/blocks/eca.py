"""The Efficient Channel Attention block.

Wang, Wu, Zhu, Li, Zuo, Hu: "ECA-Net: Efficient Channel Attention for Deep Convolutional Neural
Networks", 2019, arXiv 1910.03151. Each channel is gated by its neighbours along the channels:

    z = x * sigmoid(w * mean_j x_j),   a convolution of k taps over the C means, without bias
    k = the odd number nearest to (log2 C + 1) / 2, the upper one at a tie (equation 9)

which is 3 taps up to 64 channels, 5 from 128 to 1024, 7 at 2048.

Reference code consulted: timm's `EcaModule`, which computes the same. The authors' repository has
no equation 9: its default is 3 taps everywhere, and its ResNet-50 was released with 3, 5, 5, 7.
"""

from math import log2
from typing import ClassVar

import torch
from torch import Tensor, nn


class EfficientChannelAttention(nn.Module):
    """Average pooling, a short convolution along the channels, and a gate for each channel."""

    LETTERS: ClassVar = {"k": "kernel size"}

    def __init__(self, channels: int, *, kernel: int | None = None) -> None:
        """Make the block for `channels` = C; `kernel` is k, None the one of equation 9.

        Raises ValueError where there is no channel or the kernel is no odd number.
        """
        super().__init__()
        if channels < 1:
            raise ValueError(f"channels={channels} is not 1 or more")
        if kernel is not None and (kernel < 1 or kernel % 2 == 0):
            raise ValueError(f"kernel={kernel} is not an odd number of 1 or more")
        self.kernel = adaptive_kernel(channels) if kernel is None else kernel
        self.conv = nn.Conv1d(1, 1, self.kernel, padding=self.kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        means = x.mean((2, 3))  # (B, C)
        gates = torch.sigmoid(self.conv(means.unsqueeze(1)))  # (B, 1, C)
        return x * gates.transpose(1, 2).unsqueeze(-1)

    def letters(self, shape: tuple[int, int, int, int]) -> dict[str, int]:
        """Name the quantities that the closed forms are written in, at shape (B, C, H, W)."""
        B, C, H, W = shape
        return {"B": B, "C": C, "N": H * W, "k": self.kernel}

    def closed_form(self, B: int, C: int, N: int, k: int) -> dict[str, int]:
        """Parameters, MACs of a forward pass, and elements that must move.

        k taps at each of C places; the average is no matrix product. Every gate depends on all of
        its channel, so x is read twice and z written once: 3 BCN elements.
        """
        return {"params": k, "macs": B * k * C, "min_elements": 3 * B * C * N + k}

    def alive_bytes(self, B: int, C: int, N: int, k: int, e: int) -> tuple[int, ...]:
        """Bytes of e-byte elements that a forward pass holds, at each moment that may be its peak.

        When z is written: z, the means and the gates. On the way there: means, what the convolution
        made of them, and the gates.
        """
        return (e * B * (C * N + 2 * C), e * B * 3 * C)


def adaptive_kernel(channels: int) -> int:
    """The number of taps that equation 9 gives so many channels, and never fewer than 3."""
    whole = int((log2(channels) + 1) / 2)
    return max(3, whole if whole % 2 else whole + 1)
