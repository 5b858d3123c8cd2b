"""gcbench's self-attention with heads: plain, and that of the Bottleneck Transformer.

Statistics are made for each head by itself, and averaged over heads. Rows are those of the
written-out products, also where the block asks for the fused ones, which keep none.
"""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from gcbench.attention.calls import Call
from gcbench.blocks.bot import BottleneckAttention
from gcbench.blocks.mhsa import MultiHeadSelfAttention
from gcbench.units import counted


def calls(
    module: MultiHeadSelfAttention | BottleneckAttention, arguments: dict[str, Any], output: Tensor
) -> Iterator[Call]:
    """Make a call for each image; without a residual, what it adds is what it gives."""
    x = arguments["x"]
    queries, keys, values = module.by_head(x)
    grid = (x.shape[2], x.shape[3])
    residual = isinstance(module, MultiHeadSelfAttention) and module.residual
    for image in range(x.shape[0]):
        q, k, v = (each[image] for each in (queries, keys, values))  # (heads, N, d)

        def rows(at: Tensor, q: Tensor = q, k: Tensor = k) -> Tensor:
            at = at.to(q.device)
            if isinstance(module, MultiHeadSelfAttention):
                return module.attention(q[None, :, at], k[None])[0]
            return _with_positions(module, q[:, at], k, at)

        def replay(rows: Tensor, at: Tensor, v: Tensor = v) -> Tensor:
            y: Tensor = (rows.to(v.dtype) @ v).transpose(0, 1).flatten(1)  # (n, C)
            if not isinstance(module, MultiHeadSelfAttention):
                return y
            projected: Tensor = module.proj(y.T[None, :, :, None])[0, :, :, 0].T
            return projected

        before, given = x[image].flatten(1).T, output[image].flatten(1).T
        yield Call(
            inputs=before,
            added=given - before if residual else given,
            keys=grid[0] * grid[1],
            heads=module.heads,
            rows=rows,
            replay=replay,
            query_grid=grid,
            key_grid=grid,
            subtracted=residual,
        )


def _with_positions(module: BottleneckAttention, q: Tensor, k: Tensor, at: Tensor) -> Tensor:
    """Rows of n queries (heads, n, d), each distance looked up: (heads, n, N)."""
    H, W = module.size
    scaled = q * q.shape[2] ** -0.5
    asked = scaled if module.scale_position else q
    down = module.height_rel[_distances(at // W, H)]  # (n, H, d)
    across = module.width_rel[_distances(at % W, W)]  # (n, W, d)
    of_rows = (down @ asked.permute(1, 2, 0)).permute(2, 0, 1)  # (heads, n, H)
    of_columns = (across @ asked.permute(1, 2, 0)).permute(2, 0, 1)
    position = of_rows.unsqueeze(3) + of_columns.unsqueeze(2)  # (heads, n, H, W)
    logits: Tensor = scaled @ k.transpose(1, 2) + position.flatten(2)
    return logits.softmax(2)


def _distances(own: Tensor, length: int) -> Tensor:
    """The number of the learnt row for each place of a line, as seen from n of them."""
    places = own.new_tensor(range(length))
    return places[None] - own[:, None] + length - 1


def map_bytes(
    module: MultiHeadSelfAttention | BottleneckAttention, arguments: dict[str, Any]
) -> int:
    """The maps of all heads and what becomes of them; the fused products keep none."""
    x = arguments["x"]
    B, _, H, W = x.shape
    # bot adds the positions to the logits
    kept = (0 if module.sdpa else 2) if isinstance(module, MultiHeadSelfAttention) else 3
    return int(kept * B * module.heads * (H * W) ** 2 * x.element_size())


def detail(module: MultiHeadSelfAttention | BottleneckAttention) -> str:
    """The number of heads."""
    return counted(module.heads, "head")


def no_distribution(module: nn.Module) -> str | None:
    """Its rows are a softmax."""
    return None


def as_block(module: nn.Module) -> nn.Module:
    """It is one."""
    return module
