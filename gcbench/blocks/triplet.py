"""The Triplet Attention block.

Misra, Nalamada, Arasanipalai, Hou: "Rotate to Attend: Convolutional Triplet Attention Module",
2020, arXiv 2010.03045. Each axis is pooled away in turn, and what is left is a plane of gates:

    g = sigmoid(BN(w * [max, mean] over the axis)),   a k x k convolution of 2 planes to 1, no bias
    z = the mean of x * g over the axes H (plane C x W), W (plane H x C) and, with spatial, C
    (plane H x W)

The convolution slides along the channels, so the block depends on their order.

Reference code consulted: the authors', whose names of the branches are kept. Difference: they
permute x so that the pooled axis comes first, three copies of x; here the planes alone are turned,
which gives the same numbers.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn


class Gate(nn.Module):
    """A plane of gates from the maximum and the mean over one axis."""

    def __init__(self, kernel: int) -> None:
        """Make the gate for planes of any size."""
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(1)

    def forward(self, x: Tensor, axis: int) -> Tensor:
        """(B, C, H, W) -> the same with 1 at the axis."""
        pooled = torch.cat([x.amax(axis, keepdim=True), x.mean(axis, keepdim=True)], axis)
        plane = self.bn(self.conv(pooled.transpose(1, axis)))  # (B, 2, ., .) -> (B, 1, ., .)
        return torch.sigmoid(plane).transpose(1, axis)


class TripletAttention(nn.Module):
    """Gates for three planes: channels by columns, rows by channels, rows by columns."""

    LETTERS: ClassVar = {"k": "kernel size"}

    def __init__(self, channels: int, *, kernel: int = 7, spatial: bool = True) -> None:
        """Make the block for `channels` = C, which its weights do not depend on.

        Raises ValueError where there is no channel or the kernel is no odd number.
        """
        super().__init__()
        if channels < 1:
            raise ValueError(f"channels={channels} is not 1 or more")
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel={kernel} is not an odd number of 1 or more")
        self.kernel = kernel
        self.cw, self.hc = Gate(kernel), Gate(kernel)
        self.hw = Gate(kernel) if spatial else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W). Raises ValueError where a batch norm cannot train."""
        B, C, H, W = x.shape
        planes = (C * W, C * H, H * W) if self.hw is not None else (C * W, C * H)
        if self.training and B * min(planes) == 1:
            raise ValueError("training leaves a batch norm a single value: take a larger batch")
        z = x * self.cw(x, 2) + x * self.hc(x, 3)
        if self.hw is None:
            return z / 2
        return (z + x * self.hw(x, 1)) / 3

    def letters(self, shape: tuple[int, int, int, int]) -> dict[str, int]:
        """Name the quantities that the closed forms are written in, at shape (B, C, H, W)."""
        B, C, H, W = shape
        return {"B": B, "C": C, "H": H, "W": W, "k": self.kernel}

    def closed_form(self, B: int, C: int, H: int, W: int, k: int) -> dict[str, int]:
        """Parameters, MACs of a forward pass, and elements that must move.

        Each gate has 2 k^2 taps at each place of its plane, and a norm of 2. Every gate depends on
        a whole line of x, so x is read twice and z written once: 3 BCHW elements.
        """
        gates, places = (2, C * W + C * H) if self.hw is None else (3, C * W + C * H + H * W)
        params = gates * (2 * k * k + 2)
        macs = B * 2 * k * k * places
        return {"params": params, "macs": macs, "min_elements": 3 * B * C * H * W + params}
