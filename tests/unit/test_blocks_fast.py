"""impl=fast is the block: the same function, weights and gradients, wherever it is called."""

import copy
import importlib
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from oracles import case_at, combinations, randomise, subject_at
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.nn.utils import parametrizations, prune

from gcbench.blocks import build, build_case, resolve
from gcbench.blocks.fast import nl, pooling
from gcbench.cli.describe import describe
from gcbench.measure.counting import count
from gcbench.measure.counting.account import watched
from gcbench.measure.counting.memory import memory
from gcbench.measure.workload import make_workload

pytestmark = pytest.mark.usefixtures("single_thread")

NAMES = ("gc", "se", "snl", "nl")
FAST = [spec for name in NAMES for spec in combinations(name) if "impl=fast" in spec]
NL = [spec for spec in FAST if spec.startswith("nl:")]
PRIVATE = ("mkldnn", "mv")
# a channel count that is no power of 2, one row, many more positions than 128 queries
SHAPES = [(1, 16, 14, 15), (3, 20, 7, 9), (2, 6, 2, 65)]
LAYOUTS = (torch.contiguous_format, torch.channels_last)
# one of each way to compute
WAYS = [
    *("gc", "gc:fusion=both", "gc:pooling=avg", "gc:bottleneck=false", "se", "snl:hoist=false"),
    *("nl", "nl:similarity=gaussian", "nl:subsample=after", "nl:norm=batch"),
    *("nl:similarity=dot_product", "nl:similarity=concatenation"),
]


def pair(spec, channels, seed=0):
    """The fast block of a spec and the reference, with the same random weights, in eval mode."""
    words = [word for word in spec.split(":") if word != "impl=fast"]
    ratio = 2 if resolve(spec).takes_ratio else None
    fast, plain = (
        build(":".join([*words, f"impl={impl}"]), channels, ratio) for impl in ("fast", "reference")
    )
    plain.load_state_dict(randomise(fast, seed).state_dict())
    return fast.eval(), plain.eval()


def drawn(*shape, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.fixture(params=[False, True], ids=["by shape", "what pays at large shapes"])
def large(request, monkeypatch):
    """Take the ways of large shapes at small ones too."""
    if request.param:
        monkeypatch.setattr(nl, "PAYS", 0)
        monkeypatch.setattr(nl, "FUSED_ELEMENTS", 0)
        monkeypatch.setattr(pooling, "TRAINED_ELEMENTS", 0)
    return request.param


@torch.no_grad()
def assert_equal_but_for_rounding(fast, plain, x):
    """In float64 and float32 to their precision; in halves no worse than the reference."""
    exact = plain.double()(x)
    largest = exact.abs().max()
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        try:
            expected = plain.to(dtype)(x.to(dtype))
        except RuntimeError:  # not every CPU has float16
            continue
        out = fast.to(dtype)(x.to(dtype))
        assert out.dtype is dtype
        for layout in LAYOUTS:
            assert out.is_contiguous(memory_format=layout) == expected.is_contiguous(
                memory_format=layout
            )
        error = (out.double() - exact).abs().max() / largest
        allowed = {torch.float64: 1e-12, torch.float32: 1e-5}.get(dtype)
        if allowed is None:
            theirs = (expected.double() - exact).abs().max() / largest
            allowed = 3 * theirs + 2 * torch.finfo(dtype).eps
        assert error <= allowed, dtype


@pytest.mark.parametrize("layout", LAYOUTS, ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("spec", FAST)
def test_fast_is_the_reference_but_for_rounding(spec, layout, large):
    for shape in SHAPES:
        fast, plain = pair(spec, shape[1])
        assert_equal_but_for_rounding(fast, plain, drawn(*shape).contiguous(memory_format=layout))


@pytest.mark.parametrize("spec", WAYS)
@pytest.mark.parametrize("shape", [(1, 64, 56, 56), (2, 96, 28, 28)])
def test_fast_is_the_reference_at_shapes_of_networks(spec, shape):
    fast, plain = pair(spec, shape[1])
    for module in (fast, plain):
        for parameter in module.parameters():
            parameter.data.mul_(0.3)
    assert_equal_but_for_rounding(fast, plain, drawn(*shape))


@pytest.mark.parametrize("spec", WAYS)
@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[:, :, ::2, 1:],
        lambda x: x.transpose(2, 3),
        lambda x: x[:1].expand(2, -1, -1, -1),
    ],
    ids=["sliced", "turned", "expanded"],
)
def test_fast_takes_tensors_that_are_not_dense(spec, view, large):
    fast, plain = pair(spec, 8)
    x = view(drawn(2, 8, 9, 7))
    with torch.no_grad():
        torch.testing.assert_close(fast.double()(x), plain.double()(x), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("spec", WAYS)
def test_a_batch_of_nothing_stays_nothing(spec):
    fast, plain = pair(spec, 8)
    with torch.no_grad():
        assert fast(torch.empty(0, 8, 4, 4)).shape == plain(torch.empty(0, 8, 4, 4)).shape


@pytest.mark.parametrize("spec", WAYS)
def test_weights_are_read_at_every_call_and_copies_have_their_own(spec, large):
    fast, plain = pair(spec, 8)
    x = drawn(2, 8, 9, 7).float()
    with torch.no_grad():
        fast(x)
        twins = (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast)))
        before = plain(x)
        randomise(fast, seed=5)
        plain.load_state_dict(fast.state_dict())
        torch.testing.assert_close(fast(x), plain(x), rtol=1e-4, atol=1e-4)
        for twin in twins:
            torch.testing.assert_close(twin(x), before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("spec", WAYS)
def test_threads_that_share_a_block_do_not_meet(spec, large):
    fast, plain = pair(spec, 8)
    xs = [drawn(1, 8, 9, 20, seed=seed).float() for seed in range(8)]

    def call(x):
        with torch.no_grad():
            return fast(x)

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(call, xs * 4))
    with torch.no_grad():
        for x, out in zip(xs * 4, found, strict=True):
            torch.testing.assert_close(out, plain(x), rtol=1e-4, atol=1e-4)


