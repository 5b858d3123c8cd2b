"""The Convolutional Block Attention Module.

Woo, Park, Lee, Kweon: "CBAM: Convolutional Block Attention Module", 2018, arXiv 1807.06521,
equations 1 to 3. First the channels are gated, then the positions:

    y = x * sigmoid(M(mean_j x_j) + M(max_j x_j)),   M(c) = W_2 relu(W_1 c),   p = C // ratio
    z = y * sigmoid(BN(w * [mean_c y, max_c y])),    a k x k convolution of 2 maps to 1, no bias

Reference code consulted: timm's `CbamModule`, whose order of the two maps (the paper's) is kept.
Differences: timm's bottleneck has no biases unless mlp_bias=True, and its width is rounded half up;
the authors' repository concatenates [max, mean]. The paper has no batch norm, which both have:
norm=none leaves it away.
"""

from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

Norm = Literal["batch", None]


class ConvolutionalBlockAttention(nn.Module):
    """A gate for each channel from its mean and maximum, then one for each position."""

    LETTERS: ClassVar = {"p": "hidden width C // ratio", "k": "kernel size"}

    def __init__(
        self,
        channels: int,
        ratio: int = 16,
        *,
        kernel: int = 7,
        bias: bool = True,
        norm: Norm = "batch",
    ) -> None:
        """Make the block for `channels` = C; its hidden width is p = C // ratio.

        Raises ValueError where the ratio leaves no channel, the kernel is no odd number, or there
        is no such norm.
        """
        super().__init__()
        if not 1 <= ratio <= channels:
            raise ValueError(
                f"ratio={ratio} leaves no channel of {channels}: it must be 1 to {channels}"
            )
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel={kernel} is not an odd number of 1 or more")
        if norm not in get_args(Norm):
            raise ValueError(f"norm={str(norm).lower()} is not one of batch, none")
        self.hidden = channels // ratio
        self.kernel, self.bias, self.norm = kernel, bias, norm
        self.fc1 = nn.Conv2d(channels, self.hidden, 1, bias=bias)
        self.act = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(self.hidden, channels, 1, bias=bias)
        self.conv = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(1) if norm == "batch" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W). Raises ValueError where a batch norm cannot train."""
        B, _, H, W = x.shape
        if self.training and self.norm == "batch" and B * H * W == 1:
            raise ValueError("training at B = H = W = 1 leaves the batch norm a single value")
        mean, most = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        y = x * torch.sigmoid(self.bottleneck(mean) + self.bottleneck(most))
        maps = torch.cat([y.mean(1, keepdim=True), y.amax(1, keepdim=True)], 1)  # (B, 2, H, W)
        return y * torch.sigmoid(self.bn(self.conv(maps)))

    def bottleneck(self, context: Tensor) -> Tensor:
        """M, the same for the mean and the maximum: (B, C, 1, 1) -> (B, C, 1, 1)."""
        return self.fc2(self.act(self.fc1(context)))

    def letters(self, shape: tuple[int, int, int, int]) -> dict[str, int]:
        """Name the quantities that the closed forms are written in, at shape (B, C, H, W)."""
        B, C, H, W = shape
        return {"B": B, "C": C, "N": H * W, "p": self.hidden, "k": self.kernel}

    def closed_form(self, B: int, C: int, N: int, p: int, k: int) -> dict[str, int]:
        """Parameters, MACs of a forward pass, and elements that must move.

        The bottleneck's two layers run twice, on one position each time; the convolution has 2 k^2
        taps at each of N. Every gate depends on all of x, so x is read twice and z written once:
        3 BCN elements.
        """
        bottleneck = 2 * C * p + (p + C if self.bias else 0)
        params = bottleneck + 2 * k * k + (2 if self.norm == "batch" else 0)
        macs = B * (4 * C * p + 2 * k * k * N)
        return {"params": params, "macs": macs, "min_elements": 3 * B * C * N + params}
