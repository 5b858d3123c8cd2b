"""Peak memory of one call, predicted by an account of live bytes on the meta device."""

from typing import TYPE_CHECKING

from gcbench.records import Cell

if TYPE_CHECKING:
    from gcbench.counting import Subject


def memory(subject: "Subject") -> dict[str, Cell]:
    """Predict the peak of bytes alive during one forward pass, for what cannot be measured.

    `peak_memory_bytes` counts weights, input and every tensor that the call makes;
    `activation_memory_bytes` is the same less weights and input. What a kernel takes for itself
    (packed weights, reordered inputs) is not in it. Empty in modes with a backward pass, whose
    kernels make tensors on a real device that they do not make on the meta device.
    """
    if subject.case.mode != "infer":
        return dict.fromkeys(("peak_memory_bytes", "activation_memory_bytes", "memory_source"))
    return {
        "peak_memory_bytes": subject.forward.peak_bytes,
        "activation_memory_bytes": subject.forward.activation_bytes,
        "memory_source": "predicted",
    }
