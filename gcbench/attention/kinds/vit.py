"""timm's Attention, that of its ViT and DeiT; `timm/layers/attention.py`.

https://github.com/huggingface/pytorch-image-models. Rows are the softmax of its unfused path, also
where it takes the fused one, which keeps none. Statistics are made for each head by itself, and
averaged over heads. What it adds is its output: the sum with the input is the model's business.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from gcbench.attention.calls import Call
from gcbench.attention.kinds.tokens import OverTokens
from gcbench.units import counted


def calls(module: Any, arguments: dict[str, Any], output: Tensor) -> Iterator[Call]:
    """Make a call for each sequence of x (B, N, C), queries, keys and values as the block does."""
    x = arguments["x"]
    B, N, _ = x.shape
    qkv = module.qkv(x).reshape(B, N, 3, module.num_heads, module.head_dim)
    queries, keys, values = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, N, d)
    queries, keys = module.q_norm(queries) * module.scale, module.k_norm(keys)
    bias = _bias(arguments, queries)
    for sequence in range(B):
        q, k, v = (each[sequence] for each in (queries, keys, values))

        def rows(at: Tensor, q: Tensor = q, k: Tensor = k, sequence: int = sequence) -> Tensor:
            at = at.to(q.device)
            logits = q[:, at] @ k.transpose(1, 2)
            return (logits if bias is None else logits + bias[sequence][:, at]).softmax(2)

        def replay(rows: Tensor, at: Tensor, v: Tensor = v, sequence: int = sequence) -> Tensor:
            heads = (rows @ v).transpose(0, 1).flatten(1)  # (n, heads * d)
            return _projected(module, heads, x[sequence, at.to(x.device)])

        yield Call(
            inputs=x[sequence],
            added=output[sequence],
            keys=N,
            heads=module.num_heads,
            rows=rows,
            replay=replay,
            query_grid=None,
            key_grid=None,
            subtracted=False,
        )


def _bias(arguments: dict[str, Any], q: Tensor) -> Tensor | None:
    """What a mask adds to the logits: (B, heads, N, N), or nothing."""
    B, heads, N, _ = q.shape
    mask = arguments["attn_mask"]
    if arguments.get("is_causal"):  # older versions of timm have no such mask
        mask = q.new_ones(N, N, dtype=torch.bool).tril()
    if mask is None:
        return None
    if mask.dtype == torch.bool:
        mask = q.new_zeros(mask.shape).masked_fill(~mask, float("-inf"))
    bias: Tensor = mask.expand(B, heads, N, N)
    return bias


def _projected(module: Any, heads: Tensor, x: Tensor) -> Tensor:
    """What becomes of the values that n queries gathered, (n, heads * d), where they had x."""
    y = module.norm(heads)
    gate = getattr(module, "gate", None)  # older versions of timm have none
    output: Tensor = module.proj(y if gate is None else y * gate(x).sigmoid())
    return output


def map_bytes(module: Any, arguments: dict[str, Any]) -> int:
    """The maps of all heads and their softmax; the fused path keeps none."""
    if module.fused_attn:
        return 0
    B, N, _ = arguments["x"].shape
    return int(2 * B * module.num_heads * N**2 * arguments["x"].element_size())


def detail(module: Any) -> str:
    """The number of heads, and whether queries and keys are normalised."""
    normed = "" if isinstance(module.q_norm, nn.Identity) else ", qk_norm"
    return f"{counted(module.num_heads, 'head')}{normed}"


def no_distribution(module: Any) -> str | None:
    """Its rows are a softmax."""
    return None


def as_block(module: Any) -> nn.Module:
    """Let it take (B, C, H, W), every position a query and a key, and add what it gives."""
    if module.proj.out_features != module.qkv.in_features:
        raise ValueError("what it gives has a width of its own")
    return OverTokens(module, nn.Module.__call__)
