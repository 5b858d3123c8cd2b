"""Every line of the table of operators against loops that compute the same, and count."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from gcbench.measure.counting.account import Account
from gcbench.measure.counting.account import watched as account_of
from gcbench.measure.counting.operators import OPERATORS, macs_of, may_multiply
from gcbench.measure.workload import Workload

# torch says once of compressed sparse tensors that they are not final
pytestmark = pytest.mark.filterwarnings("ignore:Sparse:UserWarning")

aten = torch.ops.aten


class Loops:
    """Sums of products, one multiplication after the other; `macs` counts them."""

    def __init__(self):
        self.macs = 0

    def dot(self, xs, ys):
        total = 0
        for x, y in zip(xs, ys, strict=True):
            total += x * y
            self.macs += 1
        return total

    def matmul(self, a, b):
        """(M, K) and (K, N), as lists."""
        columns = list(zip(*b, strict=True))
        return [[self.dot(row, column) for column in columns] for row in a]

    def batched(self, a, b):
        return [self.matmul(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]

    def sparse(self, a, b):
        """Stored elements of a alone meet the rows of b; b's zeros too, unless `b` is sparse."""
        out = torch.zeros(a.shape[0], b.shape[1])
        dense = b.to_dense()
        stored = set(map(tuple, b.to_sparse().indices().t().tolist()))
        for (i, k), value in zip(*stored_of(a), strict=True):
            for j in range(b.shape[1]):
                if b.layout == torch.strided or (k, j) in stored:
                    out[i, j] += value * dense[k, j]
                    self.macs += 1
        return out

    def convolve(self, x, weight, stride=1, padding=0, groups=1):
        """(B, C, H, W) by (O, C / groups, h, w)."""
        x = F.pad(x, [padding] * 4)
        B, _, H, W = x.shape
        width, c, h, w = weight.shape
        out = torch.zeros(B, width, (H - h) // stride + 1, (W - w) // stride + 1)
        for b, o, i, j in itertools.product(*map(range, out.shape)):
            first = o // (width // groups) * c
            patch = x[
                b, first : first + c, i * stride : i * stride + h, j * stride : j * stride + w
            ]
            out[b, o, i, j] = self.dot(patch.flatten().tolist(), weight[o].flatten().tolist())
        return out

    def spread(self, x, weight, stride=1, groups=1):
        """A transposed convolution: (B, C, H, W) by (C, O / groups, h, w)."""
        B, C, H, W = x.shape
        _, o, h, w = weight.shape
        out = torch.zeros(B, o * groups, (H - 1) * stride + h, (W - 1) * stride + w)
        for b, c, i, j in itertools.product(*map(range, x.shape)):
            for n, k, m in itertools.product(range(o), range(h), range(w)):
                channel = c // (C // groups) * o + n
                out[b, channel, i * stride + k, j * stride + m] += (
                    x[b, c, i, j] * weight[c, n, k, m]
                )
                self.macs += 1
        return out

    def attend(self, q, k, v):
        """(B, L, E), (B, S, E), (B, S, V)."""
        out = []
        for query, key, value in zip(q, k, v, strict=True):
            scores = torch.tensor(self.matmul(query.tolist(), key.t().tolist()))
            weights = (scores / math.sqrt(query.shape[-1])).softmax(-1)
            out.append(self.matmul(weights.tolist(), value.tolist()))
        return torch.tensor(out)

    def linear(self, x, weight, bias):
        rows = self.matmul(x.reshape(-1, x.shape[-1]).tolist(), weight.t().tolist())
        return torch.tensor(rows).view(*x.shape[:-1], -1) + bias


def stored_of(matrix):
    coo = matrix.to_sparse_coo().coalesce()
    return coo.indices().t().tolist(), coo.values().tolist()


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def holes(rows, columns, seed=0):
    matrix = drawn(rows, columns, seed=seed)
    return matrix * (drawn(rows, columns, seed=seed + 9) > 0)


def watched(call):
    account = Account([])
    with torch.no_grad(), account:
        result = call()
    return account, result


# --- what runs on a CPU: the operator, and the loops that give the same ---------------------------

A, B3, X = drawn(3, 4), drawn(4, 5, seed=1), drawn(2, 3, 4, seed=2)
Y = drawn(2, 4, 5, seed=3)
SPARSE, OTHER = holes(4, 5), holes(5, 3, seed=4)
IMAGE, KERNEL = drawn(2, 4, 5, 6, seed=5), drawn(6, 2, 3, 2, seed=6)
Q, K, V = drawn(3, 5, 4, seed=7), drawn(3, 6, 4, seed=8), drawn(3, 6, 7, seed=9)

DENSE = {
    "aten.mm": (lambda: aten.mm(A, B3), lambda it: it.matmul(A.tolist(), B3.tolist())),
    "aten.bmm": (lambda: aten.bmm(X, Y), lambda it: it.batched(X, Y)),
    "aten.addmm": (
        lambda: aten.addmm(torch.zeros(5), A, B3),
        lambda it: it.matmul(A.tolist(), B3.tolist()),
    ),
    "aten._addmm_activation": (
        lambda: aten._addmm_activation(torch.zeros(5), A.abs(), B3.abs()),
        lambda it: it.matmul(A.abs().tolist(), B3.abs().tolist()),
    ),
    "aten.baddbmm": (
        lambda: aten.baddbmm(torch.zeros(2, 3, 5), X, Y),
        lambda it: it.batched(X, Y),
    ),
    "aten.addbmm": (
        lambda: aten.addbmm(torch.zeros(3, 5), X, Y),
        lambda it: torch.tensor(it.batched(X, Y)).sum(0).tolist(),
    ),
    "aten.mv": (
        lambda: aten.mv(A, B3[:, 0]),
        lambda it: [it.dot(row, B3[:, 0].tolist()) for row in A.tolist()],
    ),
    "aten.addmv": (
        lambda: aten.addmv(torch.zeros(3), A, B3[:, 0]),
        lambda it: [it.dot(row, B3[:, 0].tolist()) for row in A.tolist()],
    ),
    "aten.dot": (lambda: aten.dot(A[0], A[1]), lambda it: it.dot(A[0].tolist(), A[1].tolist())),
    "aten.vdot": (lambda: aten.vdot(A[0], A[1]), lambda it: it.dot(A[0].tolist(), A[1].tolist())),
    "aten._int_mm": (
        lambda: aten._int_mm((4 * A).to(torch.int8), (4 * B3).to(torch.int8)),
        lambda it: it.matmul((4 * A).int().tolist(), (4 * B3).int().tolist()),
    ),
    "aten._scaled_dot_product_flash_attention_for_cpu": (
        lambda: aten._scaled_dot_product_flash_attention_for_cpu(Q[None], K[None], K[None])[0][0],
        lambda it: it.attend(Q, K, K).tolist(),
    ),
    "aten.conv_tbc": (
        lambda: aten.conv_tbc(drawn(5, 2, 3), drawn(3, 3, 4, seed=1), torch.zeros(4), 0),
        lambda it: (
            it.convolve(
                drawn(5, 2, 3).permute(1, 2, 0)[:, :, None],
                drawn(3, 3, 4, seed=1).permute(2, 1, 0)[:, :, None],
            )[:, :, 0]
            .permute(2, 0, 1)
            .tolist()
        ),
    ),
    "torchvision.deform_conv2d": (
        lambda: torchvision.ops.deform_conv2d(
            IMAGE, torch.zeros(2, 18, 3, 4), drawn(6, 2, 3, 3, seed=6)
        ),
        lambda it: it.convolve(IMAGE, drawn(6, 2, 3, 3, seed=6), groups=2).tolist(),
    ),
    "aten._sparse_addmm": (
        lambda: torch.sparse.mm(SPARSE.to_sparse(), OTHER),
        lambda it: it.sparse(SPARSE.to_sparse(), OTHER).tolist(),
    ),
    "aten._sparse_sparse_matmul": (
        lambda: torch.sparse.mm(SPARSE.to_sparse(), OTHER.to_sparse()).to_dense(),
        lambda it: it.sparse(SPARSE.to_sparse(), OTHER.to_sparse()).tolist(),
    ),
    "aten._sparse_mm_reduce_impl": (
        lambda: torch.sparse.mm(SPARSE.to_sparse_csr(), OTHER, "sum"),
        lambda it: it.sparse(SPARSE.to_sparse_csr(), OTHER).tolist(),
    ),
    "aten.hspmm": (
        lambda: aten.hspmm(SPARSE.to_sparse(), OTHER).to_dense(),
        lambda it: it.sparse(SPARSE.to_sparse(), OTHER).tolist(),
    ),
    "aten.sspaddmm": (
        lambda: aten.sspaddmm(torch.zeros(4, 3).to_sparse(), SPARSE.to_sparse(), OTHER).to_dense(),
        lambda it: it.sparse(SPARSE.to_sparse(), OTHER).tolist(),
    ),
}


@pytest.mark.parametrize("name", DENSE)
def test_a_product_costs_the_multiplications_of_the_loops_that_give_its_numbers(name):
    call, loops = DENSE[name]
    account, result = watched(call)
    it = Loops()
    torch.testing.assert_close(
        result.double(), torch.tensor(loops(it)).double(), atol=1e-4, rtol=1e-4
    )
    assert account.macs == it.macs > 0
    assert account.unknown == set()


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1)])
def test_a_convolution_costs_its_loops(groups, stride, padding):
    weight = drawn(6, 4 // groups, 3, 2, seed=6)
    account, result = watched(
        lambda: F.conv2d(IMAGE, weight, stride=stride, padding=padding, groups=groups)
    )
    it = Loops()
    loops = it.convolve(IMAGE, weight, stride, padding, groups)
    torch.testing.assert_close(result, loops, atol=1e-4, rtol=1e-4)
    assert account.macs == account.conv_macs == it.macs


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_transposed_convolution_costs_its_loops(groups, stride):
    weight = drawn(4, 3, 3, 2, seed=6)
    account, result = watched(lambda: F.conv_transpose2d(IMAGE, weight, None, stride, 0, 0, groups))
    it = Loops()
    loops = it.spread(IMAGE, weight, stride, groups)
    torch.testing.assert_close(result, loops, atol=1e-4, rtol=1e-4)
    assert account.macs == account.conv_macs == it.macs


@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv2d, nn.Conv3d])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(("of_input", "of_weight"), [(True, True), (True, False), (False, True)])
def test_each_gradient_of_a_convolution_costs_what_the_convolution_does(
    kind, transposed, groups, of_input, of_weight
):
    rank = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}[kind]
    kind = getattr(nn, kind.__name__.replace("Conv", "ConvTranspose")) if transposed else kind
    layer = kind(4, 8, 3, stride=2, groups=groups).requires_grad_(of_weight)
    x = drawn(2, 4, *[7] * rank).requires_grad_(of_input)
    forward, backward = Account([]), Account([])
    with forward:
        y = layer(x).sum()
    with backward:
        y.backward()
    assert backward.macs == (of_input + of_weight) * forward.macs > 0


