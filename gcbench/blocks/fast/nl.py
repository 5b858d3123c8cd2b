"""The Non-local block, fast: what `gcbench/blocks/nl.py` computes, without its N x K map.

gaussian, embedded_gaussian. A row of the map needs nothing of other rows, so 128 queries are
weighed at a time and their rows, which fit into a cache, are used up before the next are made: the
map is never written to memory. 1/sqrt(d) is folded into W_theta, and the bias of phi is left out:
it adds theta_i . b to all logits of a query, which a softmax does not see. Products are oneDNN's
where it has them, with queries and keys as rows; those of MKL take twice as long on some CPUs.
Where few products are to be made, from `PAYS` down, one convolution makes theta, phi and g, and the
softmax is written over its logits.

dot_product and concatenation have pages of their own, on which they are linear in N but for a sort:
`dot_product.py` where that takes fewer MACs, `concatenation.py` from `PAYS` on.

In training, dot_product and concatenation have autograd's gradients of the same; large maps of
embedded_gaussian take torch's fused attention, which keeps no map for the backward pass (and has
no second derivative, as torch then says); all others take the block's own way.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gcbench.blocks.fast import concatenation, dot_product
from gcbench.blocks.fast.adding import column, made_bytes, projected, source_of
from gcbench.blocks.fast.calling import is_eager, is_plain, is_traced, is_traced_by_jit, weights

if TYPE_CHECKING:
    from gcbench.blocks.nl import NonLocal

# queries that are weighed at a time
QUERIES = 128
# MACs of an image from which on more calls pay, about a tenth of a millisecond of one core
PAYS = 2**23
# elements of an image's map from which on fused attention pays in training
FUSED_ELEMENTS = 2**20

_HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(
    torch.ops.mkldnn, "_linear_pointwise"
)


def is_chunked(C: int, d: int, N: int, K: int, M: int) -> bool:
    """Tell whether a softmax is taken of 128 queries at a time."""
    return C * d * (N + M) + N * K * d >= PAYS


def is_sorted(d: int, N: int, K: int) -> bool:
    """Tell whether keys of a concatenation are sorted."""
    return N * K * d >= PAYS


def macs_of_pairs(block: "NonLocal", B: int, C: int, d: int, N: int, K: int, M: int) -> int:
    """MACs of a batch beside phi and g (dot_product) or g and z (concatenation)."""
    if block.similarity == "dot_product":
        return B * min(dot_product.orders(C, d, N, K).values())
    if is_sorted(d, N, K):
        return concatenation.macs(block, B, C, d, N, K, M)
    return B * (C * d * (N + M) + d * (N + K) + N * K * d)


def differs(block: "NonLocal", C: int, d: int, N: int, K: int, M: int) -> bool:
    """Tell whether a forward pass holds other tensors than the block's own way at this shape."""
    if block.similarity == "concatenation":
        return is_sorted(d, N, K)
    return block.similarity != "dot_product" or dot_product.order(C, d, N, K) != "map"


