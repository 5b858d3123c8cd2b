"""Triton kernels of a block with one context: pool, transform, fuse, in three launches.

`_pool` reads x once: each program pools a part of an image's positions, and keeps of it the largest
logit, the sum of weights and the weighed sum, which is all that a softmax needs to be put together
afterwards. `_transform`, one program an image, puts the parts together and computes the bottleneck.
`_fuse` writes z = x s + t. All numbers are float32 inside. Nothing is tuned: not one of these
kernels has run on a GPU yet; Triton's interpreter runs them in the tests.

Importing this file needs Triton; `gpu.py` decides whether they are taken.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

# parts of a batch to pool: some for each processor of a large GPU
PROGRAMS = 256
# elements that a program holds at once
TILE = 8192


class Bottleneck(NamedTuple):
    """Weights of W_2 relu(LN(W_1 c)); without a norm, `gain` and `shift` are None."""

    narrow: Tensor
    narrow_bias: Tensor
    gain: Tensor | None
    shift: Tensor | None
    eps: float
    relu: bool
    widen: Tensor
    widen_bias: Tensor


class Parts(NamedTuple):
    """Parts of contexts in float32: largest logits and sums of weights (B, S), sums (B, S, C)."""

    peaks: Tensor
    totals: Tensor
    sums: Tensor


@triton.jit
def _pool(
    x,
    weight,
    peaks,
    totals,
    sums,
    C,
    N,
    length,
    of_image,
    of_channel,
    of_position,
    ATTEND: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    part = tl.program_id(0)
    image = tl.program_id(1).to(tl.int64)
    channels = tl.arange(0, BLOCK_C)
    is_channel = channels < C
    if ATTEND:
        w = tl.load(weight + channels, mask=is_channel, other=0.0).to(tl.float32)
    end = tl.minimum((part + 1) * length, N)
    peak = -float("inf")
    total = 0.0
    summed = tl.zeros([BLOCK_C], tl.float32)
    for start in range(part * length, end, BLOCK_N):
        positions = start + tl.arange(0, BLOCK_N)
        is_position = positions < end
        at = channels[:, None] * of_channel + positions[None, :] * of_position
        is_element = is_channel[:, None] & is_position[None, :]
        tile = tl.load(x + image * of_image + at, mask=is_element, other=0.0).to(tl.float32)
        if ATTEND:
            logits = tl.where(is_position, tl.sum(tile * w[:, None], 0), -float("inf"))
            higher = tl.maximum(peak, tl.max(logits, 0))
            before = tl.exp(peak - higher)
            shares = tl.exp(logits - higher)
            peak = higher
            total = total * before + tl.sum(shares, 0)
            summed = summed * before + tl.sum(tile * shares[None, :], 1)
        else:
            summed += tl.sum(tile, 1)
    if not ATTEND:
        peak = 0.0
        total = (end - part * length).to(tl.float32)
    row = image * tl.num_programs(0) + part
    tl.store(peaks + row, peak)
    tl.store(totals + row, total)
    tl.store(sums + row * C + channels, summed, mask=is_channel)


@triton.jit
def _scales(peaks, totals, image, parts, BLOCK_S: tl.constexpr):
    """What each part of an image's context is multiplied by."""
    at = tl.arange(0, BLOCK_S)
    is_part = at < parts
    peak = tl.load(peaks + image * parts + at, mask=is_part, other=-float("inf"))
    total = tl.load(totals + image * parts + at, mask=is_part, other=0.0)
    scale = tl.exp(peak - tl.max(peak, 0))
    return scale / tl.sum(scale * total, 0)


@triton.jit
def _context(sums, scale, image, channels, C, parts, BLOCK_S: tl.constexpr):
    """Some channels of an image's context."""
    at = tl.arange(0, BLOCK_S)
    rows = (image * parts + at[:, None]) * C + channels[None, :]
    kept = (at[:, None] < parts) & (channels[None, :] < C)
    return tl.sum(tl.load(sums + rows, mask=kept, other=0.0) * scale[:, None], 0)


