"""Multi-head self-attention over the positions of a map.

Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin: "Attention Is All You Need",
2017, arXiv 1706.03762, as a block:

    [q; k; v] = W_qkv x,   in heads of d = C / heads channels
    z = x + W_o concat_heads(softmax_j(q_i . k_j d^-0.5) v)        residual=true

The bias of W_k has no effect.

Reference code consulted: timm's `Attention2d`, whose order of weights is kept: q, k, v, the heads
within each. It has no residual, and 32 channels a head by default. sdpa=true asks torch for its
fused attention, which keeps no N x N map where the device has a kernel for it; sdpa=false writes
the two products out.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class MultiHeadSelfAttention(nn.Module):
    """An attention map of its own for every position and head: O(N^2)."""

    def __init__(
        self,
        channels: int,
        *,
        heads: int = 8,
        bias: bool = True,
        residual: bool = True,
        sdpa: bool = True,
        zero_init: bool = False,
    ) -> None:
        """Make the block for `channels` = C, in heads of C / heads channels.

        Raises ValueError where the heads do not divide the channels, or z would start as nothing.
        """
        super().__init__()
        if heads < 1 or channels < 1 or channels % heads:
            raise ValueError(f"heads={heads} does not divide {channels} channels")
        if zero_init and not residual:
            raise ValueError("zero_init=true goes with residual=true: without x, z would be 0")
        self.heads, self.bias, self.residual, self.sdpa = heads, bias, residual, sdpa
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=bias)
        self.proj = nn.Conv2d(channels, channels, 1, bias=bias)
        if zero_init:
            for parameter in self.proj.parameters():
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        q, k, v = self.by_head(x)
        fused = F.scaled_dot_product_attention
        y = fused(q, k, v) if self.sdpa else self.attention(q, k) @ v  # (B, heads, N, d)
        z = self.proj(y.transpose(2, 3).reshape(x.shape))
        return x + z if self.residual else z

    def by_head(self, x: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values: (B, C, H, W) -> three of (B, heads, N, C / heads)."""
        qkv = self.qkv(x).flatten(2).unflatten(1, (3, self.heads, -1))  # (B, 3, heads, d, N)
        qkv = qkv.transpose(3, 4)
        # fused kernels ask for the channels of a head side by side
        return (qkv.contiguous() if self.sdpa else qkv).unbind(1)

    def attention(self, q: Tensor, k: Tensor) -> Tensor:
        """Weigh every key for every query: (B, heads, N, d) and (B, heads, K, d) -> (., N, K)."""
        return (q * q.shape[3] ** -0.5 @ k.transpose(2, 3)).softmax(3)

    def letters(self, shape: tuple[int, int, int, int]) -> dict[str, int]:
        """Name the quantities that the closed forms are written in, at shape (B, C, H, W)."""
        B, C, H, W = shape
        return {"B": B, "C": C, "N": H * W}

    def closed_form(self, B: int, C: int, N: int) -> dict[str, int]:
        """Parameters, MACs of a forward pass, and elements that must move.

        W_qkv and W_o take 4 C^2 at each position; logits and weighted sum N^2 C each, whatever the
        heads. Every output depends on all of x, so x is read twice and z written once: 3 BCN
        elements.
        """
        params = 4 * C * C + (4 * C if self.bias else 0)
        macs = B * (4 * C * C * N + 2 * C * N * N)
        return {"params": params, "macs": macs, "min_elements": 3 * B * C * N + params}