def test_a_bilinear_layer_costs_its_loops_and_its_gradients_theirs():
    N, K, D, E = 2, 5, 3, 4
    layer = nn.Bilinear(D, E, K, bias=False)
    x, y = drawn(N, D).requires_grad_(), drawn(N, E, seed=1).requires_grad_()
    it, out = Loops(), torch.zeros(N, K)
    with torch.no_grad():
        for n, o in itertools.product(range(N), range(K)):
            halfway = [it.dot(x[n].tolist(), layer.weight[o, :, j].tolist()) for j in range(E)]
            out[n, o] = it.dot(halfway, y[n].tolist())
    forward, backward = Account([]), Account([])
    with forward:
        result = layer(x, y)
    with backward:
        result.sum().backward()
    torch.testing.assert_close(result, out, atol=1e-5, rtol=1e-5)
    assert forward.macs == it.macs
    # each first sums over what the third tensor lacks; the weight's sums over n alone, at the end
    of_x, of_weight, of_y = N * K * D * E + N * D * E, N * K * D * E, N * K * D * E + N * K * E
    assert backward.macs == of_x + of_weight + of_y


def test_distances_of_many_points_cost_the_product_that_they_are_made_of():
    x, y = drawn(2, 30, 3), drawn(2, 27, 3, seed=1)
    account, result = watched(lambda: torch.cdist(x, y))
    it = Loops()
    crossed = torch.tensor(it.batched(x, y.transpose(1, 2)))
    squares = x.square().sum(-1, keepdim=True) + y.square().sum(-1)[:, None] - 2 * crossed
    torch.testing.assert_close(result, squares.clamp(0).sqrt(), atol=1e-3, rtol=1e-3)
    assert account.macs == it.macs


