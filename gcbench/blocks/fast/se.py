"""The Squeeze-and-Excitation block, fast: `gcbench/blocks/se.py` with its layers as functions.

The average and the product with the gates each pass over x once, as they must, so at large maps
there is little to save. What is between has one position: its layers are called as functions, in
place where a result is nobody else's, which spares small maps the calls of modules. Gradients are
autograd's own. On CUDA, inference takes three kernels: see `gpu.py`.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gcbench.blocks.fast import gpu
from gcbench.blocks.fast.calling import is_plain, weights

if TYPE_CHECKING:
    from gcbench.blocks.se import SqueezeExcitation


def forward(block: "SqueezeExcitation", x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, H, W)."""
    layers: tuple[Any, ...] = tuple(block._modules.values())
    if not is_plain(x, *layers):
        return block.reference(x)
    _, narrow, relu, widen, _ = layers
    if not torch.is_grad_enabled():
        scaling = (narrow, None, relu, widen)
        if gpu.takes_kernels(x, scaling):
            return gpu.forward(x, None, scaling, ())
    hidden = F.conv2d(x.mean((2, 3), keepdim=True), *weights(narrow)).relu_()
    return x * F.conv2d(hidden, *weights(widen)).sigmoid_()
