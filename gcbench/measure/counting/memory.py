"""Peak memory of one call, predicted: by an account of live bytes, or by a closed form."""

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from gcbench.blocks.forms import alive_bytes
from gcbench.records import Cell
from gcbench.spec.cases import ELEMENT_BYTES

if TYPE_CHECKING:
    from torch import nn

    from gcbench.measure.counting import Subject
    from gcbench.spec.cases import Case


def memory(subject: "Subject") -> dict[str, Cell]:
    """Predict the peak of bytes alive during one forward pass, for what cannot be measured.

    `peak_memory_bytes` counts weights, input and every tensor that the call makes;
    `activation_memory_bytes` is the same less weights and input. What a kernel takes for itself
    (packed weights, reordered inputs) is not in it. Empty in modes with a backward pass, whose
    kernels make tensors on a real device that they do not make on the meta device.
    `memory_source` is `predicted` where a pass on the meta device tells, `formula` where a closed
    form does; both are the same to the byte.
    """
    if subject.case.mode != "infer":
        return dict.fromkeys(("peak_memory_bytes", "activation_memory_bytes", "memory_source"))
    alive = alive_bytes(subject.module, subject.case) if subject.by_form else None
    if alive is not None:
        return {
            "peak_memory_bytes": held_bytes(subject.module, subject.case) + alive,
            "activation_memory_bytes": alive,
            "memory_source": "formula",
        }
    return {
        "peak_memory_bytes": subject.forward.peak_bytes,
        "activation_memory_bytes": subject.forward.activation_bytes,
        "memory_source": "predicted",
    }


def held_bytes(module: "nn.Module", case: "Case") -> int:
    """Weights, buffers and input in bytes, in the case's dtype where they are not whole numbers."""
    element = ELEMENT_BYTES[case.dtype]
    return element * math.prod(case.input_shape) + _weight_bytes(module, element)


# a grid asks this of one module at every shape; those that are kept are a grid's own
@lru_cache(256)
def _weight_bytes(module: "nn.Module", element: int) -> int:
    return sum(
        tensor.numel() * (element if tensor.is_floating_point() else tensor.element_size())
        for tensor in (*module.parameters(), *module.buffers())
    )
