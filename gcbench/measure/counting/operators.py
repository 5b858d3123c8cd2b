"""Which of torch's operators multiply matrices, and how many MACs each takes: one line an operator.

The table names every product that torch's own registry of FLOP formulas lacks or has wrong, and
those that it has right too where tensors may be sparse. What is not here is looked up there
(`torch.utils.flop_counter`), so a formula that a user registers for an own operator counts.

Rules: a complex MAC is four real ones; a sparse matrix costs its stored elements; masked attention
costs what unmasked does; FFTs, norms, pools, interpolation and outer products sum no products and
cost nothing. A backward pass costs its mathematical products: what a kernel computes a second time
to save memory is not counted, so that every kernel of one function has one price.
"""

import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from gcbench.tensors import packed_tensors

Formula = Callable[..., int]


# --- what the lines of the table are made of -----------------------------------------------------


def product(a: Tensor, b: Tensor) -> int:
    """MACs of a @ b: (..., M, K) with (..., K, N) or (K,); stored elements where one is sparse."""
    columns = b.shape[-1] if b.ndim > 1 else 1
    if b.layout == torch.strided:
        return _stored(a).numel() * columns
    if a.layout == torch.strided:
        return math.prod(a.shape[:-1]) * _stored(b).numel()
    return _meeting(a, b)


def linear(x: Tensor, out: Tensor) -> int:
    """MACs of a linear layer, whatever holds its weights: (..., in) to (..., out)."""
    return int(out.numel()) * x.shape[-1]


def convolution(x: Tensor, weight: Sequence[int], y: Tensor, transposed: bool = False) -> int:
    """MACs of a convolution of x to y by a weight (out, in / groups, ...), groups included.

    A transposed one spreads each element of x by a weight (in, out / groups, ...).
    """
    return (x if transposed else y).numel() * math.prod(weight[1:])


def attention(query: Tensor, key: Tensor, value: Tensor) -> int:
    """MACs of softmax(Q K^T) V: (..., L, E), (..., S, E), (..., S, V); keys may be shared."""
    return math.prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def multi_head(query: Tensor, key: Tensor, value: Tensor, projection: Tensor) -> int:
    """MACs of fused multi-head attention: three projections in, two products, one out."""
    width = projection.shape[-1]
    lengths = [_lengths(each) for each in (query, key, value)]
    pairs = sum(q * k for q, k in zip(lengths[0], lengths[1], strict=True))
    projected = sum(map(sum, lengths)) + sum(lengths[0])
    return projected * width**2 + 2 * pairs * width


def encoder_layer(src: Tensor, projection: Tensor, widen: Tensor, narrow: Tensor) -> int:
    """MACs of a fused transformer encoder layer: self-attention, and two linear layers."""
    own = multi_head(src, src, src, projection)
    return own + sum(_lengths(src)) * (widen.numel() + narrow.numel())


def recurrent(x: Tensor, weights: Sequence[Tensor]) -> int:
    """MACs of recurrent layers over x (..., in): each step meets every matrix once."""
    matrices = sum(weight.numel() for weight in weights if weight.ndim == 2)
    return x.numel() // x.shape[-1] * matrices


def recurrent_backward(x: Tensor, weight: Tensor, hidden: Tensor, state: Tensor) -> int:
    """MACs of a recurrent layer's gradients; the first state is taken to need none."""
    return 2 * recurrent(x, (weight, hidden)) - state.shape[0] * hidden.numel()


def trilinear(
    tensors: Sequence[Tensor], expanded: Sequence[Sequence[int]], summed: Sequence[int]
) -> int:
    """MACs of a sum over a product of three: the first two, then their result with the third.

    `expanded` are for each tensor the axes that it lacks, `summed` those that are summed over. A
    product without a sum costs nothing.
    """
    sizes: dict[int, int] = {}
    axes = []
    for tensor, lacking in zip(tensors, expanded, strict=True):
        rank = tensor.ndim + len(lacking)
        axes.append({axis for axis in range(rank) if axis not in lacking})
        sizes |= dict(zip(sorted(axes[-1]), tensor.shape, strict=True))
    first = axes[0] | axes[1]
    early = {axis for axis in summed if axis not in axes[2]}
    steps = [(first, early), ((first - early) | axes[2], set(summed) - early)]
    return sum(math.prod(sizes[axis] for axis in step) for step, over in steps if over)