# --- layers that are not what they were -----------------------------------------------------------


def hooked(layer):
    layer.register_forward_hook(lambda module, inputs, output: output * 2)


def exchanged(layer):
    layer.__class__ = type("Doubled", (nn.Conv2d,), {"forward": lambda s, x: 2 * s._conv(x)})
    layer._conv = lambda x: nn.Conv2d.forward(layer, x)


CHANGES = {
    "hook": hooked,
    "another class": exchanged,
    "weight norm": parametrizations.weight_norm,
    "prune": lambda layer: prune.random_unstructured(layer, "weight", 0.5),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*")
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("spec", "name"), [("gc", "channel_add_conv.3"), ("se", "fc2"), ("snl", "value"), ("nl", "g")]
)
def test_a_layer_that_was_changed_is_called(spec, name, change, large):
    x = drawn(1, 8, 9, 7).float()
    outputs = []
    for module in pair(spec, 8):
        torch.manual_seed(0)
        CHANGES[change](module.get_submodule(name))
        with torch.no_grad():
            outputs.append(module(x))
    torch.testing.assert_close(*outputs, rtol=0, atol=0)


# --- where calls are written down, or are others' -------------------------------------------------


@pytest.mark.parametrize("spec", ["snl" if "snl" in spec else spec for spec in WAYS])
def test_under_autocast_the_output_is_the_references(spec, large):
    fast, plain = pair(spec, 8)
    x = drawn(2, 8, 6, 7).float()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(fast(x), plain(x), rtol=0, atol=0)


@pytest.mark.parametrize("spec", WAYS)
def test_an_exported_block_has_public_operators_alone_and_computes_the_same(spec, large):
    fast, plain = pair(spec, 8)
    x = drawn(1, 8, 6, 7).float()
    with torch.no_grad():
        exported = torch.export.export(fast, (x,))
        torch.testing.assert_close(exported.module()(x), plain(x), rtol=1e-4, atol=1e-4)
    called = {str(node.target) for node in exported.graph.nodes if node.op == "call_function"}
    assert called
    assert not [name for name in called if any(word in name.split(".") for word in PRIVATE)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("spec", WAYS)
def test_a_traced_block_has_public_operators_alone_and_computes_the_same(spec, large):
    fast, plain = pair(spec, 8)
    x, other = (drawn(1, 8, 6, 7, seed=seed).float() for seed in (1, 2))
    with torch.no_grad():
        traced = torch.jit.trace(fast, (x,), check_trace=False)
        torch.testing.assert_close(traced(other), plain(other), rtol=1e-4, atol=1e-4)
    kinds = {node.kind() for node in traced.inlined_graph.nodes()}
    assert not [kind for kind in kinds if any(word in kind.split("::") for word in PRIVATE)]


@pytest.mark.parametrize("spec", WAYS)
def test_fake_tensors_pass(spec, large):
    fast, _ = pair(spec, 8)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.no_grad():
        assert fast(mode.from_tensor(torch.zeros(2, 8, 6, 7))).shape == (2, 8, 6, 7)


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["gc", "nl", "nl:similarity=dot_product"])
def test_a_compiled_block_computes_the_same(spec):
    fast, plain = pair(spec, 8)
    x = drawn(2, 8, 6, 7).float()
    with torch.no_grad():
        out = torch.compile(fast, backend="aot_eager", fullgraph=True)(x)
        torch.testing.assert_close(out, plain(x), rtol=1e-4, atol=1e-4)


# --- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS, ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("spec", WAYS)
def test_gradients_are_the_references(spec, layout, large):
    x = drawn(2, 6, 4, 5).contiguous(memory_format=layout)
    upstream = drawn(2, 6, 4, 5, seed=9)
    found = []
    for module in pair(spec, 6):
        leaf = x.clone().requires_grad_()
        module.double().train()(leaf).backward(upstream)
        found.append({"x": leaf.grad} | {n: p.grad for n, p in module.named_parameters()})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], rtol=1e-9, atol=1e-9, msg=name)