def test_distances_of_few_points_are_differences_and_no_product():
    x, y = drawn(2, 5, 3), drawn(2, 4, 3)
    account, _ = watched(lambda: torch.cdist(x, y))
    assert (account.macs, account.unknown) == (0, set())
    assert account.uncounted == {"cdist_forward"}


def test_a_sampled_product_costs_what_is_stored_alone():
    stored = holes(3, 5).to_sparse_csr()
    account, result = watched(lambda: torch.sparse.sampled_addmm(stored, A, B3, beta=0.0))
    it = Loops()
    positions, _ = stored_of(stored)
    numbers = [it.dot(A[i].tolist(), B3[:, j].tolist()) for i, j in positions]
    torch.testing.assert_close(result.to_sparse_coo().coalesce().values(), torch.tensor(numbers))
    assert account.macs == it.macs


@pytest.mark.parametrize("layout", ["to_sparse", "to_sparse_csr", "to_sparse_csc"])
@pytest.mark.parametrize("way", ["times dense", "times vector"])
def test_a_sparse_matrix_costs_its_stored_elements_in_every_layout(layout, way):
    matrix = getattr(SPARSE, layout)()
    other = OTHER if way == "times dense" else OTHER[:, :1].squeeze(1)
    if layout == "to_sparse_csc" and way == "times vector":
        pytest.skip("torch has no such product")
    account, result = watched(lambda: matrix @ other)
    it = Loops()
    loops = it.sparse(matrix, OTHER if way == "times dense" else OTHER[:, :1])
    torch.testing.assert_close(result.view(4, -1), loops, atol=1e-5, rtol=1e-5)
    assert account.macs == it.macs


