"""Blocks of mmcv: Global Context, Non-local, Criss-Cross and Generalized Attention.

OpenMMLab, https://github.com/open-mmlab/mmcv; written against mmcv 2.2 (`mmcv-lite` has all that is
used here). mmcv's `ratio` is a multiplier: here it is the divisor, as everywhere in gcbench. All
start with a last convolution or a factor of zero, so that they return their input until trained.
"""

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
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


def criss_cross(channels: int) -> Any:
    """Make mmcv's CrissCrossAttention: one application of it. Raises ValueError."""
    if channels < 8:
        raise ValueError(f"{channels} channels leave none of C // 8: it takes 8 or more")
    return _criss_cross_class()(channels)


@cache
def _criss_cross_class() -> Any:
    """Load the class by its file: `mmcv.ops` cannot be imported where only mmcv-lite is there."""
    import mmcv

    path = Path(mmcv.__file__).parent / "ops" / "cc_attention.py"
    spec = importlib.util.spec_from_file_location("mmcv_cc_attention", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"there is no {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.CrissCrossAttention


def generalized_attention(channels: int, heads: int = 8) -> Any:
    """Make mmcv's GeneralizedAttention with its query and key term alone. Raises ValueError."""
    if heads < 1 or channels % heads:
        raise ValueError(f"heads={heads} does not divide {channels} channels")
    from mmcv.cnn.bricks import GeneralizedAttention

    return GeneralizedAttention(channels, num_heads=heads, kv_stride=1, attention_type="1000")


FACTORIES: dict[str, Callable[..., Any]] = {
    "ContextBlock": context_block,
    "NonLocal2d": non_local,
    "CrissCrossAttention": criss_cross,
    "GeneralizedAttention": generalized_attention,
}
NAMES = tuple(FACTORIES)
REMARKS = {
    "CrissCrossAttention": "mmcv 2.2's CrissCrossAttention masks in float32, and so fails in half "
    "precision without autocast"
}


def factory(name: str) -> Callable[..., Any]:
    """Find what makes the block from the channels and options."""
    return FACTORIES[name]


def remark(name: str) -> str:
    """Say what is known to be broken in the block; else nothing."""
    return REMARKS.get(name, "")
