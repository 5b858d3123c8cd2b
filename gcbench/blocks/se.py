"""The Squeeze-and-Excitation block.

Hu, Shen, Sun: "Squeeze-and-Excitation Networks", 2018, arXiv 1709.01507, equations 2 to 4:

    z = x * sigmoid(W_2 relu(W_1 mean_j x_j)),   p = C // ratio

impl=fast computes the same from the same weights by other operators: see `fast/se.py`.

Reference code consulted: torchvision's `SqueezeExcitation`, whose names of weights are kept so that
its checkpoints load; there the hidden width is given instead of the ratio.
"""

from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from gcbench.blocks.fast import se as fast

Impl = Literal["reference", "fast"]


class SqueezeExcitation(nn.Module):
    """Average pooling, a bottleneck, and a gate for each channel."""

    LETTERS: ClassVar = {"p": "hidden width C // ratio"}

    def __init__(self, channels: int, ratio: int = 16, *, impl: Impl = "reference") -> None:
        """Make the block for `channels` = C; its hidden width is p = C // ratio.

        Raises ValueError where the ratio leaves no channel, or there is no such `impl`.
        """
        super().__init__()
        if impl not in get_args(Impl):
            raise ValueError(f"impl={str(impl).lower()} is not one of {', '.join(get_args(Impl))}")
        if not 1 <= ratio <= channels:
            raise ValueError(
                f"ratio={ratio} leaves no channel of {channels}: it must be 1 to {channels}"
            )
        self.hidden, self.impl = channels // ratio, impl
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, self.hidden, 1)
        self.activation = nn.ReLU()
        self.fc2 = nn.Conv2d(self.hidden, channels, 1)
        self.scale_activation = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        if not torch.jit.is_scripting() and self.impl == "fast":  # type: ignore[attr-defined]
            return fast.forward(self, x)
        return self.reference(x)

    def reference(self, x: Tensor) -> Tensor:
        """Compute the equations as they are written: (B, C, H, W) -> (B, C, H, W)."""
        hidden = self.activation(self.fc1(self.avgpool(x)))  # (B, p, 1, 1)
        return x * self.scale_activation(self.fc2(hidden))

    def letters(self, shape: tuple[int, int, int, int]) -> dict[str, int]:
        """Name the quantities that the closed forms are written in, at shape (B, C, H, W)."""
        B, C, H, W = shape
        return {"B": B, "C": C, "N": H * W, "p": self.hidden}

    def closed_form(self, B: int, C: int, N: int, p: int) -> dict[str, int]:
        """Parameters, MACs of a forward pass, and elements that must move.

        Two biased convolutions on one position; the average is no matrix product. Every gate
        depends on all of its channel, so x is read twice and z written once: 3 BCN elements.
        """
        params = 2 * C * p + p + C
        return {"params": params, "macs": B * 2 * C * p, "min_elements": 3 * B * C * N + params}

    def alive_bytes(self, B: int, C: int, N: int, p: int, e: int) -> tuple[int, ...]:
        """Bytes of e-byte elements that a forward pass holds, at each moment that may be its peak.

        When z is written: z, the gates, and the hidden layer.
        """
        return (e * B * (C * N + C + p),)