def test_dense_rows_meet_the_stored_elements_of_a_sparse_matrix():
    account, _ = watched(lambda: drawn(3, 4) @ SPARSE.to_sparse_csr())
    assert account.macs == 3 * int((SPARSE != 0).sum())


def test_a_complex_product_costs_four_real_ones_each():
    a, b = torch.complex(A, A + 1), torch.complex(B3, B3 - 1)
    account, result = watched(lambda: a @ b)
    it = Loops()
    real = torch.tensor(it.matmul(a.real.tolist(), b.real.tolist()))
    real -= torch.tensor(it.matmul(a.imag.tolist(), b.imag.tolist()))
    imaginary = torch.tensor(it.matmul(a.real.tolist(), b.imag.tolist()))
    imaginary += torch.tensor(it.matmul(a.imag.tolist(), b.real.tolist()))
    torch.testing.assert_close(result, torch.complex(real, imaginary), atol=1e-4, rtol=1e-4)
    assert account.macs == it.macs


@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d])
def test_a_complex_convolution_costs_four_real_ones_though_torch_makes_three(kind):
    complex_layer = kind(4, 6, 3, dtype=torch.complex64)
    real_layer = kind(4, 6, 3)
    shape = (2, 4, *[7] * (complex_layer.weight.ndim - 2))
    x = torch.complex(drawn(*shape), drawn(*shape, seed=1))
    with torch.no_grad():
        four, one = (
            account_of(Workload(layer, each))
            for layer, each in ((complex_layer, x), (real_layer, drawn(*shape)))
        )
    assert four.macs == four.conv_macs == 4 * one.macs > 0


def test_keys_that_heads_share_and_masks_cost_every_pair_of_query_and_key():
    q, k = drawn(1, 4, 5, 8), drawn(1, 2, 6, 8, seed=1)
    account, _ = watched(lambda: F.scaled_dot_product_attention(q, k, k, enable_gqa=True))
    assert account.macs == 4 * 5 * 6 * 16
    x = drawn(1, 4, 6, 8)
    account, _ = watched(lambda: F.scaled_dot_product_attention(x, x, x, is_causal=True))
    assert account.macs == 4 * 6 * 6 * 16


@pytest.mark.parametrize("shape", [(2, 3, 5, 8), (2, 3, 9, 16)])
def test_gradients_of_attention_cost_two_products_for_each_of_forward_whatever_the_kernel(shape):
    for device in ("cpu", "meta"):
        q, k, v = (torch.ones(shape, device=device, requires_grad=True) for _ in range(3))
        forward, backward = Account([]), Account([])
        with forward:
            y = F.scaled_dot_product_attention(q, k, v).sum()
        with backward:
            y.backward()
        assert backward.macs == 2 * forward.macs > 0


