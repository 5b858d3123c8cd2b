"""The simplified Non-local block.

Cao et al., arXiv 1904.11492, equations 2 and 3: one attention map for every query,

    z = x + sum_j a_j (W_v x_j),   a = softmax_j(W_k x_j)       hoist=false (equation 2)
    z = x + W_v (sum_j a_j x_j)                                 hoist=true  (equation 3)

Both are the same function, bias included, since the weights a_j sum to 1; hoisting takes W_v from
O(C^2 N) to O(C^2). No reference code exists for it: the authors' block without a bottleneck
(gc:bottleneck=false here) is the hoisted form.

impl=fast computes the same from the same weights by other operators, and hoists whatever `hoist`
says: see `fast/snl.py`.
"""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from gcbench.blocks.fast import snl as fast

Impl = Literal["reference", "fast"]


class SimplifiedNonLocal(nn.Module):
    """One attention map shared by every position, and one C x C convolution."""

    def __init__(
        self,
        channels: int,
        *,
        hoist: bool = True,
        zero_init: bool = False,
        impl: Impl = "reference",
    ) -> None:
        """Make the block for `channels` = C; W_v acts after the pooling where `hoist` is set.

        Raises ValueError where there is no such `impl`.
        """
        super().__init__()
        if impl not in get_args(Impl):
            raise ValueError(f"impl={str(impl).lower()} is not one of {', '.join(get_args(Impl))}")
        self.impl = impl
        self.hoist = hoist or impl == "fast"
        self.key = nn.Conv2d(channels, 1, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        if zero_init:
            for parameter in self.value.parameters():
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        if not torch.jit.is_scripting() and self.impl == "fast":  # type: ignore[attr-defined]
            return fast.forward(self, x)
        return self.reference(x)

    def reference(self, x: Tensor) -> Tensor:
        """Compute the equation that is chosen: (B, C, H, W) -> (B, C, H, W)."""
        attention = self.key(x).flatten(2).softmax(-1).transpose(1, 2)  # (B, N, 1)
        if self.hoist:
            return x + self.value((x.flatten(2) @ attention).unsqueeze(-1))
        return x + (self.value(x).flatten(2) @ attention).unsqueeze(-1)

    def letters(self, shape: tuple[int, int, int, int]) -> dict[str, int]:
        """Name the quantities that the closed forms are written in, at shape (B, C, H, W)."""
        B, C, H, W = shape
        return {"B": B, "C": C, "N": H * W}

    def closed_form(self, B: int, C: int, N: int) -> dict[str, int]:
        """Parameters, MACs of a forward pass, and elements that must move.

        W_k and the weighted sum take CN MACs each; W_v takes C^2 at one position, or at all N.
        Every output depends on all of x, so x is read twice and z written once: 3 BCN elements.
        """
        params = (C + 1) + (C * C + C)
        value_macs = C * C if self.hoist else C * C * N
        return {
            "params": params,
            "macs": B * (2 * C * N + value_macs),
            "min_elements": 3 * B * C * N + params,
        }

    def alive_bytes(self, B: int, C: int, N: int, e: int) -> tuple[int, ...]:
        """Bytes of e-byte elements that a forward pass holds, at each moment that may be its peak.

        When z is written: z, what is added to every position, and the attention map. impl=fast has
        no map any more then, so the moment that made it of its logits may hold more.
        """
        if self.impl == "fast":
            return e * B * (C * N + C), e * B * 2 * N
        return (e * B * (C * N + C + N),)
