"""The Global Context block, fast: what `gcbench/blocks/gc.py` computes, by fewer and cheaper calls.

- Attention pooling is two products of a matrix with a vector: see `pooling.py`.
- What follows has one position: its layers are called as functions, in place where a result is
  nobody else's, so that small maps do not pay for calls of modules.
- fusion=both writes z once, z = x * s, and adds t in place: one map less is alive, and no memory
  of that size is asked for a second time.

In training the pooling has a gradient of its own from `pooling.TRAINED_ELEMENTS` elements of x on;
smaller ones take the block's own way. What is traced, compiled or exported takes the same products
batch by batch. On CUDA, inference takes three kernels: see `gpu.py`.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gcbench.blocks.fast import gpu
from gcbench.blocks.fast.calling import is_eager, is_plain, weights
from gcbench.blocks.fast.pooling import TRAINED_ELEMENTS, pooled, pooled_to_train

if TYPE_CHECKING:
    from gcbench.blocks.gc import GlobalContext


def forward(block: "GlobalContext", x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, H, W)."""
    parts: dict[str, Any] = block._modules
    scaling, adding = (_layers(parts.get(f"channel_{how}_conv")) for how in ("mul", "add"))
    pool = parts["conv_mask"] if block.pooling == "att" else parts["avgpool"]
    if not is_plain(x, pool, *scaling, *adding):
        return block.reference(x)
    attends = block.pooling == "att"
    if not torch.is_grad_enabled() and gpu.takes_kernels(x, scaling, adding):
        return gpu.forward(x, weights(pool)[0] if attends else None, scaling, adding)
    if not attends:
        return _fused(x, x.mean((2, 3), keepdim=True), scaling, adding)
    if not torch.is_grad_enabled():
        return _fused(x, pooled(x, weights(pool)[0]), scaling, adding)
    if not is_eager(x) or x.numel() < TRAINED_ELEMENTS:
        return block.reference(x)
    context, x = pooled_to_train(x, *weights(pool))
    return _fused(x, context, scaling, adding)


def _layers(transform: nn.Sequential | None) -> tuple[Any, ...]:
    return () if transform is None else tuple(transform._modules.values())


def _fused(x: Tensor, context: Tensor, scaling: tuple[Any, ...], adding: tuple[Any, ...]) -> Tensor:
    """Transform the context (B, C, 1, 1) and fuse it into x."""
    if not scaling:
        return x + _transformed(context, adding)
    z = x * _transformed(context, scaling).sigmoid_()
    return z.add_(_transformed(context, adding)) if adding else z


def _transformed(context: Tensor, layers: tuple[Any, ...]) -> Tensor:
    """t(c): (B, C, 1, 1) -> (B, C, 1, 1)."""
    first, *others = layers
    t = F.conv2d(context, *weights(first))
    if not others:
        return t
    norm, relu, last = others
    if norm.__class__ is nn.LayerNorm:
        t = F.layer_norm(t, norm.normalized_shape, *weights(norm), norm.eps)
    if relu.__class__ is nn.ReLU:
        t = t.relu_()
    return F.conv2d(t, *weights(last))