def loops_of_multi_head(it, x, layer):
    B, L, D = x.shape
    q, k, v = it.linear(x, layer.in_proj_weight, layer.in_proj_bias).chunk(3, -1)
    heads = [t.view(B, L, 2, D // 2).transpose(1, 2).reshape(2 * B, L, D // 2) for t in (q, k, v)]
    y = it.attend(*heads).view(B, 2, L, D // 2).transpose(1, 2).reshape(B, L, D)
    return it.linear(y, layer.out_proj.weight, layer.out_proj.bias)


@torch.no_grad()
def test_fused_multi_head_attention_costs_its_loops():
    layer = nn.MultiheadAttention(4, 2, batch_first=True).eval()
    x = drawn(2, 3, 4)
    steps = []
    account = Account([])
    account.begin(steps)
    with account:
        result = layer(x, x, x, need_weights=False)[0]
    assert [step.operator for step in steps] == ["native_multi_head_attention"]
    it = Loops()
    torch.testing.assert_close(result, loops_of_multi_head(it, x, layer), atol=1e-5, rtol=1e-5)
    assert account.macs == it.macs


def encoder():
    return nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0, batch_first=True).eval()


@torch.no_grad()
def test_a_fused_encoder_layer_costs_its_loops():
    layer, x = encoder(), drawn(2, 3, 4)
    account, result = watched(lambda: layer(x))
    assert account.uncounted == set()
    it = Loops()
    x = layer.norm1(x + loops_of_multi_head(it, x, layer.self_attn))
    hidden = it.linear(x, layer.linear1.weight, layer.linear1.bias).relu()
    x = layer.norm2(x + it.linear(hidden, layer.linear2.weight, layer.linear2.bias))
    torch.testing.assert_close(result, x, atol=1e-5, rtol=1e-5)
    assert account.macs == it.macs


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_an_encoder_that_leaves_padding_out_costs_the_tokens_that_are_left():
    stack = nn.TransformerEncoder(encoder(), 2, enable_nested_tensor=True).eval()
    x, lengths = drawn(2, 5, 4), (5, 2)
    padding = torch.tensor([[False] * n + [True] * (5 - n) for n in lengths])
    account, _ = watched(lambda: stack(x, src_key_padding_mask=padding))
    alone = sum(watched(lambda n=n: stack(x[:1, :n]))[0].macs for n in lengths)
    assert account.macs == alone


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, {"bidirectional": True}])
def test_a_recurrent_layer_meets_every_matrix_at_each_step(kind, options):
    layer = kind(3, 5, **options)
    matrices = [p.shape for p in layer.parameters() if p.ndim == 2]
    it = Loops()
    for _, (rows, columns) in itertools.product(range(7 * 2), matrices):
        it.matmul([[1.0] * columns], [[1.0] * rows] * columns)
    for device in ("cpu", "meta"):
        account, _ = watched(
            lambda device=device: layer.to(device)(torch.ones(7, 2, 3, device=device))
        )
        assert account.macs == it.macs


def test_gradients_of_a_recurrent_layer_cost_the_same_on_every_device():
    made = []
    for device in ("cpu", "meta"):
        layer, x = nn.LSTM(3, 5).to(device), torch.ones(7, 2, 3, device=device, requires_grad=True)
        y = layer(x)[0].sum()
        backward = Account([])
        with backward:
            y.backward()
        made.append(backward.macs)
    # two products for each of forward, but for the first state, which needs no gradient
    step = 2 * (20 * 3 + 20 * 5)
    assert made == [7 * 2 * step - 2 * 20 * 5] * 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        (nn.Linear(3, 5), (2, 7, 3), 2 * 7 * 3 * 5),
        (nn.LSTM(3, 5), (7, 2, 3), 7 * 2 * (20 * 3 + 20 * 5)),
        (nn.GRU(3, 5), (7, 2, 3), 7 * 2 * (15 * 3 + 15 * 5)),
    ],
)
def test_dynamic_int8_layers_cost_what_the_real_ones_do(layer, shape, macs):
    module = nn.Sequential(layer)
    packed = torch.ao.quantization.quantize_dynamic(module, {type(layer)}, torch.qint8)
    for each in (module, packed):
        account, _ = watched(lambda each=each: each(drawn(*shape)))
        assert account.macs == macs
        assert account.unknown == set()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("groups", [1, 2])