def grouped(a: Tensor, b: Tensor) -> int:
    """MACs of products by groups, whose rows, columns or inner axis are cut up among them."""
    if a.ndim == 3 and b.ndim == 2:
        return math.prod(a.shape[1:]) * b.shape[-1]
    return a.numel() * b.shape[-1]


def quantized_convolution(x: Tensor, packed: Any, y: Tensor, transposed: bool = False) -> int:
    """MACs of a convolution with packed int8 weights."""
    return convolution(x, packed_tensors(packed)[0].shape, y, transposed)


def quantized_recurrent(x: Tensor, cells: Sequence[Any]) -> int:
    """MACs of recurrent layers with packed int8 weights."""
    return recurrent(x, [tensor for cell in cells for tensor in packed_tensors(cell)])


def _stored(tensor: Tensor) -> Tensor:
    """The elements that a tensor keeps: all of a dense one."""
    if tensor.layout == torch.strided:
        return tensor
    return tensor._values() if tensor.layout == torch.sparse_coo else tensor.values()


def _meeting(a: Tensor, b: Tensor) -> int:
    """MACs of two sparse matrices: pairs of stored elements that share an inner index."""
    columns, rows = (each.to_sparse_coo().coalesce().indices() for each in (a, b))
    inner = a.shape[-1]
    return int((columns[-1].bincount(minlength=inner) * rows[-2].bincount(minlength=inner)).sum())


def _lengths(tokens: Tensor) -> list[int]:
    """How many tokens each of a batch has: (B, L, D), or a nested tensor of (L, D)."""
    if tokens.is_nested:
        lengths: list[int] = tokens._nested_tensor_size()[:, 0].tolist()
        return lengths
    return [tokens.shape[1]] * tokens.shape[0]


# --- the table -----------------------------------------------------------------------------------

