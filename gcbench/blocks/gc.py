"""The Global Context block.

Cao, Xu, Lin, Wei, Hu: "GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond",
2019, arXiv 1904.11492, equation 5; extended in arXiv 2012.13375. With x of N = H * W positions,

    context    c = sum_j a_j x_j,   a = softmax_j(W_k x_j)      pooling=att
               c = mean_j x_j                                   pooling=avg
    transform  t(c) = W_2 relu(LN(W_1 c)),   p = C // ratio     bottleneck=true
               t(c) = W c                                       bottleneck=false
    fusion     z = x + t(c)                                     fusion=add
               z = x * sigmoid(t(c))                            fusion=scale
               z = x * sigmoid(t(c)) + t'(c)                    fusion=both

The three choices span the paper's framework: pooling=avg, fusion=scale, norm=none is
Squeeze-Excitation (arXiv 1709.01507).

impl=fast computes the same from the same weights by other operators: see `fast/gc.py`.

Reference code consulted: the authors' `ContextBlock` (also in mmcv), whose names of weights are
kept so that its checkpoints load. Differences: the ratio here is the divisor 16, there the factor
1/16; the last convolution starts at zero only with zero_init=true, there always.
"""

from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from gcbench.blocks.fast import gc as fast

Pooling = Literal["att", "avg"]
Fusion = Literal["add", "scale", "both"]
Norm = Literal["layer", None]
Impl = Literal["reference", "fast"]


class GlobalContext(nn.Module):
    """One attention map shared by every position, a bottleneck transform, fusion by addition."""

    LETTERS: ClassVar = {"p": "hidden width C // ratio"}

    # the transform without a bottleneck has no hidden width, so the ratio axis passes it by
    without_ratio = ("bottleneck", False)

    def __init__(
        self,
        channels: int,
        ratio: int = 16,
        *,
        pooling: Pooling = "att",
        fusion: Fusion = "add",
        bottleneck: bool = True,
        norm: Norm = "layer",
        relu: bool = True,
        zero_init: bool = False,
        impl: Impl = "reference",
    ) -> None:
        """Make the block for `channels` = C; its hidden width is p = C // ratio.

        Raises ValueError where an option has no such value or the ratio leaves no channel.
        """
        super().__init__()
        for name, value, choices in (
            ("pooling", pooling, Pooling),
            ("fusion", fusion, Fusion),
            ("norm", norm, Norm),
            ("impl", impl, Impl),
        ):
            if value not in get_args(choices):
                allowed = ", ".join(str(choice).lower() for choice in get_args(choices))
                came = value if isinstance(value, str) else str(value).lower()
                raise ValueError(f"{name}={came} is not one of {allowed}")
        if bottleneck and not 1 <= ratio <= channels:
            raise ValueError(
                f"ratio={ratio} leaves no channel of {channels}: it must be 1 to {channels}"
            )
        if not bottleneck and (norm is None or not relu):
            raise ValueError("bottleneck=false has no hidden layer, so norm and relu have no place")
        self.channels = channels
        self.hidden = channels // ratio if bottleneck else 0
        self.pooling, self.fusion, self.norm, self.impl = pooling, fusion, norm, impl

        def transform() -> nn.Sequential:
            if not bottleneck:
                return nn.Sequential(nn.Conv2d(channels, channels, 1))
            return nn.Sequential(
                nn.Conv2d(channels, self.hidden, 1),
                nn.LayerNorm([self.hidden, 1, 1]) if norm == "layer" else nn.Identity(),
                nn.ReLU(inplace=True) if relu else nn.Identity(),
                nn.Conv2d(self.hidden, channels, 1),
            )

        if pooling == "att":
            self.conv_mask = nn.Conv2d(channels, 1, 1)
            nn.init.kaiming_normal_(self.conv_mask.weight)
        else:
            self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.channel_mul_conv = transform() if fusion != "add" else None
        self.channel_add_conv = transform() if fusion != "scale" else None
        if zero_init:
            for fuse in filter(None, (self.channel_mul_conv, self.channel_add_conv)):
                for parameter in fuse[-1].parameters():
                    nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return fast.forward(self, x) if self.impl == "fast" else self.reference(x)

    def reference(self, x: Tensor) -> Tensor:
        """Compute the equation as it is written: (B, C, H, W) -> (B, C, H, W)."""
        context = self.context(x)
        out = x
        if self.channel_mul_conv is not None:
            out = out * torch.sigmoid(self.channel_mul_conv(context))
        if self.channel_add_conv is not None:
            out = out + self.channel_add_conv(context)
        return out

    def context(self, x: Tensor) -> Tensor:
        """Pool the positions: (B, C, H, W) -> (B, C, 1, 1)."""
        if self.pooling == "avg":
            return self.avgpool(x)
        attention = self.conv_mask(x).flatten(2).softmax(-1)  # (B, 1, N)
        # a product of batched matrices: counters miss or refuse a matrix-vector product
        return (x.flatten(2) @ attention.transpose(1, 2)).unsqueeze(-1)

    def letters(self, shape: tuple[int, int, int, int]) -> dict[str, int]:
        """Name the quantities that the closed forms are written in, at shape (B, C, H, W)."""
        B, C, H, W = shape
        return {"B": B, "C": C, "N": H * W, "p": self.hidden}

    def closed_form(self, B: int, C: int, N: int, p: int) -> dict[str, int]:
        """Parameters, MACs of a forward pass, and elements that must move.

        Attention pooling is W_k (C + 1 parameters, CN MACs) and the weighted sum (CN MACs); an
        average is no matrix product. Each transform is two convolutions on one position. Every
        output depends on all of x, so x is read twice and z written once: 3 BCN elements.
        """
        transforms = 2 if self.fusion == "both" else 1
        if p:
            norm = 2 * p if self.norm == "layer" else 0
            transform_params, transform_macs = 2 * C * p + p + C + norm, 2 * C * p
        else:
            transform_params, transform_macs = C * C + C, C * C
        attends = 1 if self.pooling == "att" else 0
        params = attends * (C + 1) + transforms * transform_params
        return {
            "params": params,
            "macs": B * (attends * 2 * C * N + transforms * transform_macs),
            "min_elements": 3 * B * C * N + params,
        }

    def alive_bytes(self, B: int, C: int, N: int, p: int, e: int) -> tuple[int, ...]:
        """Bytes of e-byte elements that a forward pass holds, at each moment that may be its peak.

        In the softmax: logits and map. In the normalisation: context, hidden layer before and
        after, and two statistics (of 4 bytes at least). When z is written: context, transform and
        z; for fusion=both also what was scaled. impl=fast adds into that, so its second hidden
        layer is the most beside it.
        """
        scaled = C * N if self.fusion == "both" else 0
        beside = min(scaled, p) if self.impl == "fast" else scaled
        moments = [e * B * (2 * C + C * N + beside)]
        if self.pooling == "att":
            moments.append(e * B * 2 * N)
        if p and self.norm == "layer":
            moments.append(e * B * (C + 2 * p + scaled) + 2 * B * max(e, 4))
        return tuple(moments)

    def flags(self) -> tuple[str, ...]:
        """Name what is special here: one hidden channel normalises to a constant."""
        return ("constant_norm",) if self.hidden == 1 and self.norm == "layer" else ()
