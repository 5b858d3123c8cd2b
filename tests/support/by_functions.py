"""MACs by another road than gcbench's: of the functions that a module calls in Python."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


def _convolved(out, x, weight, *_, **__):
    return out.numel() * math.prod(weight.shape[1:])


def _linear(out, x, weight, *_, **__):
    return out.numel() * weight.shape[-1]


def _product(out, a, b, *_, **__):
    return out.numel() * a.shape[-1]


def _added_product(out, c, a, b, *_, **__):
    return out.numel() * a.shape[-1]


def _attended(out, q, k, v, *_, **__):
    return q.numel() * k.shape[-2] + out.numel() * k.shape[-2]


def _einsum(out, equation, *operands):
    """Of two operands, whatever is summed over; nothing where nothing is."""
    inputs, _, result = equation.replace(" ", "").partition("->")
    sizes = {}
    for letters, operand in zip(inputs.split(","), operands, strict=True):
        sizes |= dict(zip(letters, operand.shape, strict=True))
    return math.prod(sizes.values()) if set(sizes) - set(result) else 0


FUNCTIONS = {
    **dict.fromkeys((torch.conv1d, torch.conv2d, torch.conv3d), _convolved),
    F.linear: _linear,
    **dict.fromkeys(
        (torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, torch.mm), _product
    ),
    **dict.fromkeys((torch.addmm, torch.baddbmm), _added_product),
    F.scaled_dot_product_attention: _attended,
    torch.einsum: _einsum,
}


class Functions(TorchFunctionMode):
    """Adds up what the functions of the table cost, from their outputs."""

    def __init__(self):
        super().__init__()
        self.macs = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func in FUNCTIONS:
            self.macs += FUNCTIONS[func](out, *args, **(kwargs or {}))
        return out


@torch.no_grad()
def macs_of(module: nn.Module, x: Tensor) -> int:
    """The MACs of a forward pass of a real module in eval."""
    counting = Functions()
    with counting:
        module.eval()(x)
    return counting.macs
