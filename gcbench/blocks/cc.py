"""The Criss-Cross Attention block.

Huang, Wang, Huang, Huang, Wei, Liu: "CCNet: Criss-Cross Attention for Semantic Segmentation", 2018,
arXiv 1811.11721. Each position attends to its own row and column, H + W - 1 positions:

    q = W_q x,   k = W_k x (d = C // reduction channels),   v = W_v x (C channels)
    y_u = x_u + gamma sum_j softmax_j(q_u . k_j) v_j,   over the row and the column of u, unscaled

applied `recurrence` times with the same weights: after two, every position has reached every other.
The bias of W_k has no effect.

Reference code consulted: mmcv's `CrissCrossAttention`, which is one application. As there, the own
position is computed twice, in the row and in the column, and masked in one of them, so that there
are H + W logits. Differences: gamma starts at 1 and not at 0 (zero_init=true); the mask has the
logits' dtype, where mmcv's is always float32 and so fails in half precision. The authors' whole
head has 3 x 3 convolutions around this block.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn


class CrissCrossAttention(nn.Module):
    """An attention map of its own for every position over its row and column: O(N^1.5)."""

    LETTERS: ClassVar = {"d": "inner width C // reduction", "R": "applications"}

    def __init__(
        self, channels: int, *, recurrence: int = 2, reduction: int = 8, zero_init: bool = False
    ) -> None:
        """Make the block for `channels` = C; queries and keys have d = C // reduction channels.

        Raises ValueError where the reduction leaves no channel or nothing is applied.
        """
        super().__init__()
        if not 1 <= reduction <= channels:
            raise ValueError(
                f"reduction={reduction} leaves no channel of {channels}: it must be 1 to {channels}"
            )
        if recurrence < 1:
            raise ValueError(f"recurrence={recurrence} is not 1 or more")
        self.inner, self.recurrence = channels // reduction, recurrence
        self.query = nn.Conv2d(channels, self.inner, 1)
        self.key = nn.Conv2d(channels, self.inner, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1) if zero_init else torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        for _ in range(self.recurrence):
            x = x + self.gamma * self.gathered(x)
        return x

    def gathered(self, x: Tensor) -> Tensor:
        """What each position gathers from its row and column: (B, C, H, W) -> (B, C, H, W)."""
        H, W = x.shape[2:]
        of_column, of_row = self.attention(self.query(x), self.key(x)).split([H, W], 3)
        value = self.value(x)
        columns = of_column.transpose(1, 2) @ value.permute(0, 3, 2, 1)  # (B, W, H, C)
        rows = of_row @ value.permute(0, 2, 3, 1)  # (B, H, W, C)
        return columns.permute(0, 3, 2, 1) + rows.permute(0, 3, 1, 2)

    def attention(self, query: Tensor, key: Tensor) -> Tensor:
        """Weigh column and row of each position: (B, d, H, W) twice -> (B, H, W, H + W)."""
        H = query.shape[2]
        columns = query.permute(0, 3, 2, 1) @ key.permute(0, 3, 1, 2)  # (B, W, H, H)
        own = torch.eye(H, dtype=torch.bool, device=query.device)
        columns = columns.masked_fill(own, float("-inf"))
        rows = query.permute(0, 2, 3, 1) @ key.permute(0, 2, 1, 3)  # (B, H, W, W)
        return torch.cat([columns.transpose(1, 2), rows], 3).softmax(3)

    def letters(self, shape: tuple[int, int, int, int]) -> dict[str, int]:
        """Name the quantities that the closed forms are written in, at shape (B, C, H, W)."""
        B, C, H, W = shape
        return {"B": B, "C": C, "H": H, "W": W, "d": self.inner, "R": self.recurrence}

    def closed_form(self, B: int, C: int, H: int, W: int, d: int, R: int) -> dict[str, int]:
        """Parameters, MACs of a forward pass, and elements that must move.

        Each application has three convolutions, and for every position H + W logits of d MACs and
        as many values of C. Once applied, an output depends on its row and column, so x is read
        twice and z written once: 3 BCHW elements.
        """
        params = C * C + 2 * C * d + 2 * d + C + 1
        macs = B * R * H * W * (C * C + 2 * C * d + (H + W) * (C + d))
        return {"params": params, "macs": macs, "min_elements": 3 * B * C * H * W + params}
