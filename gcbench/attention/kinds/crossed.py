"""gcbench's Criss-Cross block: the rows of its last application, over all positions.

A query attends to its row and column; in a row over all N positions the others weigh nothing, so
that rows of different queries can be compared.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from gcbench.attention.calls import Call
from gcbench.blocks.cc import CrissCrossAttention


def calls(module: CrissCrossAttention, arguments: dict[str, Any], output: Tensor) -> Iterator[Call]:
    """Make a call for each image, of the last application: its input, and what it added."""
    x = arguments["x"]
    for _ in range(module.recurrence - 1):
        x = x + module.gamma * module.gathered(x)
    weights = module.attention(module.query(x), module.key(x))  # (B, H, W, H + W)
    values = module.value(x).flatten(2).transpose(1, 2)  # (B, N, C)
    grid = (x.shape[2], x.shape[3])
    for image in range(x.shape[0]):

        def rows(at: Tensor, image: int = image) -> Tensor:
            return _over_all(weights[image], at.to(x.device))[None]

        def replay(rows: Tensor, at: Tensor, image: int = image) -> Tensor:
            added: Tensor = module.gamma * (rows[0].to(values.dtype) @ values[image])
            return added

        before = x[image].flatten(1).T
        yield Call(
            inputs=before,
            added=output[image].flatten(1).T - before,
            keys=grid[0] * grid[1],
            heads=1,
            rows=rows,
            replay=replay,
            query_grid=grid,
            key_grid=grid,
        )


def _over_all(weights: Tensor, at: Tensor) -> Tensor:
    """Rows of some queries over all positions: (H, W, H + W) and n of N -> (n, N)."""
    H, W, _ = weights.shape
    i, j, number = at // W, at % W, torch.arange(len(at), device=at.device)
    of_column, of_row = weights[i, j].split([H, W], 1)
    rows = weights.new_zeros(len(at), H, W)
    rows[number, :, j] = of_column
    # the own position is masked in the column, and stands in the row
    rows[number, i] += of_row
    return rows.flatten(1)


def map_bytes(module: CrissCrossAttention, arguments: dict[str, Any]) -> int:
    """Logits of columns and rows, joined, and their softmax."""
    x = arguments["x"]
    B, _, H, W = x.shape
    return int(3 * B * H * W * (H + W) * x.element_size())


def detail(module: CrissCrossAttention) -> str:
    """Which application it is."""
    return f"application {module.recurrence} of {module.recurrence}"


def no_distribution(module: CrissCrossAttention) -> str | None:
    """Its rows are a softmax."""
    return None


def as_block(module: nn.Module) -> nn.Module:
    """It is one."""
    return module
