"""The Coordinate Attention block.

Hou, Zhou, Feng: "Coordinate Attention for Efficient Mobile Network Design", 2021,
arXiv 2103.02907. The map is averaged along its rows and along its columns, and gated by both:

    a_i = mean_j x_ij,   b_j = mean_i x_ij
    f = hswish(BN(W_1 [a; b])),   m = max(least, C // reduction) channels at H + W positions
    z_ij = x_ij * sigmoid(W_h f_i) * sigmoid(W_w f_j)

Reference code consulted: timm's `CoordAttn`, whose names of weights are kept. Differences: timm has
no biases unless bias=True, and another m (2C / 48, in multiples of 8); the authors have this one.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn


class CoordinateAttention(nn.Module):
    """Averages of rows and columns, a bottleneck, and a gate for each row and each column."""

    LETTERS: ClassVar = {"m": "inner width max(least, C // reduction)"}

    def __init__(
        self, channels: int, *, reduction: int = 32, least: int = 8, bias: bool = True
    ) -> None:
        """Make the block for `channels` = C; its inner width is m = max(least, C // reduction).

        Raises ValueError where an option leaves no channel.
        """
        super().__init__()
        for name, value in (("channels", channels), ("reduction", reduction), ("least", least)):
            if value < 1:
                raise ValueError(f"{name}={value} is not 1 or more")
        self.inner, self.bias = max(least, channels // reduction), bias
        self.conv1 = nn.Conv2d(channels, self.inner, 1, bias=bias)
        self.bn1 = nn.BatchNorm2d(self.inner)
        self.act = nn.Hardswish()
        self.conv_h = nn.Conv2d(self.inner, channels, 1, bias=bias)
        self.conv_w = nn.Conv2d(self.inner, channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        H, W = x.shape[2:]
        strips = torch.cat(
            [x.mean(3, keepdim=True), x.mean(2).unsqueeze(-1)], 2
        )  # (B, C, H + W, 1)
        f_h, f_w = self.act(self.bn1(self.conv1(strips))).split([H, W], 2)
        rows = torch.sigmoid(self.conv_h(f_h))  # (B, C, H, 1)
        columns = torch.sigmoid(self.conv_w(f_w.transpose(2, 3)))  # (B, C, 1, W)
        return x * rows * columns

    def letters(self, shape: tuple[int, int, int, int]) -> dict[str, int]:
        """Name the quantities that the closed forms are written in, at shape (B, C, H, W)."""
        B, C, H, W = shape
        return {"B": B, "C": C, "H": H, "W": W, "m": self.inner}

    def closed_form(self, B: int, C: int, H: int, W: int, m: int) -> dict[str, int]:
        """Parameters, MACs of a forward pass, and elements that must move.

        W_1 acts at H + W positions, W_h at H of them and W_w at W: 2 Cm(H + W) MACs. Every gate
        depends on all of its strip, so x is read twice and z written once: 3 BCHW elements.
        """
        params = 3 * C * m + 2 * m + (m + 2 * C if self.bias else 0)
        macs = B * 2 * C * m * (H + W)
        return {"params": params, "macs": macs, "min_elements": 3 * B * C * H * W + params}
