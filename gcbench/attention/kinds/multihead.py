"""torch's nn.MultiheadAttention. Rows come from its own forward, asked for a part of the queries.

So masks, biases and separate widths of keys count as they do in the block. Statistics are made
for each head by itself, and averaged over heads. What it adds is its output: the sum with the input
is the model's business.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from gcbench.attention.calls import Call
from gcbench.attention.kinds.tokens import OverTokens
from gcbench.units import counted


def calls(module: nn.MultiheadAttention, arguments: dict[str, Any], output: Any) -> Iterator[Call]:
    """Make a call for each sequence of the batch, and one where there is no batch."""
    query, key, value = (
        _batch_first(module, arguments[name]) for name in ("query", "key", "value")
    )
    given = output[0] if isinstance(output, tuple) else output
    added = _batch_first(module, given)
    for sequence in range(query.shape[0]):
        yield _call(module, arguments, (query, key, value), added, sequence)


def _call(
    module: nn.MultiheadAttention,
    arguments: dict[str, Any],
    tensors: tuple[Tensor, Tensor, Tensor],
    added: Tensor,
    sequence: int,
) -> Call:
    query, key, value = (tensor[sequence : sequence + 1] for tensor in tensors)
    padding = arguments["key_padding_mask"]
    if padding is not None:
        padding = padding.reshape(-1, padding.shape[-1])[sequence : sequence + 1]
    mask = arguments["attn_mask"]
    if mask is not None and mask.ndim == 3:
        mask = mask[sequence * module.num_heads : (sequence + 1) * module.num_heads]

    def asked(at: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (n, E) and rows (heads, n, K) at the positions of n queries."""
        at = at.to(query.device)
        output, rows = module.forward(
            _batch_first(module, query[:, at]),
            _batch_first(module, key),
            _batch_first(module, value),
            key_padding_mask=padding,
            need_weights=True,
            attn_mask=None if mask is None else mask[..., at, :],
            average_attn_weights=False,
        )
        assert rows is not None
        return _batch_first(module, output)[0], rows[0]

    inputs = query[0]
    keys = asked(torch.zeros(1, dtype=torch.long))[1].shape[-1]
    return Call(
        inputs=inputs,
        added=added[sequence],
        keys=keys,
        heads=module.num_heads,
        rows=lambda at: asked(at)[1],
        replay=lambda rows, at: asked(at)[0],
        query_grid=None,
        key_grid=None,
        subtracted=False,
    )


def _batch_first(module: nn.MultiheadAttention, tensor: Tensor) -> Tensor:
    """(B, L, E) of whatever order the module has, and back; B is 1 where there is no batch."""
    if tensor.ndim == 2:
        return tensor.unsqueeze(0)
    return tensor if module.batch_first else tensor.transpose(0, 1)


def map_bytes(module: nn.MultiheadAttention, arguments: dict[str, Any]) -> int:
    """The maps of all heads and their softmax, where the weights are asked for; else none."""
    if not arguments["need_weights"]:
        return 0
    query, key = (_batch_first(module, arguments[name]) for name in ("query", "key"))
    numbers = query.shape[0] * query.shape[1] * key.shape[1] * module.num_heads
    return int(2 * numbers * query.element_size())


def detail(module: nn.MultiheadAttention) -> str:
    """The number of heads."""
    return counted(module.num_heads, "head")


def no_distribution(module: nn.MultiheadAttention) -> str | None:
    """Its rows are a softmax."""
    return None


def as_block(module: nn.MultiheadAttention) -> nn.Module:
    """Let it take (B, C, H, W), every position a query and a key, and add what it gives."""
    if module.in_proj_weight is None:
        raise ValueError("its keys and values have widths of their own")
    return OverTokens(module, _attended)


def _attended(module: nn.Module, tokens: Tensor) -> Tensor:
    """(B, N, C) -> (B, N, C), whatever order the module has."""
    assert isinstance(module, nn.MultiheadAttention)
    inputs = _batch_first(module, tokens)
    return _batch_first(module, module(inputs, inputs, inputs, need_weights=False)[0])
