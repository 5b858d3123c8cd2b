"""The roads that torch has to a product of two square matrices: each does the same FLOP.

Libraries differ by a factor of two and more in what they make of one product, and torch takes one
or the other by the shape, the layout and the number of threads. So a ceiling is the best of all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from gcbench.records import RoadKind
from gcbench.spec.cases import Layout

Call = Callable[[], Tensor]


@dataclass(frozen=True)
class Road:
    """A way to multiply two matrices (n, n): `make` takes them and returns what is called.

    `why_not` says for a device and a dtype why it cannot be taken, where that is known before.
    """

    name: str
    kind: RoadKind
    make: Callable[[Tensor, Tensor], Call]
    why_not: Callable[[str, str], str | None] = lambda device, dtype: None

    def named(self, device: str, dtype: str) -> str:
        """The road's name, with the library that does it where torch tells."""
        if self.kind != "product":
            return self.name
        if device != "cpu":
            return f"{self.name} (cuBLAS)"
        by_mkl = torch.backends.mkl.is_available() and dtype in ("float32", "float64")
        return f"{self.name} (MKL)" if by_mkl else self.name


def roads(device: str) -> tuple[Road, ...]:
    """The roads that a device may have."""
    return tuple(road for road in ROADS if device == "cpu" or road.kind != "inner product")


def _matrices(a: Tensor, b: Tensor) -> Call:
    return lambda: a @ b


def _inner_by_onednn(a: Tensor, b: Tensor) -> Call:
    """a @ b^T by oneDNN's inner product, the weights in the order that it likes best."""
    packed = torch.ops.mkldnn._reorder_linear_weight(b, a.shape[0])
    inner = torch.ops.mkldnn._linear_pointwise
    return lambda: inner(a, packed, None, "none", [], "")


def _inner_by_mkl(a: Tensor, b: Tensor) -> Call:
    """a @ b^T by MKL, the weights packed before."""
    packed = torch.ops.mkl._mkl_reorder_linear_weight(b, a.shape[0])
    inner = torch.ops.mkl._mkl_linear
    return lambda: inner(a, packed, b, None, a.shape[0])


def _without_onednn(device: str, dtype: str) -> str | None:
    if not torch.backends.mkldnn.is_available():
        return "torch is built without oneDNN"
    if dtype == "float64":
        return "oneDNN has no float64"
    supported = {
        "bfloat16": torch.ops.mkldnn._is_mkldnn_bf16_supported,
        "float16": torch.ops.mkldnn._is_mkldnn_fp16_supported,
    }
    if dtype in supported and not supported[dtype]():
        return f"oneDNN has no {dtype} on this processor"
    return None


def _without_mkl(device: str, dtype: str) -> str | None:
    if not torch.backends.mkl.is_available():
        return "torch is built without MKL"
    return None if dtype == "float32" else "torch packs for MKL in float32 alone"


def _convolved(batch: int, square: bool, layout: Layout, a: Tensor, b: Tensor) -> Call:
    """The same as a 1x1 convolution of as many positions as `a` has rows, by the weights `b`.

    They lie in so many maps, each a column or as near a square as halving allows.
    """
    channels, places = a.shape[1], a.shape[0] // batch
    height = 2 ** (places.bit_length() // 2) if square else places
    sides = height, places // height
    if layout == "channels_last":
        x = a.view(batch, *sides, channels).permute(0, 3, 1, 2)
        weight = b.view(channels, 1, 1, channels).permute(0, 3, 1, 2)
    else:
        x, weight = a.view(batch, channels, *sides), b.view(channels, channels, 1, 1)
    return lambda: conv2d(x, weight)


def _convolution(batch: int, square: bool, layout: Layout) -> Road:
    words = [f"1x1 conv, batch {batch}", *([] if square else ["a column"]), layout]
    return Road(", ".join(words), "convolution", partial(_convolved, batch, square, layout))


ROADS: tuple[Road, ...] = (
    Road("mm", "product", _matrices),
    Road("oneDNN inner product", "inner product", _inner_by_onednn, _without_onednn),
    Road("MKL packed linear", "inner product", _inner_by_mkl, _without_mkl),
    # torch takes oneDNN for one thread from a batch of 16 on, and by the layout
    _convolution(1, False, "contiguous"),
    _convolution(1, True, "contiguous"),
    _convolution(1, False, "channels_last"),
    _convolution(1, True, "channels_last"),
    _convolution(16, True, "contiguous"),
    _convolution(16, True, "channels_last"),
)
