"""Blocks of mmcv: GCNet's own Global Context block, and the Non-local block of mmdetection.

OpenMMLab, https://github.com/open-mmlab/mmcv; written against mmcv 2.2 (`mmcv-lite` has all that is
used here). mmcv's `ratio` is a multiplier: here it is the divisor, as everywhere in gcbench. Both
blocks start with a last convolution of zeros, so that they return their input until trained.
"""

from collections.abc import Callable
from typing import Any

FUSIONS = {
    "add": ("channel_add",),
    "scale": ("channel_mul",),
    "both": ("channel_mul", "channel_add"),
}
NORMS: dict[str | None, dict[str, str] | None] = {None: None, "batch": {"type": "BN"}}


def context_block(
    channels: int, ratio: int = 16, pooling_type: str = "att", fusion: str = "add"
) -> Any:
    """Make mmcv's ContextBlock with C // ratio hidden channels. Raises ValueError."""
    if fusion not in FUSIONS:
        raise ValueError(f"fusion={fusion} is not one of {', '.join(FUSIONS)}")
    if pooling_type not in ("att", "avg"):
        raise ValueError(f"pooling_type={pooling_type} is not one of att, avg")
    if not 1 <= ratio <= channels:
        raise ValueError(
            f"ratio={ratio} leaves no channel of {channels}: it must be 1 to {channels}"
        )
    from mmcv.cnn.bricks import ContextBlock

    hidden, multiplier = channels // ratio, 1 / ratio
    if int(channels * multiplier) != hidden:  # 49 * (1 / 49) is below 1
        multiplier = (hidden + 0.5) / channels
    return ContextBlock(channels, multiplier, pooling_type, FUSIONS[fusion])


def non_local(
    channels: int,
    reduction: int = 2,
    use_scale: bool = True,
    mode: str = "embedded_gaussian",
    sub_sample: bool = False,
    norm: str | None = None,
    zeros_init: bool = True,
) -> Any:
    """Make mmcv's NonLocal2d. Raises ValueError."""
    if norm not in NORMS:
        raise ValueError(f"norm={norm} is not one of none, batch")
    from mmcv.cnn.bricks import NonLocal2d

    return NonLocal2d(
        channels,
        reduction=reduction,
        use_scale=use_scale,
        mode=mode,
        sub_sample=sub_sample,
        norm_cfg=NORMS[norm],
        zeros_init=zeros_init,
    )


FACTORIES: dict[str, Callable[..., Any]] = {
    "ContextBlock": context_block,
    "NonLocal2d": non_local,
}
NAMES = tuple(FACTORIES)


def factory(name: str) -> Callable[..., Any]:
    """Find what makes the block from the channels and options."""
    return FACTORIES[name]


def remark(name: str) -> str:
    """Say what is asked of the block's shape; mmcv's blocks ask nothing."""
    return ""