def test_an_int8_convolution_costs_what_a_real_one_does(groups):
    layer = torch.ao.nn.quantized.Conv2d(4, 8, 3, groups=groups)
    x = torch.quantize_per_tensor(drawn(2, 4, 7, 6), 0.1, 0, torch.quint8)
    account, result = watched(lambda: layer(x))
    it = Loops()
    assert it.convolve(drawn(2, 4, 7, 6), drawn(8, 4 // groups, 3, 3), groups=groups).shape == (
        result.shape
    )
    assert account.macs == account.conv_macs == it.macs


@torch.inference_mode()
def test_what_torch_leaves_whole_in_its_inference_mode_is_taken_apart():
    layer, x = nn.Conv2d(4, 6, 3), drawn(2, 4, 5, 5)
    account, _ = watched(lambda: layer(x).flatten(2) @ drawn(2, 9, 3))
    assert account.macs == 2 * 9 * 6 * 36 + 2 * 6 * 9 * 3


# --- what other devices and versions run: the formula, on tensors as its operator takes them ------

ELSEWHERE = {
    "aten._foreach_mm": ({"self": [A, A], "mat2": [B3, B3]}, 2 * 3 * 4 * 5),
    "aten._grouped_mm": ({"self": drawn(7, 4), "mat2": drawn(2, 4, 5)}, 7 * 4 * 5),
    "aten._scaled_grouped_mm": ({"self": drawn(2, 3, 4), "mat2": drawn(4, 7)}, 3 * 4 * 7),
    "aten._scaled_mm": ({"self": A, "mat2": B3}, 3 * 4 * 5),
    "aten._sparse_semi_structured_linear": (
        {"input": drawn(2, 3, 8), "weight": drawn(5, 4)},
        2 * 3 * 5 * 4,
    ),
    "aten._sparse_semi_structured_mm": ({"mat1": drawn(5, 4), "mat2": drawn(8, 3)}, 5 * 4 * 3),
    "aten._sparse_semi_structured_addmm": ({"mat1": drawn(5, 4), "mat2": drawn(8, 3)}, 5 * 4 * 3),
    "aten.cudnn_convolution_relu": (
        {"self": IMAGE, "weight": KERNEL, "out": drawn(2, 6, 3, 5)},
        2 * 6 * 3 * 5 * 2 * 3 * 2,
    ),
    "aten.cudnn_convolution_add_relu": (
        {"self": IMAGE, "weight": KERNEL, "out": drawn(2, 6, 3, 5)},
        2 * 6 * 3 * 5 * 2 * 3 * 2,
    ),
    "torchvision._deform_conv2d_backward": (
        {"grad": drawn(2, 6, 3, 5), "input": IMAGE, "weight": KERNEL},
        2 * 2 * 6 * 3 * 5 * 2 * 3 * 2,
    ),
    **{
        f"aten._scaled_dot_product_{kernel}": ({"query": Q, "key": K, "value": V}, 3 * 5 * 6 * 11)
        for kernel in (
            *("flash_attention", "efficient_attention", "cudnn_attention"),
            *("fused_attention_overrideable", "attention_math_for_mps"),
        )
    },
    **{
        f"aten._scaled_dot_product_{kernel}_backward": (
            {"query": Q, "key": K, "value": V},
            2 * 3 * 5 * 6 * 11,
        )
        for kernel in (
            *("flash_attention_for_cpu", "flash_attention", "efficient_attention"),
            *("cudnn_attention", "fused_attention_overrideable"),
        )
    },
    "aten._triton_multi_head_attention": (
        {"query": drawn(2, 3, 4), "key": drawn(2, 3, 4), "value": drawn(2, 3, 4)}
        | {"proj_weight": drawn(4, 4)},
        2 * 3 * 4 * 16 + 2 * 2 * 9 * 4,
    ),
    **{
        name: ({"input": drawn(7, 2, 3), key: [drawn(20, 3), drawn(20, 5), drawn(20)]}, 14 * 160)
        for name, key in (
            *(("aten._cudnn_rnn", "weight"), ("aten.miopen_rnn", "weight")),
            ("aten._lstm_mps", "params"),
        )
    },
    "aten._cudnn_rnn_backward": (
        {"input": drawn(7, 2, 3), "weight": [drawn(20, 3), drawn(20, 5)]}
        | {"output_mask": [True, True, True, True]},
        2 * 14 * 160,
    ),
    **{
        name: ({key: drawn(2, 4), "out": drawn(2, 7)}, 2 * 4 * 7)
        for name, key in (
            *(("aten._weight_int8pack_mm", "self"), ("aten._weight_int4pack_mm", "self")),
            *(("aten._weight_int4pack_mm_for_cpu", "self"), ("aten._mixed_dtypes_linear", "input")),
            *(("aten._dyn_quant_matmul_4bit", "inp"), ("onednn.qlinear_pointwise", "qx")),
            *(("quantized.linear", "X"), ("quantized.linear_relu", "X")),
            *(("quantized.linear_leaky_relu", "X"), ("quantized.linear_tanh", "X")),
            *(("quantized.linear_relu_dynamic", "X"), ("quantized.linear_dynamic_fp16", "X")),
            *(("quantized.linear_relu_dynamic_fp16", "X"), ("mkldnn._linear_pointwise", "X")),
        )
    },
    "quantized.matmul": ({"qa": A, "qb": B3}, 3 * 4 * 5),
    "mkldnn._convolution_pointwise": (
        {"X": IMAGE, "W": KERNEL, "out": drawn(2, 6, 3, 5)},
        2 * 6 * 3 * 5 * 2 * 3 * 2,
    ),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_the_formula_of_an_operator_of_other_devices_gives_its_loops(name):
    arguments, macs = ELSEWHERE[name]
    assert OPERATORS[name](**arguments) == macs


# lines that tests above and below run by what makes them
RUN = {
    *("aten.convolution", "aten.convolution_backward", "aten._trilinear", "aten._euclidean_dist"),
    *("aten.sparse_sampled_addmm", "aten._native_multi_head_attention"),
    *("aten._transformer_encoder_layer_fwd", "aten.mkldnn_rnn_layer"),
    *("aten.mkldnn_rnn_layer_backward", "aten.quantized_lstm", "aten.quantized_gru"),
    *("quantized.linear_dynamic", "quantized.conv2d"),
}
# further ranks, and the fused and dynamic twins, of a line that is run
TWINS = {name for name in OPERATORS if name.startswith("quantized.conv")} - RUN


def test_every_line_of_the_table_is_tried():
    assert set(OPERATORS) == set(DENSE) | set(ELSEWHERE) | RUN | TWINS


@pytest.mark.parametrize("name", OPERATORS)
def test_a_line_asks_for_arguments_that_its_operator_has(name):
    namespace, _, operator = name.partition(".")
    packet = getattr(getattr(torch.ops, namespace), operator, None)
    if packet is None:
        pytest.skip("this build of torch has no such operator")
    wanted = set(OPERATORS[name].__code__.co_varnames[: OPERATORS[name].__code__.co_argcount])
    for overload in packet.overloads():
        known = {argument.name for argument in getattr(packet, overload)._schema.arguments}
        if wanted - {"out"} <= known:
            return
    raise AssertionError(f"{name} takes {known}, and its line asks for {wanted}")


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: torch.linalg.matrix_exp(drawn(3, 3)), True),
        (lambda: torch.linalg.solve(torch.eye(3), drawn(3, 3)), True),
        (lambda: torch.linalg.svd(drawn(3, 3)), True),
        (lambda: drawn(3, 3).softmax(-1) + drawn(3, 3).exp(), False),
        (lambda: torch.fft.rfft2(drawn(3, 3)).abs(), False),
        (lambda: F.interpolate(drawn(1, 2, 3, 3), scale_factor=2, mode="bilinear"), False),
        (lambda: F.layer_norm(drawn(3, 3), (3,)), False),
        (lambda: torch.outer(drawn(3), drawn(4)), False),
        (lambda: torch.linalg.vector_norm(drawn(3)), False),
        (lambda: torchvision.ops.roi_align(IMAGE, torch.zeros(1, 5), 2), False),
    ],
)
def test_an_operator_that_may_multiply_matrices_is_named_and_another_is_not(call, named):
    account, _ = watched(call)
    assert account.macs == 0
    assert bool(account.unknown) == named
    assert account.unknown <= account.uncounted


def test_an_operator_that_torch_has_a_formula_for_is_counted_by_that():
    flops = aten._scaled_dot_product_flash_attention.default
    assert macs_of(flops, (Q[None], K[None], V[None]), {}, None) == 3 * 5 * 6 * 11
    assert not may_multiply(aten.add.Tensor)
