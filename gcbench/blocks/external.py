"""The External Attention block.

Guo, Liu, Mu, Hu: "Beyond Self-attention: External Attention using Two Linear Layers for Visual
Tasks", 2021, arXiv 2105.02358. Keys and values are S learnt memories instead of positions:

    y = W_1 x,   A = softmax over positions of M_k y (S x N), then divided by its sum over the S
    z = relu(x + BN(W_2 M_v A))            project=true
    z = x + M_v A, from y = x              project=false

1e-9 is added to the sum. tied=true has one memory for both, M_v = M_k^T. The bias of W_1 has no
effect.

Reference code consulted: the authors', whose names of weights are kept. There M_v starts as a view
of M_k^T and both are trained and counted apart; a copy or a conversion of the block unties them.
That is tied=false here, with weights drawn apart. For the last ReLU project=true is the identity at
no start.
"""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn


class ExternalAttention(nn.Module):
    """Attention to S learnt memories, normalised over positions and over memories."""

    LETTERS: ClassVar = {"S": "memories"}

    def __init__(
        self, channels: int, *, memory: int = 64, project: bool = True, tied: bool = False
    ) -> None:
        """Make the block for `channels` = C, with S = `memory`.

        Raises ValueError where there is no channel or no memory.
        """
        super().__init__()
        for name, value in (("channels", channels), ("memory", memory)):
            if value < 1:
                raise ValueError(f"{name}={value} is not 1 or more")
        self.memory, self.project = memory, project
        self.conv1 = nn.Conv2d(channels, channels, 1) if project else nn.Identity()
        self.linear_0 = nn.Conv1d(channels, memory, 1, bias=False)
        self.linear_1 = None if tied else nn.Conv1d(memory, channels, 1, bias=False)
        self.conv2 = (
            nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels))
            if project
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W). Raises ValueError where a batch norm cannot train."""
        if self.training and self.project and x.numel() == x.shape[1]:
            raise ValueError("training at B = H = W = 1 leaves the batch norm a single value")
        attention = self.linear_0(self.conv1(x).flatten(2)).softmax(2)  # (B, S, N)
        attention = attention / (1e-9 + attention.sum(1, keepdim=True))
        if self.linear_1 is None:
            y = F.conv1d(attention, self.linear_0.weight.transpose(0, 1))
        else:
            y = self.linear_1(attention)
        y = y.unflatten(2, x.shape[2:])
        # not relu(), whose gradient needs what it returned, and a network may add to that in place
        return x + y if self.conv2 is None else (x + self.conv2(y)).clamp_min(0)

    def letters(self, shape: tuple[int, int, int, int]) -> dict[str, int]:
        """Name the quantities that the closed forms are written in, at shape (B, C, H, W)."""
        B, C, H, W = shape
        return {"B": B, "C": C, "N": H * W, "S": self.memory}

    def closed_form(self, B: int, C: int, N: int, S: int) -> dict[str, int]:
        """Parameters, MACs of a forward pass, and elements that must move.

        Both memories take CS MACs at each position, W_1 and W_2 take C^2 each. Every output depends
        on all of x, so x is read twice and z written once: 3 BCN elements.
        """
        params = (1 if self.linear_1 is None else 2) * C * S
        macs = N * 2 * C * S
        if self.project:
            params, macs = params + 2 * C * C + 3 * C, macs + N * 2 * C * C
        return {"params": params, "macs": B * macs, "min_elements": 3 * B * C * N + params}

    def alive_bytes(self, B: int, C: int, N: int, S: int, e: int) -> tuple[int, ...]:
        """Bytes of e-byte elements that a forward pass holds, at each moment that may be its peak.

        While the map is normalised: it twice, and its sums. While y is made: its input and the map.
        When z is written: the map, y, and two more of its size; in the norm also two statistics, of
        4 bytes at least.
        """
        moments = [e * B * (2 * S * N + N), e * B * (S * N + 2 * C * N)]
        if self.project:
            moments.append(e * B * (S * N + 3 * C * N) + 2 * C * max(e, 4))
        return tuple(moments)
