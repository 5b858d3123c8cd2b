"""Attention layers of timm, as its `create_attn` names them.

Wightman: "PyTorch Image Models", https://github.com/huggingface/pytorch-image-models; written
against timm 1.0. A layer that has a bottleneck takes `ratio` and gets rd_ratio = 1/ratio; the
hidden width is then timm's own: rounded half up for gc, gca, cbam, lcbam and ge, to a multiple of 8
for most others (timm's `rd_divisor`; `rd_divisor=1` asks for what gcbench's blocks have).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gcbench.blocks.peers.adapting import RATIO, option, scalar_options
from gcbench.blocks.peers.adapting import factory as made

# the axes decide on these
_NOT_OPTIONS = ("channels", "in_channels", "dim", "rd_ratio", "device", "dtype", "feat_size")


@dataclass(frozen=True)
class Layer:
    """What one layer is, whether rd_ratio changes it, whether it is built for one size of map."""

    page: str
    takes_ratio: bool = True
    takes_size: bool = False
    remark: str = ""


LAYERS = {
    "se": Layer("Squeeze-Excitation, arXiv 1709.01507; hidden width a multiple of 8"),
    "ese": Layer("effective Squeeze-Excitation: one C x C layer, arXiv 1911.06667", False),
    "eca": Layer("Efficient Channel Attention: a 1-d convolution, arXiv 1910.03151", False),
    "ecam": Layer("timm's eca with a hidden layer"),
    "ceca": Layer("timm's eca with circular padding", False),
    "ge": Layer(
        "Gather-Excite, arXiv 1810.12348",
        False,
        remark="timm 1.0's ge gives its MLP the activation twice and so cannot be built: "
        "use_mlp=false can, and has no weights; extra_params=true is broken in timm too",
    ),
    "gc": Layer("Global Context as timm has it by default: fusion by scaling, arXiv 1904.11492"),
    "gca": Layer("Global Context with fusion by addition, as GCNet has it, arXiv 1904.11492"),
    "cbam": Layer("Convolutional Block Attention Module, arXiv 1807.06521"),
    "lcbam": Layer("timm's lighter cbam: the mean and the maximum are added first"),
    "coord": Layer("Coordinate Attention, arXiv 2103.02907"),
    "scoord": Layer("timm's simpler Coordinate Attention"),
    "ela": Layer("Efficient Local Attention, arXiv 2403.01123", False),
    "strip": Layer("Strip Attention, by 1-d convolutions", False),
    "sk": Layer("Selective Kernel, arXiv 1903.06586: replaces a convolution"),
    "splat": Layer("Split Attention, arXiv 2004.08955: replaces a convolution"),
    "lambda": Layer("Lambda layer, arXiv 2102.08602", False, True),
    "bottleneck": Layer(
        "Bottleneck attention, arXiv 2101.11605",
        False,
        True,
        "timm/bottleneck is built for one size of map, the case's unless feat_size=14 fixes it",
    ),
    "halo": Layer(
        "Halo attention, arXiv 2103.12731",
        False,
        remark="timm/halo needs a height and width that block_size (8) divides",
    ),
    "nl": Layer("Non-local with batch norm, arXiv 1711.07971; hidden width a multiple of 8"),
    "bat": Layer(
        "Bilinear Attention Transform, Chi et al., CVPR 2020",
        remark="timm/bat needs a height and width that block_size (7) divides",
    ),
}

NAMES = tuple(LAYERS)
NEEDED = {"ge": "use_mlp=false"}


def factory(name: str) -> Callable[..., Any]:
    """Find what makes the layer from the channels and options, `ratio` among them."""
    from timm.layers import create_attn, get_attn

    layer, target = LAYERS[name], get_attn(name)

    def make(channels: int, ratio: int | None = None, feat_size: object = None, **more: Any) -> Any:
        if ratio is not None:
            more["rd_ratio"] = 1 / ratio
        if feat_size is not None:
            more["feat_size"] = _size(feat_size)
        return create_attn(name, channels, **more)

    without = _NOT_OPTIONS if name != "ecam" else (*_NOT_OPTIONS, "use_mlp")
    if name == "gca":
        without = (*without, "fuse_add", "fuse_scale")
    options = [
        *([RATIO] if layer.takes_ratio else []),
        *scalar_options(target, without),
        *([option("feat_size", None)] if layer.takes_size else []),
    ]
    return made(make, options, f"timm/{name}: {layer.page}. {layer.remark}".rstrip(". ") + ".")


def remark(name: str) -> str:
    """Say what is known to be broken in the layer, or asked of its shape; else nothing."""
    return LAYERS[name].remark


def _size(given: object) -> tuple[int, int]:
    """Take a size (H, W), or read one as `--size` writes it. Raises ValueError."""
    if isinstance(given, tuple):
        return given
    text = str(given)
    sides = text.split("x")
    if len(sides) > 2 or not all(re.fullmatch(r"[1-9][0-9]{0,9}", side) for side in sides):
        raise ValueError(f"feat_size={text} is no size such as 14 or 50x80")
    return int(sides[0]), int(sides[-1])
