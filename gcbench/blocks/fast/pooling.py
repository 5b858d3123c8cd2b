"""Attention pooling with one map for all queries: c = sum_j a_j x_j, a = softmax_j(w . x_j + b).

A softmax does not see what is added to all its logits, so the bias b has no effect and is left
out. What remains are two products of the image f (C x N) with a vector, l = f^T w and c = f a: as
matrix times vector they read f at the speed of memory, where a 1x1 convolution to one channel
rearranges f first. The MACs and the elements that are made are those of the block's own page.

In training the gradient of x has two terms, a_j dc from the sum and dl_j w from the logits, with
dl = a (da - sum a da) and da = f^T dc. Both are outer products, so together with the gradient that
reaches x elsewhere they are one matrix product of inner size 2, [dc w] [a; dl], that is added in
one pass over x instead of three.
"""

from typing import Any

import torch
from torch import Tensor

from gcbench.blocks.fast.calling import is_eager

# a function of our own costs some calls more, which fewer elements do not repay
TRAINED_ELEMENTS = 2**18


def pooled(x: Tensor, weight: Tensor) -> Tensor:
    """Pool the positions by the logits of a weight (1, C, 1, 1): (B, C, H, W) -> (B, C, 1, 1)."""
    f = x.flatten(2)
    return along(f, across(f, weight).softmax(2)).unsqueeze(3)


def pooled_to_train(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Pool x, and hand on x itself for what comes after: its gradient is added in the same pass."""
    context, x = _Pooled.apply(x, weight, bias)
    return context, x


def _is_single(f: Tensor) -> bool:
    """Whether to take products with a vector: counters of others and gradients dislike them."""
    return len(f) == 1 and is_eager(f) and not torch.is_grad_enabled()


def across(f: Tensor, vectors: Tensor) -> Tensor:
    """Each position by a vector of the channels, (1 or B, C, ...): (B, C, N) -> (B, 1, N)."""
    B, C, N = f.shape
    if _is_single(f):
        return torch.mv(f[0].t(), vectors.view(C)).view(1, 1, N)
    return torch.bmm(vectors.view(-1, 1, C).expand(B, 1, C), f)


def along(f: Tensor, shares: Tensor) -> Tensor:
    """Sum the positions, weighed by (B, 1, N): (B, C, N) -> (B, C, 1)."""
    if _is_single(f):
        return torch.mv(f[0], shares.view(-1)).view(1, -1, 1)
    return torch.bmm(f, shares.transpose(1, 2))


class _Pooled(torch.autograd.Function):
    """(x, weight, bias) -> (context, x)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        f = x.flatten(2)
        shares = across(f, weight).softmax(2)
        ctx.save_for_backward(x, weight, bias, shares)
        return along(f, shares).unsqueeze(3), x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        of_context, of_x = gradients  # (B, C, 1, 1), (B, C, H, W)
        x, weight, bias, shares = ctx.saved_tensors
        f = x.flatten(2)
        if torch.is_grad_enabled():
            # a gradient of this gradient is asked for, and must see where the map came from
            shares = across(f, weight).softmax(2)
        dc = of_context.flatten(2)  # (B, C, 1)
        da = across(f, dc)  # (B, 1, N)
        dl = shares * (da - (shares * da).sum(2, keepdim=True))
        dw = along(f, dl).sum(0).view_as(weight)
        left = torch.cat([dc, weight.view(1, -1, 1).expand_as(dc)], 2)  # (B, C, 2)
        right = torch.cat([shares, dl], 1)  # (B, 2, N)
        added = of_x.flatten(2)
        if f.is_contiguous():
            dx = torch.baddbmm(added, left, right)
        else:  # channels last: the same product, turned
            turned = (right.transpose(1, 2), left.transpose(1, 2))
            dx = torch.baddbmm(added.transpose(1, 2), *turned).transpose(1, 2)
        # the gradient of the bias is the sum of dl, which is 0
        return dx.unflatten(2, x.shape[2:]), dw, None if bias is None else torch.zeros_like(bias)