@triton.jit
def _combine(peaks, totals, sums, out, C, parts, BLOCK_C: tl.constexpr, BLOCK_S: tl.constexpr):
    image = tl.program_id(1).to(tl.int64)
    channels = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    scale = _scales(peaks, totals, image, parts, BLOCK_S)
    context = _context(sums, scale, image, channels, C, parts, BLOCK_S)
    tl.store(out + image * C + channels, context, mask=channels < C)


@triton.jit
def _transform(
    peaks,
    totals,
    sums,
    narrow,
    narrow_bias,
    gain,
    shift,
    widen,
    widen_bias,
    out,
    C,
    P,
    parts,
    eps,
    NORM: tl.constexpr,
    RELU: tl.constexpr,
    SIGMOID: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_S: tl.constexpr,
):
    image = tl.program_id(0).to(tl.int64)
    hiddens = tl.arange(0, BLOCK_P)
    is_hidden = hiddens < P
    scale = _scales(peaks, totals, image, parts, BLOCK_S)
    hidden = tl.load(narrow_bias + hiddens, mask=is_hidden, other=0.0).to(tl.float32)
    for start in range(0, C, BLOCK_C):
        channels = start + tl.arange(0, BLOCK_C)
        context = _context(sums, scale, image, channels, C, parts, BLOCK_S)
        kept = is_hidden[:, None] & (channels[None, :] < C)
        w = tl.load(narrow + hiddens[:, None] * C + channels[None, :], mask=kept, other=0.0)
        hidden += tl.sum(w.to(tl.float32) * context[None, :], 1)
    if NORM:
        mean = tl.sum(hidden, 0) / P
        centred = tl.where(is_hidden, hidden - mean, 0.0)
        hidden = centred / tl.sqrt(tl.sum(centred * centred, 0) / P + eps)
        hidden *= tl.load(gain + hiddens, mask=is_hidden, other=0.0).to(tl.float32)
        hidden += tl.load(shift + hiddens, mask=is_hidden, other=0.0).to(tl.float32)
    if RELU:
        hidden = tl.maximum(hidden, 0.0)
    for start in range(0, C, BLOCK_C):
        channels = start + tl.arange(0, BLOCK_C)
        is_channel = channels < C
        kept = is_channel[:, None] & is_hidden[None, :]
        w = tl.load(widen + channels[:, None] * P + hiddens[None, :], mask=kept, other=0.0)
        t = tl.sum(w.to(tl.float32) * hidden[None, :], 1)
        t += tl.load(widen_bias + channels, mask=is_channel, other=0.0).to(tl.float32)
        if SIGMOID:
            t = 1.0 / (1.0 + tl.exp(-t))
        tl.store(out + image * C + channels, t, mask=is_channel)


