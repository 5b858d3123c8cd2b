"""The Gather-Excite block.

Hu, Shen, Albanie, Sun, Vedaldi: "Gather-Excite: Exploiting Feature Context in Convolutional Neural
Networks", 2018, arXiv 1810.12348:

    z = x * sigmoid(up(E(G(x)))),   up to the size of x by the nearest neighbour

    G   the average of all positions                               extent=0, gather=pool
        averages over windows of 2e - 1 at every e-th position     extent=e, gather=pool
        a depthwise H x W convolution, then BN                     extent=0, gather=conv
        log2 e depthwise 3 x 3 convolutions of stride 2, each      extent=e, gather=conv
        with BN, ReLU between them
    E   nothing                                                    excite=none
        W_2 relu(W_1 g),   p = C // ratio                          excite=mlp

The paper's theta-minus is gather=pool, theta is gather=conv, theta-plus is gather=conv with
excite=mlp; gather=pool with excite=mlp over all positions is Squeeze-Excitation.

Reference code consulted: timm's `GatherExcite`, whose order of norms is taken for the extents, of
which the paper has figures only. Differences: the authors' Caffe networks have another ReLU between
the gather's norm and W_1; timm pads the H x W kernel, so that its global gather is none.
"""

from math import log2
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Extent = Literal[0, 2, 4, 8]
Gather = Literal["pool", "conv"]
Excite = Literal[None, "mlp"]


class GatherExcite(nn.Module):
    """Contexts of all positions or of windows, and a gate for each channel and window."""

    LETTERS: ClassVar = {
        "p": "hidden width C // ratio",
        "M": "windows gathered",
        "S": "windows of all steps of stride 2",
    }

    # without an mlp there is no hidden width, so the ratio axis passes it by
    without_ratio = ("excite", None)

    def __init__(
        self,
        channels: int,
        ratio: int = 16,
        *,
        extent: Extent = 0,
        gather: Gather = "pool",
        excite: Excite = None,
        height: int | None = None,
        width: int | None = None,
    ) -> None:
        """Make the block for `channels` = C; the hidden width of its mlp is p = C // ratio.

        `height` and `width` bind a global convolution to one H x W; nothing else asks for them.
        Raises ValueError where an option has no such value, the ratio leaves no channel, or the
        size is needed and not given.
        """
        super().__init__()
        for name, value, choices in (
            ("extent", extent, Extent),
            ("gather", gather, Gather),
            ("excite", excite, Excite),
        ):
            if isinstance(value, bool) or value not in get_args(choices):
                allowed = ", ".join(str(choice).lower() for choice in get_args(choices))
                came = value if isinstance(value, str) else str(value).lower()
                raise ValueError(f"{name}={came} is not one of {allowed}")
        if channels < 1:
            raise ValueError(f"channels={channels} is not 1 or more")
        if excite == "mlp" and not 1 <= ratio <= channels:
            raise ValueError(
                f"ratio={ratio} leaves no channel of {channels}: it must be 1 to {channels}"
            )
        self.extent, self.gather = extent, gather
        self.hidden = channels // ratio if excite == "mlp" else 0
        self.size: tuple[int, int] | None = None
        if gather == "pool":
            self.gathering: nn.Module = nn.Identity()
        elif extent:
            self.gathering = _strided(channels, int(log2(extent)))
        elif height is None or width is None or min(height, width) < 1:
            raise ValueError("gather=conv over all positions needs the height and width of x")
        else:
            self.size = height, width
            self.gathering = nn.Sequential(
                nn.Conv2d(channels, channels, self.size, groups=channels, bias=False),
                nn.BatchNorm2d(channels),
            )
        if self.hidden:
            self.fc1 = nn.Conv2d(channels, self.hidden, 1)
            self.act = nn.ReLU(inplace=True)
            self.fc2 = nn.Conv2d(self.hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W). Raises ValueError at another size than it is bound to."""
        B, _, H, W = x.shape
        self._require_fitting(B, H, W)
        gathered = self.gathered(x)
        if self.hidden:
            gathered = self.fc2(self.act(self.fc1(gathered)))
        if self.extent:
            gathered = F.interpolate(gathered, (H, W))
        return x * torch.sigmoid(gathered)

    def gathered(self, x: Tensor) -> Tensor:
        """G: (B, C, H, W) -> (B, C, h, w), with h = w = 1 where it gathers all positions."""
        if self.gather == "conv":
            return self.gathering(x)
        if not self.extent:
            return x.mean((2, 3), keepdim=True)
        e = self.extent
        return F.avg_pool2d(x, 2 * e - 1, e, e - 1, count_include_pad=False)

    def _require_fitting(self, B: int, H: int, W: int) -> None:
        if self.size not in (None, (H, W)):
            raise ValueError(f"it is built for {'x'.join(map(str, self.size or ()))}, not {H}x{W}")
        if self.training and self.gather == "conv" and B * self._windows(H, W)[-1] == 1:
            raise ValueError(
                "training leaves the last batch norm a single value for each channel: "
                "take a larger batch, or a smaller extent"
            )

    def _windows(self, H: int, W: int) -> list[int]:
        """Windows that are gathered after each halving of the map; 1 where it gathers all."""
        if not self.extent:
            return [1]
        steps = range(1, int(log2(self.extent)) + 1)
        return [-(-H // 2**i) * -(-W // 2**i) for i in steps]

    def letters(self, shape: tuple[int, int, int, int]) -> dict[str, int]:
        """Name the quantities that the closed forms are written in, at shape (B, C, H, W).

        Raises ValueError at another size than it is bound to.
        """
        B, C, H, W = shape
        if self.size not in (None, (H, W)):
            self._require_fitting(B, H, W)
        windows = self._windows(H, W)
        return {"B": B, "C": C, "N": H * W, "p": self.hidden, "M": windows[-1], "S": sum(windows)}

    def closed_form(self, B: int, C: int, N: int, p: int, M: int, S: int) -> dict[str, int]:
        """Parameters, MACs of a forward pass, and elements that must move.

        A global convolution has a tap for each position and channel; those of stride 2 have 9 taps
        at each window and channel. The mlp's two layers act on M windows. Where a gate depends on
        all of x, that is read twice and z written once, 3 BCN elements; with windows once is
        enough: 2 BCN.
        """
        params = macs = 0
        if self.gather == "conv" and self.extent:
            params, macs = int(log2(self.extent)) * (9 * C + 2 * C), 9 * C * S
        elif self.gather == "conv":
            params, macs = C * N + 2 * C, C * N
        if self.hidden:
            params, macs = params + 2 * C * p + p + C, macs + 2 * C * p * M
        passes = 2 if self.extent else 3
        return {"params": params, "macs": B * macs, "min_elements": passes * B * C * N + params}


def _strided(channels: int, steps: int) -> nn.Sequential:
    """Depthwise convolutions that halve the map so many times."""
    layers: list[nn.Module] = []
    for _ in range(steps):
        layers += [
            nn.Conv2d(channels, channels, 3, 2, 1, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers[:-1])
