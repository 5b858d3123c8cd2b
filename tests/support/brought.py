"""Modules that people bring, each with its parameters and MACs by hand: `expect(B, C, H, W)`.

Each stands for a kind that counters get wrong. A complex MAC is four real ones; an FFT is none.
MACs are of one forward pass in eval, on the standard normal input that is timed.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.library import custom_op
from torch.utils.flop_counter import register_flop_formula


class ConvRef(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.c = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return self.c(x)

    @staticmethod
    def expect(B, C, H, W):
        return 9 * C * C + C, B * H * W * 9 * C * C


class PadSame(nn.Module):  # Conv2d(padding='same')
    def __init__(self, channels):
        super().__init__()
        self.c = nn.Conv2d(channels, channels, 3, padding="same")

    def forward(self, x):
        return self.c(x)

    expect = ConvRef.expect


class Sdpa(nn.Module):
    def __init__(self, channels, heads=2):
        super().__init__()
        self.h = heads
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)

    def forward(self, x):
        B, C, H, W = x.shape
        q, k, v = self.qkv(x).view(B, 3, self.h, C // self.h, H * W).transpose(-1, -2).unbind(1)
        y = F.scaled_dot_product_attention(q, k, v)
        return y.transpose(-1, -2).reshape(B, C, H, W)

    @staticmethod
    def expect(B, C, H, W):
        N = H * W
        return 3 * C * C, B * N * 3 * C * C + 2 * B * N * N * C


class Mha(nn.Module):
    def __init__(self, channels, heads=2):
        super().__init__()
        self.a = nn.MultiheadAttention(channels, heads, batch_first=True)

    def forward(self, x):
        B, C, H, W = x.shape
        t = x.flatten(2).transpose(1, 2)
        y = self.a(t, t, t, need_weights=False)[0]
        return y.transpose(1, 2).reshape(B, C, H, W)

    @staticmethod
    def expect(B, C, H, W):
        N = H * W
        return 4 * C * C + 4 * C, B * N * 4 * C * C + 2 * B * N * N * C


class Einsum1x1(nn.Module):  # 1x1 conv as an einsum
    def __init__(self, channels):
        super().__init__()
        self.w = nn.Parameter(torch.randn(channels, channels) * 0.1)

    def forward(self, x):
        return torch.einsum("bchw,oc->bohw", x, self.w)

    @staticmethod
    def expect(B, C, H, W):
        return C * C, B * H * W * C * C


class EinsumGate(nn.Module):  # no sum at all: an elementwise product
    def __init__(self, channels):
        super().__init__()
        self.w = nn.Parameter(torch.ones(channels))

    def forward(self, x):
        return torch.einsum("bchw,c->bchw", x, self.w)

    @staticmethod
    def expect(B, C, H, W):
        return C, 0


class MatmulLeft(nn.Module):  # weight @ x: the batch is on the right
    def __init__(self, channels):
        super().__init__()
        self.w = nn.Parameter(torch.randn(channels, channels) * 0.1)

    def forward(self, x):
        return torch.matmul(self.w, x.flatten(2)).view_as(x)

    @staticmethod
    def expect(B, C, H, W):
        return C * C, B * H * W * C * C


class MatVec(nn.Module):  # GC-like: x (B,C,N) @ q (N)
    def __init__(self, channels):
        super().__init__()
        self.q = nn.Parameter(torch.randn(channels) * 0.1)

    def forward(self, x):
        a = torch.matmul(x.flatten(2).transpose(1, 2), self.q)  # (B,N)
        return x * a.sigmoid().view(x.shape[0], 1, *x.shape[2:])

    @staticmethod
    def expect(B, C, H, W):
        return C, B * H * W * C


class Baddbmm(nn.Module):
    def __init__(self, channels):
        super().__init__()

    def forward(self, x):
        q = x.flatten(2)
        a = torch.baddbmm(
            torch.zeros(1, 1, 1, device=x.device, dtype=x.dtype),
            q.transpose(1, 2),
            q,
            beta=0,
            alpha=0.1,
        ).softmax(-1)
        return torch.bmm(q, a.transpose(1, 2)).view_as(x)

    @staticmethod
    def expect(B, C, H, W):
        return 0, 2 * B * (H * W) ** 2 * C


class Lstm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.r = nn.LSTM(channels, channels, batch_first=True)

    def forward(self, x):
        return self.r(x.flatten(2).transpose(1, 2))[0].transpose(1, 2).reshape(x.shape)

    @staticmethod
    def expect(B, C, H, W):
        return 8 * C * C + 8 * C, B * H * W * 8 * C * C


class _Mm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a @ b

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        return g @ b.t(), a.flatten(0, 1).t() @ g.flatten(0, 1)


class CustomFunction(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.w = nn.Parameter(torch.randn(channels, channels) * 0.1)

    def forward(self, x):
        return _Mm.apply(x.flatten(2).transpose(1, 2), self.w).transpose(1, 2).reshape(x.shape)

    @staticmethod
    def expect(B, C, H, W):
        return C * C, B * H * W * C * C


@custom_op("cases::mix", mutates_args=())
def _mix(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return torch.einsum("bchw,oc->bohw", x, w).contiguous()


@_mix.register_fake
def _(x, w):
    return x.new_empty(x.shape[0], w.shape[0], *x.shape[2:])


class CustomOp(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.w = nn.Parameter(torch.randn(channels, channels))

    def forward(self, x):
        return torch.ops.cases.mix(x, self.w)

    @staticmethod
    def expect(B, C, H, W):
        return C * C, B * H * W * C * C


@custom_op("cases::known", mutates_args=())
def _known(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return torch.einsum("bchw,oc->bohw", x, w).contiguous()


@_known.register_fake
def _(x, w):
    return x.new_empty(x.shape[0], w.shape[0], *x.shape[2:])


@register_flop_formula(torch.ops.cases.known)
def _known_flops(x, w, out_shape=None):
    return 2 * math.prod(x) * w[0]


class KnownOp(nn.Module):  # a custom operator whose formula torch was told
    def __init__(self, channels):
        super().__init__()
        self.w = nn.Parameter(torch.randn(channels, channels))

    def forward(self, x):
        return torch.ops.cases.known(x, self.w)

    expect = CustomOp.expect


class Grouped(nn.Module):  # ResNeXt-like, 8 groups
    def __init__(self, channels):
        super().__init__()
        self.c = nn.Conv2d(channels, channels, 3, padding=1, groups=8, bias=False)

    def forward(self, x):
        return self.c(x)

    @staticmethod
    def expect(B, C, H, W):
        return 9 * C * C // 8, 9 * B * C * C * H * W // 8


class Standard(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.c = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x):
        return self.c(x)

    @staticmethod
    def expect(B, C, H, W):
        return 9 * C * C, 9 * B * C * C * H * W


class BranchOnValue(nn.Module):  # dense path where the input is not flat, else the cheap one
    def __init__(self, channels):
        super().__init__()
        self.heavy = nn.Conv2d(channels, channels, 3, padding=1)
        self.light = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        return self.heavy(x) if x.std() > 0.1 else self.light(x)

    @staticmethod
    def expect(B, C, H, W):
        return (
            9 * C * C + C + C * C + C,
            B * H * W * 9 * C * C,
        )  # the input timed is standard normal


class LiteralSdpa(Sdpa):
    def forward(self, x):
        return super().forward(x + torch.linspace(-1, 1, x.shape[-1]).to(x.dtype))


class ItemEinsum(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.w = nn.Parameter(torch.randn(channels, channels) * 0.1)
        self.t = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return torch.einsum("bchw,oc->bohw", x, self.w) * self.t.item()

    @staticmethod
    def expect(B, C, H, W):
        return C * C + 1, B * H * W * C * C


class FnoBlock(nn.Module):  # complex weight, complex einsum
    def __init__(self, channels, m=2):
        super().__init__()
        self.m = m
        self.w = nn.Parameter(torch.randn(channels, channels, m, m, dtype=torch.cfloat) * 0.1)

    def forward(self, x):
        f = torch.fft.rfft2(x)
        out = torch.zeros_like(f)
        out[:, :, : self.m, : self.m] = torch.einsum(
            "bixy,ioxy->boxy", f[:, :, : self.m, : self.m], self.w
        )
        return torch.fft.irfft2(out, s=x.shape[-2:])

    @staticmethod
    def expect(B, C, H, W):
        return C * C * 4, 4 * B * C * C * 4  # complex MAC = 4 real; FFTs apart


class ComplexMm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.r = nn.Parameter(torch.randn(channels, channels, 2))

    def forward(self, x):
        w = torch.view_as_complex(self.r)
        f = torch.fft.rfft2(x).flatten(2)
        y = torch.matmul(w.expand(x.shape[0], -1, -1), f).view(*x.shape[:3], -1)
        return torch.fft.irfft2(y, s=x.shape[-2:])

    @staticmethod
    def expect(B, C, H, W):
        return 2 * C * C, 4 * B * C * C * H * (W // 2 + 1)


class TiedWeight(nn.Module):  # one Parameter under two modules
    def __init__(self, channels):
        super().__init__()
        self.a = nn.Conv2d(channels, channels, 1, bias=False)
        self.b = nn.Conv2d(channels, channels, 1, bias=False)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.b(self.a(x).relu())

    @staticmethod
    def expect(B, C, H, W):
        return C * C, 2 * B * H * W * C * C


class Lazy(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.c = nn.LazyConv2d(channels, 1)

    def forward(self, x):
        return self.c(x)

    @staticmethod
    def expect(B, C, H, W):
        return C * C + C, B * H * W * C * C


class LazyByHand(nn.Module):  # weights made at the first call
    def __init__(self, channels):
        super().__init__()
        self.c = None

    def forward(self, x):
        if self.c is None:
            self.c = nn.Conv2d(x.shape[1], x.shape[1], 1).to(x.device)
        return self.c(x)

    @staticmethod
    def expect(B, C, H, W):
        return C * C + C, B * H * W * C * C


class FuseInEval(nn.Module):  # RepVGG-like: eval() folds two branches into one
    def __init__(self, channels):
        super().__init__()
        self.a = nn.Conv2d(channels, channels, 3, padding=1)
        self.b = nn.Conv2d(channels, channels, 1)

    def train(self, mode=True):
        super().train(mode)
        if not mode and self.b is not None:
            with torch.no_grad():
                self.a.weight += F.pad(self.b.weight, (1, 1, 1, 1))
                self.a.bias += self.b.bias
            self.b = None
        return self

    def forward(self, x):
        return self.a(x) if self.b is None else self.a(x) + self.b(x)

    @staticmethod
    def expect(B, C, H, W):
        return 9 * C * C + C, B * H * W * 9 * C * C


class Quantized(nn.Module):  # dynamic int8 linear
    def __init__(self, channels):
        super().__init__()
        self.f = torch.ao.quantization.quantize_dynamic(
            nn.Sequential(nn.Linear(channels, channels)), {nn.Linear}, torch.qint8
        )

    def forward(self, x):
        return self.f(x.movedim(1, -1).contiguous()).movedim(-1, 1)

    @staticmethod
    def expect(B, C, H, W):
        return C * C + C, B * H * W * C * C


_CACHE = {}


class GlobalCache(nn.Module):  # a position map kept by shape in a table of the module's file
    def __init__(self, channels):
        super().__init__()
        self.c = nn.Conv2d(channels + 1, channels, 1)

    def forward(self, x):
        key = tuple(x.shape)
        if key not in _CACHE:
            _CACHE[key] = torch.linspace(-1, 1, x.shape[-1], device=x.device).expand(
                x.shape[0], 1, *x.shape[2:]
            )
        return self.c(torch.cat([x, _CACHE[key].to(x.dtype)], 1))

    @staticmethod
    def expect(B, C, H, W):
        return C * (C + 1) + C, B * H * W * C * (C + 1)


class Sparse(nn.Module):  # a sparse weight
    def __init__(self, channels):
        super().__init__()
        self.register_buffer("w", torch.eye(channels).to_sparse())

    def forward(self, x):
        t = x.movedim(1, 0).flatten(1)
        return torch.sparse.mm(self.w, t).view(x.shape[1], x.shape[0], *x.shape[2:]).movedim(0, 1)

    @staticmethod
    def expect(B, C, H, W):
        return 0, B * H * W * C


class SharedModule(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.a = nn.Conv2d(channels, channels, 1)
        self.b = nn.Sequential(self.a)

    def forward(self, x):
        return self.b(self.a(x))

    @staticmethod
    def expect(B, C, H, W):
        return C * C + C, 2 * B * H * W * C * C


class ParamList(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.p = nn.ParameterList(
            [nn.Parameter(torch.randn(channels, channels, 1, 1)) for _ in range(2)]
        )
        self.s = nn.Parameter(torch.ones(1))
        self.register_buffer("k", torch.ones(7))
        self.frozen = nn.Conv2d(channels, channels, 1).requires_grad_(False)
        self.unused = nn.Linear(3, 3)

    def forward(self, x):
        return self.frozen(F.conv2d(F.conv2d(x, self.p[0]), self.p[1])) * self.s

    @staticmethod
    def expect(B, C, H, W):
        return 2 * C * C + 1 + C * C + C + 12, 3 * B * H * W * C * C


class Checkpoint(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.c = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        from torch.utils.checkpoint import checkpoint

        return checkpoint(self.c, x, use_reentrant=False)

    @staticmethod
    def expect(B, C, H, W):
        return C * C + C, B * H * W * C * C


class Compiled(nn.Module):  # torch.compile'd inside
    def __init__(self, channels):
        super().__init__()
        self.c = torch.compile(nn.Conv2d(channels, channels, 1))

    def forward(self, x):
        return self.c(x)

    @staticmethod
    def expect(B, C, H, W):
        return C * C + C, B * H * W * C * C


class Energy(nn.Module):  # a gradient inside the forward pass
    def __init__(self, channels):
        super().__init__()
        self.c = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        with torch.enable_grad():
            z = x.detach().requires_grad_()
            (g,) = torch.autograd.grad(self.c(z).square().sum(), z)
        return x - 0.1 * g

    @staticmethod
    def expect(B, C, H, W):
        return C * C + C, 2 * B * H * W * C * C


class Tokens(nn.Module):  # (B, N, C) and no map
    def __init__(self, channels):
        super().__init__()
        self.f = nn.Linear(channels, channels)

    def forward(self, x):
        _, _, _ = x.shape
        return self.f(x)


def make_network():
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