def forward(block: "NonLocal", x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, H, W)."""
    dense = x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)
    reordered = block.similarity in ("dot_product", "concatenation")
    hooks = reordered and is_traced_by_jit()
    if not dense or not is_plain(x, *block._modules.values(), hooks=hooks):
        return block.reference(x)
    B, C, H, W = x.shape
    sizes = block.letters((B, C, H, W))
    C, d, N, K, M = (sizes[letter] for letter in "CdNKM")
    if block.similarity == "dot_product":
        which = dot_product.order(C, d, N, K)
        return block.reference(x) if which == "map" else dot_product.forward(block, x, which)
    if block.similarity == "concatenation":
        return concatenation.forward(block, x) if is_sorted(d, N, K) else block.reference(x)
    if is_traced() or not (is_eager(x) or x.is_meta):
        return block.reference(x)
    if torch.is_grad_enabled():
        fused = block.similarity == "embedded_gaussian" and N * K >= FUSED_ELEMENTS
        precise = x.dtype in (torch.float32, torch.float64) and x.device.type == "cpu"
        return _fused(block, x) if fused and precise else block.reference(x)
    if x.is_cuda:
        return _fused(block, x)
    return _chunked(block, x) if is_chunked(C, d, N, K, M) else _small(block, x)


# --- softmax -------------------------------------------------------------------------------------


def _chunked(block: "NonLocal", x: Tensor) -> Tensor:
    """Weigh 128 queries of an image at a time."""
    source = source_of(block, x)
    z = torch.empty_like(x)
    for i, image in enumerate(x):
        _write(block, image, image if source is x else source[i], z[i].flatten(1))
    return block.bn(z).add_(x)


def _write(block: "NonLocal", image: Tensor, keys: Tensor, out: Tensor) -> None:
    """Write W_z y + b of an image into `out` (C, N), in its layout."""
    embedded = _embedded(block, image, keys)
    y = _weighed(*embedded)
    del embedded
    weight, bias = weights(block.z)
    if out.is_contiguous():
        torch.add(product(weight.flatten(1), y), column(bias), out=out)
    else:
        torch.add(product(y, weight.flatten(1)), bias, out=out.t())


def _embedded(block: "NonLocal", image: Tensor, keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Embed an image (C, H, W): queries (N, d), keys (K, d) and values (d, K)."""
    rows = _rows(image)
    key_rows = rows if keys is image else _rows(keys)
    if block.similarity == "gaussian":
        q, k = rows, key_rows
    else:
        weight, bias = weights(block.theta)
        factor = block.inner**-0.5 if block.scale else 1.0
        q = product(rows, weight.flatten(1) * factor).add_(bias * factor)
        k = product(key_rows, weights(block.phi)[0].flatten(1))
    weight, bias = weights(block.g)
    v = product(weight.flatten(1), key_rows).add_(column(bias))
    if block.subsample != "after":
        return q, k, v
    pooled = block.pool(keys if k is key_rows else k.t().reshape(-1, *keys.shape[1:]))
    return q, _rows(pooled), block.pool(v.view(-1, *keys.shape[1:])).flatten(1)