@triton.jit
def _fuse(
    x,
    scale,
    addend,
    z,
    C,
    N,
    of_image,
    of_channel,
    of_position,
    SCALE: tl.constexpr,
    ADD: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    image = tl.program_id(2).to(tl.int64)
    positions = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    channels = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    is_channel = channels < C
    kept = is_channel[:, None] & (positions[None, :] < N)
    at = image * of_image + channels[:, None] * of_channel + positions[None, :] * of_position
    values = tl.load(x + at, mask=kept, other=0.0).to(tl.float32)
    if SCALE:
        s = tl.load(scale + image * C + channels, mask=is_channel, other=0.0)
        values *= s.to(tl.float32)[:, None]
    if ADD:
        t = tl.load(addend + image * C + channels, mask=is_channel, other=0.0)
        values += t.to(tl.float32)[:, None]
    tl.store(z + at, values.to(z.dtype.element_ty), mask=kept)


def pooled(x: Tensor, weight: Tensor | None) -> Parts:
    """Pool (B, C, H, W) by the logits of a weight of C elements; by an average without one."""
    B, C, H, W = x.shape
    N = H * W
    block_c = _power(C)
    block_n = min(_power(N), max(1, TILE // block_c))
    tiles = triton.cdiv(N, block_n)
    # as many tiles each; what rounding up makes too many parts, would be empty
    length = triton.cdiv(tiles, min(tiles, max(1, PROGRAMS // B))) * block_n
    parts = triton.cdiv(N, length)
    peaks, totals = (x.new_empty(B, parts, dtype=torch.float32) for _ in range(2))
    sums = x.new_empty(B, parts, C, dtype=torch.float32)
    _launch(
        _pool[(parts, B)],
        x,
        (x if weight is None else weight, peaks, totals, sums),
        (length,),
        ATTEND=weight is not None,
        BLOCK_C=block_c,
        BLOCK_N=block_n,
    )
    return Parts(peaks, totals, sums)


def combined(parts: Parts, dtype: torch.dtype) -> Tensor:
    """Put parts together: (B, C, 1, 1)."""
    B, S, C = parts.sums.shape
    out = parts.sums.new_empty(B, C, 1, 1, dtype=dtype)
    block_s = _power(S)
    block_c = min(_power(C), max(1, TILE // block_s))
    _combine[(triton.cdiv(C, block_c), B)](*parts, out, C, S, BLOCK_C=block_c, BLOCK_S=block_s)
    return out


def transformed(parts: Parts, layers: Bottleneck, sigmoid: bool) -> Tensor:
    """Put parts together and transform the context: (B, C) in float32."""
    B, S, C = parts.sums.shape
    P = len(layers.narrow)
    out = parts.sums.new_empty(B, C)
    normed = layers.gain is not None
    block_s, block_p = _power(S), _power(P)
    _transform[(B,)](
        *parts,
        layers.narrow,
        layers.narrow_bias,
        layers.gain if normed else layers.narrow,
        layers.shift if normed else layers.narrow,
        layers.widen,
        layers.widen_bias,
        out,
        C,
        P,
        S,
        layers.eps,
        NORM=normed,
        RELU=layers.relu,
        SIGMOID=sigmoid,
        BLOCK_C=min(_power(C), max(1, TILE // max(block_s, block_p))),
        BLOCK_P=block_p,
        BLOCK_S=block_s,
    )
    return out


def fused(
    x: Tensor, scale: Tensor | None, addend: Tensor | None, z: Tensor | None = None
) -> Tensor:
    """z = x scale + addend, each of B x C elements or None, in the layout of x."""
    B, C, H, W = x.shape
    z = torch.empty_like(x) if z is None else z
    if x.is_contiguous():
        block_n = min(_power(H * W), 1024)
        block_c = min(_power(C), max(1, TILE // 2 // block_n))
    else:
        block_c = min(_power(C), 1024)
        block_n = min(_power(H * W), max(1, TILE // 2 // block_c))
    grid = (triton.cdiv(H * W, block_n), triton.cdiv(C, block_c), B)
    _launch(
        _fuse[grid],
        x,
        (x if scale is None else scale, x if addend is None else addend, z),
        (),
        SCALE=scale is not None,
        ADD=addend is not None,
        BLOCK_C=block_c,
        BLOCK_N=block_n,
    )
    return z


def _launch(
    kernel: Any, x: Tensor, tensors: tuple[Tensor, ...], numbers: tuple[int, ...], **constants: int
) -> None:
    """Call a kernel with C, N and the strides of x, whose positions lie at one distance."""
    _, C, H, W = x.shape
    of_image, of_channel, _, of_position = x.stride()
    if not x.is_contiguous():
        of_position, of_channel = C, 1
    else:
        of_position, of_channel = 1, H * W
    kernel(x, *tensors, C, H * W, *numbers, of_image, of_channel, of_position, **constants)


def _power(number: int) -> int:
    power: int = triton.next_power_of_2(number)
    return power
