"""Whether a block with one context runs by Triton's kernels, and the way from its layers to them.

They are taken on CUDA, in inference, for dense float32, bfloat16 and float16. Where Triton is
missing, or sizes are beyond what one program can hold, the plain way is taken.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gcbench.blocks.fast.calling import is_eager, weights

if TYPE_CHECKING:
    from gcbench.blocks.fast.kernels import Bottleneck, Parts

_DTYPES = frozenset({torch.float32, torch.bfloat16, torch.float16})
# what a program holds in registers, and how many programs an axis of a grid has
MOST_CHANNELS, MOST_HIDDEN, MOST_IMAGES = 4096, 256, 65535


def takes_kernels(x: Tensor, *transforms: tuple[Any, ...]) -> bool:
    """Tell whether the kernels take x and these layers."""
    return x.is_cuda and is_eager(x) and fits(x, *transforms) and _has_triton()


def fits(x: Tensor, *transforms: tuple[Any, ...]) -> bool:
    """Tell whether x and the layers are of a kind and size that the kernels are written for."""
    return (
        x.dtype in _DTYPES
        and len(x) <= MOST_IMAGES
        and x.shape[1] <= MOST_CHANNELS
        and all(layers[0].out_channels <= MOST_HIDDEN for layers in transforms if len(layers) > 1)
        and (x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last))
    )


@cache
def _has_triton() -> bool:
    try:
        import triton  # noqa: F401
    except ImportError:
        return False
    return True


def forward(
    x: Tensor, weight: Tensor | None, scaling: tuple[Any, ...], adding: tuple[Any, ...]
) -> Tensor:
    """Pool by a weight, or on average, transform by layers, and fuse: (B, C, H, W), the same."""
    from gcbench.blocks.fast import kernels

    parts = kernels.pooled(x, weight)
    scale = _transformed(parts, scaling, x.dtype, sigmoid=True) if scaling else None
    addend = _transformed(parts, adding, x.dtype, sigmoid=False) if adding else None
    return kernels.fused(x, scale, addend)


def _transformed(
    parts: "Parts", layers: tuple[Any, ...], dtype: torch.dtype, sigmoid: bool
) -> Tensor:
    from gcbench.blocks.fast import kernels

    if len(layers) > 1:
        return kernels.transformed(parts, bottleneck(layers), sigmoid)
    t = F.conv2d(kernels.combined(parts, dtype), *weights(layers[0]))
    return t.sigmoid_() if sigmoid else t


def bottleneck(layers: tuple[Any, ...]) -> "Bottleneck":
    """The weights of a convolution, a norm or none, a ReLU or none, and a convolution."""
    from gcbench.blocks.fast.kernels import Bottleneck

    first, norm, relu, last = layers
    gain, shift, eps = None, None, 0.0
    if norm.__class__ is nn.LayerNorm:
        (gain, shift), eps = weights(norm), norm.eps
    return Bottleneck(*weights(first), gain, shift, eps, relu.__class__ is nn.ReLU, *weights(last))
