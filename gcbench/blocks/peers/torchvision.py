"""torchvision's Squeeze-and-Excitation layer, which is given its hidden width instead of a ratio.

https://github.com/pytorch/vision, `torchvision/ops/misc.py`.
"""

from collections.abc import Callable
from typing import Any


def squeeze_excitation(channels: int, ratio: int = 16) -> Any:
    """Make torchvision's SqueezeExcitation with C // ratio hidden channels. Raises ValueError."""
    from torchvision.ops import SqueezeExcitation

    if not 1 <= ratio <= channels:
        raise ValueError(
            f"ratio={ratio} leaves no channel of {channels}: it must be 1 to {channels}"
        )
    return SqueezeExcitation(channels, channels // ratio)


NAMES = ("SqueezeExcitation",)


def factory(name: str) -> Callable[..., Any]:
    """Find what makes the layer from the channels and options."""
    return squeeze_excitation


def remark(name: str) -> str:
    """Say what is asked of the layer's shape: nothing."""
    return ""
