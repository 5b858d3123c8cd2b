"""Under what a block is called: which ways to compute it are open there.

A fast way reads the weights of a block's layers and calls operators on them itself. So it is open
only where calling the layers would do just that, and some ways only where tensors have numbers and
operators run at once.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

# layers that are known, and whether they have weights
_KNOWN: dict[type, bool] = {
    **dict.fromkeys((nn.Conv2d, nn.LayerNorm, nn.BatchNorm2d), True),
    **dict.fromkeys((nn.ReLU, nn.Sigmoid, nn.Identity, nn.AdaptiveAvgPool2d, nn.MaxPool2d), False),
}


def is_plain(x: Tensor, *layers: Any, hooks: bool = False) -> bool:
    """Tell whether x is an image batch with elements, and the layers are what they were made as.

    A layer that was exchanged, parametrised, or has hooks must be called; `hooks` lets hooks pass,
    since whoever traces a block to count it hooks every layer. Autocast, `torch.func` and
    forward-mode differentiation rewrite operators one by one: there the reference is right.
    """
    for layer in layers:
        if _KNOWN.get(layer.__class__) is not ("weight" in layer._parameters):
            return False
        if not hooks and (
            layer._forward_hooks
            or layer._forward_pre_hooks
            or layer._backward_hooks
            or layer._backward_pre_hooks
        ):
            return False
    if torch.compiler.is_compiling():
        return x.dim() == 4
    return (
        x.dim() == 4
        and x.numel() > 0
        and not torch._C._is_any_autocast_enabled()
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
    )


def is_traced_by_jit() -> bool:
    """Tell whether `torch.jit.trace` writes calls down."""
    return torch._C._get_tracing_state() is not None


def is_traced() -> bool:
    """Tell whether calls are written down instead of run: compiled, exported or traced."""
    return torch.compiler.is_compiling() or is_traced_by_jit()


def is_eager(x: Tensor) -> bool:
    """Tell whether x has numbers, and operators run at once: neither compiled, traced nor fake."""
    return type(x) is Tensor and not x.is_meta and not is_traced()


def weights(layer: Any) -> tuple[Tensor, Any]:
    """Weight and bias (or None) of a plain layer, without the search that an attribute takes."""
    held = layer._parameters
    return held["weight"], held["bias"]
