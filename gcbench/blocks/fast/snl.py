"""The simplified Non-local block, fast: `gcbench/blocks/snl.py`, hoisted whatever `hoist` says.

The weights a_j of the map sum to 1, so sum_j a_j (W_v x_j + b) = W_v (sum_j a_j x_j) + b: equation
2 is equation 3, and W_v takes C^2 MACs instead of C^2 N. The pooling is that of `pooling.py`, in
training too. On CUDA, inference takes kernels: see `gpu.py`.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gcbench.blocks.fast import gpu
from gcbench.blocks.fast.calling import is_eager, is_plain, weights
from gcbench.blocks.fast.pooling import TRAINED_ELEMENTS, pooled, pooled_to_train

if TYPE_CHECKING:
    from gcbench.blocks.snl import SimplifiedNonLocal


def forward(block: "SimplifiedNonLocal", x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, H, W)."""
    key: Any = block._modules["key"]
    value: Any = block._modules["value"]
    if not is_plain(x, key, value):
        return block.reference(x)
    if not torch.is_grad_enabled():
        if gpu.takes_kernels(x):
            return gpu.forward(x, weights(key)[0], (), (value,))
        return x + F.conv2d(pooled(x, weights(key)[0]), *weights(value))
    if not is_eager(x) or x.numel() < TRAINED_ELEMENTS:
        return block.reference(x)
    context, x = pooled_to_train(x, *weights(key))
    return x + F.conv2d(context, *weights(value))