# A formula's arguments are those of the operator by their names in its schema, and `out`, what it
# returned. In-place twins (`addmm_`) share the line.
OPERATORS: dict[str, Formula] = {
    # products of matrices and vectors
    "aten.mm": lambda self, mat2: product(self, mat2),
    "aten.bmm": lambda self, mat2: product(self, mat2),
    "aten.addmm": lambda mat1, mat2: product(mat1, mat2),
    "aten._addmm_activation": lambda mat1, mat2: product(mat1, mat2),
    "aten.baddbmm": lambda batch1, batch2: product(batch1, batch2),
    "aten.addbmm": lambda batch1, batch2: product(batch1, batch2),
    "aten.mv": lambda self, vec: product(self, vec),
    "aten.addmv": lambda mat, vec: product(mat, vec),
    "aten.dot": lambda self, tensor: product(self, tensor),
    "aten.vdot": lambda self, other: product(self, other),
    "aten._foreach_mm": lambda self, mat2: sum(map(product, self, mat2)),
    "aten._grouped_mm": lambda self, mat2: grouped(self, mat2),
    "aten._scaled_grouped_mm": lambda self, mat2: grouped(self, mat2),
    "aten._scaled_mm": lambda self, mat2: product(self, mat2),
    "aten._trilinear": lambda i1, i2, i3, expand1, expand2, expand3, sumdim: trilinear(
        (i1, i2, i3), (expand1, expand2, expand3), sumdim
    ),
    "aten._euclidean_dist": lambda x1, x2: x1.numel() * x2.shape[-2],
    # sparse products
    "aten._sparse_addmm": lambda mat1, mat2: product(mat1, mat2),
    "aten._sparse_sparse_matmul": lambda self, other: product(self, other),
    "aten._sparse_mm_reduce_impl": lambda self, other: product(self, other),
    "aten.hspmm": lambda mat1, mat2: product(mat1, mat2),
    "aten.sspaddmm": lambda mat1, mat2: product(mat1, mat2),
    "aten.sparse_sampled_addmm": lambda self, mat1: _stored(self).numel() * mat1.shape[-1],
    "aten._sparse_semi_structured_linear": lambda input, weight: recurrent(input, (weight,)),
    "aten._sparse_semi_structured_mm": lambda mat1, mat2: product(mat1, mat2),
    "aten._sparse_semi_structured_addmm": lambda mat1, mat2: product(mat1, mat2),
    # convolutions
    "aten.convolution": lambda input, weight, transposed, out: convolution(
        input, weight.shape, out, transposed
    ),
    "aten.convolution_backward": lambda grad_output, input, weight, transposed, output_mask: (
        sum(output_mask[:2]) * convolution(input, weight.shape, grad_output, transposed)
    ),
    "aten.cudnn_convolution_relu": lambda self, weight, out: convolution(self, weight.shape, out),
    "aten.cudnn_convolution_add_relu": lambda self, weight, out: convolution(
        self, weight.shape, out
    ),
    "aten.conv_tbc": lambda weight, out: out.numel() * math.prod(weight.shape[:2]),
    "torchvision.deform_conv2d": lambda input, weight, out: convolution(input, weight.shape, out),
    "torchvision._deform_conv2d_backward": lambda grad, input, weight: (
        2 * convolution(input, weight.shape, grad)
    ),
    # attention
    **dict.fromkeys(
        (
            "aten._scaled_dot_product_flash_attention_for_cpu",
            "aten._scaled_dot_product_flash_attention",
            "aten._scaled_dot_product_efficient_attention",
            "aten._scaled_dot_product_cudnn_attention",
            "aten._scaled_dot_product_fused_attention_overrideable",
            "aten._scaled_dot_product_attention_math_for_mps",
        ),
        lambda query, key, value: attention(query, key, value),
    ),
    **dict.fromkeys(
        (
            "aten._scaled_dot_product_flash_attention_for_cpu_backward",
            "aten._scaled_dot_product_flash_attention_backward",
            "aten._scaled_dot_product_efficient_attention_backward",
            "aten._scaled_dot_product_cudnn_attention_backward",
            "aten._scaled_dot_product_fused_attention_overrideable_backward",
        ),
        lambda query, key, value: 2 * attention(query, key, value),
    ),
    "aten._native_multi_head_attention": lambda query, key, value, proj_weight: multi_head(
        query, key, value, proj_weight
    ),
    "aten._triton_multi_head_attention": lambda query, key, value, proj_weight: multi_head(
        query, key, value, proj_weight
    ),
    "aten._transformer_encoder_layer_fwd": lambda src, proj_weight, ffn_weight_1, ffn_weight_2: (
        encoder_layer(src, proj_weight, ffn_weight_1, ffn_weight_2)
    ),
    # recurrent layers
    "aten.mkldnn_rnn_layer": lambda input, weight0, weight1: recurrent(input, (weight0, weight1)),
    "aten.mkldnn_rnn_layer_backward": lambda input, weight1, weight2, hx_: recurrent_backward(
        input, weight1, weight2, hx_
    ),
    "aten._cudnn_rnn": lambda input, weight: recurrent(input, weight),
    "aten._cudnn_rnn_backward": lambda input, weight, output_mask: (
        (1 + output_mask[3]) * recurrent(input, weight)
    ),
    "aten.miopen_rnn": lambda input, weight: recurrent(input, weight),
    "aten._lstm_mps": lambda input, params: recurrent(input, params),
    "aten.quantized_lstm": lambda input, params: quantized_recurrent(input, params),
    "aten.quantized_gru": lambda input, params: quantized_recurrent(input, params),
    # whole numbers and packed weights
    "aten._int_mm": lambda self, mat2: product(self, mat2),
    "aten._weight_int8pack_mm": lambda self, out: linear(self, out),
    "aten._weight_int4pack_mm": lambda self, out: linear(self, out),
    "aten._weight_int4pack_mm_for_cpu": lambda self, out: linear(self, out),
    "aten._mixed_dtypes_linear": lambda input, out: linear(input, out),
    "aten._dyn_quant_matmul_4bit": lambda inp, out: linear(inp, out),
    "quantized.linear": lambda X, out: linear(X, out),
    "quantized.linear_relu": lambda X, out: linear(X, out),
    "quantized.linear_leaky_relu": lambda X, out: linear(X, out),
    "quantized.linear_tanh": lambda X, out: linear(X, out),
    "quantized.linear_dynamic": lambda X, out: linear(X, out),
    "quantized.linear_relu_dynamic": lambda X, out: linear(X, out),
    "quantized.linear_dynamic_fp16": lambda X, out: linear(X, out),
    "quantized.linear_relu_dynamic_fp16": lambda X, out: linear(X, out),
    "quantized.matmul": lambda qa, qb: product(qa, qb),
    **dict.fromkeys(
        (
            *("quantized.conv1d", "quantized.conv2d", "quantized.conv3d"),
            *("quantized.conv1d_relu", "quantized.conv2d_relu", "quantized.conv3d_relu"),
        ),
        lambda qx, packed_weight, out: quantized_convolution(qx, packed_weight, out),
    ),
    **dict.fromkeys(
        ("quantized.conv1d_dynamic", "quantized.conv2d_dynamic", "quantized.conv3d_dynamic"),
        lambda qx, packed_weight, out: quantized_convolution(qx, packed_weight, out),
    ),
    **dict.fromkeys(
        (
            *("quantized.conv_transpose1d", "quantized.conv_transpose2d"),
            *("quantized.conv_transpose3d", "quantized.conv_transpose1d_dynamic"),
            *("quantized.conv_transpose2d_dynamic", "quantized.conv_transpose3d_dynamic"),
        ),
        lambda qx, packed_weight, out: quantized_convolution(qx, packed_weight, out, True),
    ),
    "onednn.qlinear_pointwise": lambda qx, out: linear(qx, out),
    "mkldnn._linear_pointwise": lambda X, out: linear(X, out),
    "mkldnn._convolution_pointwise": lambda X, W, out: convolution(X, W.shape, out),
}