@pytest.mark.parametrize("spec", [spec for spec in WAYS if "norm" not in spec])
def test_gradients_are_those_of_small_differences_and_so_are_theirs(spec, large):
    fast, _ = pair(spec, 4)
    x = drawn(2, 4, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(fast.double(), x)
    weights = list(fast.parameters())

    def called(x, *given):
        names = [name for name, _ in fast.named_parameters()]
        return torch.func.functional_call(fast, dict(zip(names, given, strict=True)), x)

    assert torch.autograd.gradcheck(called, (x, *weights))
    if large and spec in ("nl", "nl:subsample=after"):
        with pytest.raises(RuntimeError, match=r"derivative for .* is not implemented"):
            torch.autograd.gradgradcheck(fast, x)
    else:
        assert torch.autograd.gradgradcheck(fast, x)


@pytest.mark.parametrize("spec", WAYS)
def test_transforms_of_torch_func_are_the_references(spec, large):
    fast, plain = (module.double() for module in pair(spec, 6))
    x, tangent = drawn(3, 2, 6, 4, 5), drawn(3, 2, 6, 4, 5, seed=8)

    def total(module):
        return lambda x: module(x).square().sum()

    for transform in (
        lambda module: torch.func.vmap(module)(x),
        lambda module: torch.func.grad(total(module))(x[0]),
        lambda module: torch.func.vmap(torch.func.grad(total(module)))(x),
        lambda module: torch.func.jvp(module, (x[0],), (tangent[0],))[1],
    ):
        torch.testing.assert_close(transform(fast), transform(plain), rtol=1e-9, atol=1e-9)


def test_in_training_a_large_map_has_the_gradient_of_its_own():
    fast, _ = pair("gc", 64)
    x = torch.randn(2, 64, 56, 56, requires_grad=True)
    names = set()

    def walk(node):
        if node is not None and node not in names:
            names.add(node)
            for following, _ in node.next_functions:
                walk(following)

    walk(fast.train()(x).grad_fn)
    assert "_PooledBackward" in {type(node).__name__ for node in names}


# --- counts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 12, 14, 15), (2, 16, 9, 13)])
@pytest.mark.parametrize("spec", FAST)
def test_what_runs_on_the_cpu_has_the_macs_of_the_closed_form(spec, shape, large):
    case = case_at(spec, shape, **({"ratio": 3} if resolve(spec).takes_ratio else {}))
    module = build_case(case, 0)
    form = module.closed_form(**module.letters(shape))
    assert watched(make_workload(module, case, "cpu")).macs == form["macs"]


@pytest.mark.parametrize("spec", NL)
def test_all_counters_agree_on_the_ways_of_large_shapes(spec, monkeypatch):
    monkeypatch.setattr(nl, "PAYS", 0)
    for shape in ((2, 12, 9, 13), (1, 8, 12, 12)):
        subject = subject_at(spec, shape)
        found = {
            counter: count(replace(subject, counter=counter))[0]["macs"]
            for counter in ("gcbench", "fvcore", "torch", "formula")
        }
        assert len(set(found.values())) == 1, found


@pytest.mark.parametrize("spec", NL)
def test_the_memory_of_the_ways_of_large_shapes_is_that_of_the_closed_form(spec, monkeypatch):
    monkeypatch.setattr(nl, "PAYS", 0)
    for shape in ((1, 64, 28, 28), (2, 32, 9, 13), (3, 8, 2, 2), (1, 64, 2, 3)):
        for axes in ({}, {"dtype": "bfloat16"}, {"dtype": "float64", "layout": "channels_last"}):
            subject = subject_at(spec, shape, "torch", **axes)
            predicted, formed = memory(subject), memory(replace(subject, by_form=True))
            assert (predicted["memory_source"], formed["memory_source"]) == ("predicted", "formula")
            assert predicted["peak_memory_bytes"] == formed["peak_memory_bytes"], shape


def test_the_fast_ways_hold_and_multiply_less_where_they_are_said_to():
    shape = (1, 256, 56, 56)
    found = {}
    for spec in ("nl", "nl:similarity=dot_product", "nl:similarity=concatenation"):
        for impl in ("reference", "fast"):
            subject = subject_at(f"{spec}:impl={impl}", shape, counter="formula")
            cells, _ = count(replace(subject, by_form=True))
            found[spec, impl] = cells["macs"], cells["peak_memory_bytes"]
    for spec, of_macs, of_memory in (
        ("nl", 1, 0.25),
        ("nl:similarity=dot_product", 0.17, 0.25),
        ("nl:similarity=concatenation", 0.125, 0.35),
    ):
        (macs, held), (more, most) = (found[spec, impl] for impl in ("fast", "reference"))
        assert 0.9 * of_macs * more <= macs <= of_macs * more, (spec, macs / more)
        assert held <= of_memory * most, (spec, held / most)


@pytest.mark.parametrize("name", NAMES)
def test_a_description_tells_the_fast_way_where_it_is_asked_for(name):
    page = importlib.import_module(f"gcbench.blocks.fast.{name}").__doc__
    first = page.splitlines()[0]
    assert first in shown(f"{name}:impl=fast")
    assert first not in shown(name)
    assert "impl=reference|fast (default reference)" in shown(name)


def shown(spec):
    [section] = describe(spec).sections("")
    return "\n".join(section.lines)