def _weighed(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Weigh the values by softmax(q k^T): (N, d), (K, d), (d, K) -> (N, d)."""
    y = v.new_empty(len(q), len(v))
    for start in range(0, len(q), QUERIES):
        y[start : start + QUERIES] = product(_shares(q[start : start + QUERIES], k), v)
    return y


def _shares(q: Tensor, k: Tensor) -> Tensor:
    logits = product(q, k)
    return torch.softmax(logits, 1, out=logits)


def product(a: Tensor, b: Tensor) -> Tensor:
    """a b^T, of contiguous matrices: (M, K), (N, K) -> (M, N)."""
    on_cpu = a.device.type == "cpu" and torch._C._get_mkldnn_enabled()
    if _HAS_ONEDNN and on_cpu and a.dtype is torch.float32:
        return torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")
    return torch.mm(a, b.t())


def _rows(image: Tensor) -> Tensor:
    """Positions as rows of their own, whatever the layout: (C, H, W) -> (N, C)."""
    return image.flatten(1).t().clone(memory_format=torch.contiguous_format)


def _small(block: "NonLocal", x: Tensor) -> Tensor:
    """One convolution for all embeddings of a map, and the softmax in place."""
    source = source_of(block, x)
    theta, phi, g = _embeddings(block, x, source)
    queries = theta.flatten(2).transpose(1, 2)
    factor = block.inner**-0.5 if block.similarity == "embedded_gaussian" and block.scale else 1.0
    ignored = weights(block.z)[0][0, 0]  # the operator wants something to add
    shares = torch.baddbmm(ignored, queries, phi.flatten(2), beta=0, alpha=factor)
    torch.softmax(shares, 2, out=shares)
    return projected(block, x, torch.bmm(g.flatten(2), shares.transpose(1, 2)))


def _embeddings(block: "NonLocal", x: Tensor, source: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """theta, phi and g, by as few convolutions as there are inputs, pooled."""
    if block.similarity == "gaussian":
        theta, phi, g = x, source, F.conv2d(source, *weights(block.g))
    elif source is x:
        theta, phi, g = _together(x, block.theta, block.phi, block.g)
    else:
        theta = F.conv2d(x, *weights(block.theta))
        phi, g = _together(source, block.phi, block.g)
    if block.subsample == "after":
        phi, g = block.pool(phi), block.pool(g)
    return theta, phi, g


def _together(x: Tensor, *layers: nn.Module) -> tuple[Tensor, ...]:
    """Several 1x1 convolutions of one input as one."""
    kernels, biases = zip(*map(weights, layers), strict=True)
    return F.conv2d(x, torch.cat(kernels), torch.cat(biases)).chunk(len(layers), 1)


def _fused(block: "NonLocal", x: Tensor) -> Tensor:
    """Torch's fused attention, on tokens that lie one after another."""
    source = source_of(block, x)
    theta, phi, g = block.theta(x), block.phi(source), block.g(source)
    if block.subsample == "after":
        phi, g = block.pool(phi), block.pool(g)
    scaled = block.similarity == "embedded_gaussian" and block.scale
    q, k, v = (part.flatten(2).transpose(1, 2).contiguous()[:, None] for part in (theta, phi, g))
    y = F.scaled_dot_product_attention(q, k, v, scale=block.inner**-0.5 if scaled else 1.0)
    y = y.squeeze(1).transpose(1, 2).unflatten(2, x.shape[2:])
    return x + block.bn(block.z(y.contiguous() if x.is_contiguous() else y))


def alive_bytes(
    block: "NonLocal", B: int, C: int, d: int, N: int, K: int, M: int, e: int
) -> tuple[int, ...]:
    """Bytes of e-byte elements that a forward pass holds, at each moment that may be its peak."""
    if block.similarity == "dot_product":
        return dot_product.alive_bytes(block, dot_product.order(C, d, N, K), B, C, d, N, K, M, e)
    if block.similarity == "concatenation":
        return concatenation.alive_bytes(block, B, C, d, N, K, M, e)
    moments = _chunked_bytes if is_chunked(C, d, N, K, M) else _small_bytes
    pooled = C * K if block.subsample == "before" else 0
    return (e + 8) * B * pooled, *moments(block, B, C, d, N, K, M, e, pooled)


def _chunked_bytes(
    block: "NonLocal", B: int, C: int, d: int, N: int, K: int, M: int, e: int, pooled: int
) -> list[int]:
    """z and pooled keys all along; and, one image after another, what is embedded and weighed."""
    q, k = (C * N, C * M if pooled else 0) if block.similarity == "gaussian" else (d * N, d * M)
    rows = C * N + pooled
    made = q + k + d * M if block.similarity != "gaussian" else d * M
    moments = [rows + made]
    if block.similarity != "gaussian":
        moments.append(rows + d * C + d * N)
    indexed = []
    if block.subsample == "after":
        wide = C if block.similarity == "gaussian" else d
        indexed = [
            e * (rows + made + wide * K) + 8 * wide * K,
            e * (rows + made + 2 * wide * K + d * K) + 8 * d * K,
        ]
        k = wide * K
    queries = min(QUERIES, N)
    moments.append(q + k + d * K + d * N + queries * (K + d))
    moments.append(d * N + C * N)
    base = e * B * (C * N + pooled)
    last = e * B * pooled + made_bytes(block, B, C, N, e)
    return [*(base + e * moment for moment in moments), *(base + each for each in indexed), last]


def _small_bytes(
    block: "NonLocal", B: int, C: int, d: int, N: int, K: int, M: int, e: int, pooled: int
) -> list[int]:
    """What the convolutions make, beside copies of their weights; and z beside that and the map."""
    moments = []
    if block.similarity == "gaussian":
        held, wide = d * M, C
    else:
        together = 2 if pooled else 3
        held, wide = d * N + 2 * d * M, d
        moments.append(e * (B * (pooled + held) + together * d * (C + 1)))
    if block.subsample == "after":
        moments.append(B * (e * held + (e + 8) * wide * K))
        moments.append(B * (e * (held + wide * K) + (e + 8) * d * K))
        # all embeddings are one tensor, which the queries keep
        held = (0 if block.similarity == "gaussian" else held) + (wide + d) * K
    last = e * B * (pooled + held + N * K + d * N) + made_bytes(block, B, C, N, e)
    return [*moments, last]