# namespaces whose operators are known, so that one without a formula has no product
_KNOWN = frozenset({"aten", "prim", "prims", "torchvision", "quantized", "onednn", "mkldnn", "mkl"})
# but by these words in its name it has one all the same
_WORDS = re.compile(
    r"(^|_)((b|add|addb|badd|int|sp)?mm|(add)?mv|v?dot|matmul|q?linear|q?conv\w*|deform|attention"
    r"|rnn|lstm|gru|linalg|cholesky|geqrf|ormqr|lu|solve|spsolve)(_|\d|$)"
)
# nor has it one where it only combines, packs or checks
_HARMLESS = re.compile(
    r"prepack|_pack_|unpack|reorder|flatten|cell|check_errors|linalg_(cross|vector_norm|_powsum)"
    r"|convert_weight|upsample"
)


def macs_of(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int | None:
    """MACs of one call of an operator; None where there is no formula for it."""
    formula = OPERATORS.get(name_of(func))
    if formula is None:
        formula = registered(func)
        return None if formula is None else formula(*args, **kwargs, out_val=out) // 2
    wanted = [
        out if place is None else args[place] if place < len(args) else kwargs[name]
        for name, place in _arguments(formula, func)
    ]
    parts = 4 if any(isinstance(each, Tensor) and each.is_complex() for each in wanted) else 1
    return parts * formula(*wanted)


@cache
def _arguments(formula: Formula, func: Any) -> tuple[tuple[str, int | None], ...]:
    """What a line of the table takes of an operator: names and places; None is the output."""
    places = {argument.name: place for place, argument in enumerate(func._schema.arguments)}
    return tuple(
        (name, None if name == "out" else places[name]) for name in signature(formula).parameters
    )


def registered(func: Any) -> Callable[..., int] | None:
    """The formula that torch, or a user, has registered for an operator."""
    # nobody can have added to a table that is not loaded, and what torch's own has multiplies
    if "torch.utils.flop_counter" not in sys.modules and not may_multiply(func):
        return None
    return flop_registry().get(func._overloadpacket)


@cache
def is_convolution(func: Any) -> bool:
    """Whether an operator is a convolution, for which libraries have kernels of their own."""
    return "conv" in name_of(func)


@cache
def may_multiply(func: Any) -> bool:
    """Whether an operator without a formula may multiply matrices all the same."""
    namespace, _, name = name_of(func).partition(".")
    if namespace not in _KNOWN:
        return True
    return bool(_WORDS.search(name)) and not _HARMLESS.search(name)


@cache
def name_of(func: Any) -> str:
    """An operator's name with its namespace, `aten.addmm`; that of an in-place twin is the same."""
    return str(func._overloadpacket).removesuffix("_")


@cache
def flop_registry() -> Mapping[Any, Callable[..., int]]:
    """torch's table of formulas, which users add to; loaded when asked for: it brings Triton."""
    from torch.utils.flop_counter import flop_registry as registry

    return registry
