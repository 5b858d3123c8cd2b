"""What holds for every block whatever it computes: shapes, gradients, seeds, copies."""

import copy
import pickle

import pytest
import torch
from oracles import (
    case_at,
    changed_once,
    choices,
    combinations,
    divisors,
    fitted,
    options_at,
    untrained,
)
from torch import nn

from gcbench.blocks import BLOCKS, build, build_case, resolve
from gcbench.blocks.forms import flags
from gcbench.errors import UsageError

pytestmark = pytest.mark.usefixtures("single_thread")

NAMES = [entry.name for entry in BLOCKS]
SPECS = [spec for name in NAMES for spec in combinations(name)]
WITH_ZERO_INIT = [
    f"{spec}:zero_init=true"
    for name in NAMES
    if "zero_init" in choices(name)
    for spec in combinations(name)
    # what adds nothing to nothing is refused
    if options_at(spec).get("residual", True)
]


def made(spec, shape, seed=0):
    """Build a block for a shape with a small ratio, where it takes one."""
    ratio = 2 if resolve(spec).takes_ratio else None
    return build(spec, shape[1], ratio, seed, shape[2:])


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def drawn_for(spec, *shape, seed=0):
    """Numbers of a shape with the least channels, from its own on, that a block takes."""
    return drawn(*fitted(spec, shape), seed=seed)


def assert_same_state(one, other):
    assert one.state_dict().keys() == other.state_dict().keys()
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


@pytest.mark.parametrize("entry", list(BLOCKS), ids=lambda entry: entry.name)
def test_every_line_of_the_table_loads_a_module_class_and_names_its_source(entry):
    assert issubclass(entry.load(), nn.Module)
    assert entry.summary
    assert entry.source.startswith(("arXiv ", "PMLR "))


@pytest.mark.parametrize("shape", [(1, 12, 7, 5), (3, 12, 2, 9), (2, 13, 6, 4)])
@pytest.mark.parametrize("spec", SPECS)
def test_a_block_keeps_the_shape_and_the_dtype_of_its_input(spec, shape):
    x = drawn_for(spec, *shape)
    module = made(spec, x.shape).eval()
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        out = module.to(dtype)(x.to(dtype))
        assert out.shape == x.shape
        assert out.dtype is dtype
        assert out.isfinite().all()


@pytest.mark.parametrize("spec", SPECS)
def test_a_block_leaves_its_input_as_it_was(spec):
    x = drawn_for(spec, 2, 12, 5, 3)
    before = x.clone()
    with torch.no_grad():
        made(spec, x.shape).eval()(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("spec", SPECS)
def test_an_image_does_not_see_the_others_of_its_batch(spec):
    x = drawn_for(spec, 3, 12, 5, 4).double()
    module = made(spec, x.shape).double().eval()
    alone = torch.cat([module(image[None]) for image in x])
    torch.testing.assert_close(module(x), alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("spec", SPECS)
def test_the_gradient_reaches_every_parameter_and_the_input(spec):
    x = drawn_for(spec, 2, 24, 7, 5).requires_grad_()
    module = made(spec, x.shape).train()
    module(x).square().sum().backward()
    tensors = {"x": x, **dict(module.named_parameters())}
    for name, tensor in tensors.items():
        assert (tensor.grad is None) == (name in untrained(spec)), name
        if tensor.grad is None:
            continue
        assert tensor.grad.isfinite().all(), name
        # a softmax does not see what is added to all its logits, so a bias may have none
        assert name.endswith("bias") or tensor.grad.any(), name


@pytest.mark.parametrize("name", [name for name in NAMES if untrained(name)])
def test_what_is_said_to_be_untrained_is_a_weight_of_the_block(name):
    weights = dict(made(name, (2, 12, 4, 4)).named_parameters())
    assert set(untrained(name)) <= set(weights)


@pytest.mark.parametrize(
    ("spec", "shape", "words"),
    [
        ("cbam", (1, 12, 1, 1), "a single value"),
        ("ge:gather=conv", (1, 12, 4, 4), "take a larger batch"),
        ("ge:extent=8:gather=conv", (1, 12, 8, 8), "or a smaller extent"),
        ("triplet", (1, 12, 1, 1), "take a larger batch"),
        *((name, (1, 12, 1, 1), "a single value") for name in ("ema", "external", "glore")),
        ("apnb", (1, 12, 1, 1), "a single value"),
        ("dnl:norm=batch", (1, 12, 1, 1), "a single value"),
    ],
)
def test_a_batch_norm_that_cannot_train_says_so_and_infers_all_the_same(spec, shape, words):
    module = made(spec, shape)
    with pytest.raises(ValueError, match=words):
        module.train()(drawn(*shape))
    assert module.eval()(drawn(*shape)).isfinite().all()


@pytest.mark.parametrize("spec", ["bot", "ge:gather=conv"])
def test_a_block_that_is_bound_to_a_size_needs_it_and_refuses_another(spec):
    assert "height and width" in refusal_without_size(spec)
    module = made(spec, (2, 12, 4, 6)).eval()
    with pytest.raises(ValueError, match="built for 4x6, not 6x4"):
        module(drawn(2, 12, 6, 4))
    with pytest.raises(ValueError, match="built for 4x6, not 6x4"):
        module.letters((2, 12, 6, 4))


def refusal_without_size(spec):
    with pytest.raises(UsageError) as raised:
        build(spec, 12)
    return str(raised.value)


@pytest.mark.parametrize("spec", WITH_ZERO_INIT)
def test_a_block_that_starts_at_zero_still_has_a_gradient_to_leave_it_by(spec):
    x = drawn_for(spec, 2, 12, 7, 5)
    module = made(spec, x.shape).train()
    module(x).square().sum().backward()
    gradients = [parameter.grad for parameter in module.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("spec", WITH_ZERO_INIT)
def test_a_block_that_starts_at_zero_adds_nothing_and_halves_where_it_scales(spec, training):
    x = drawn_for(spec, 2, 12, 7, 5)
    out = made(spec, x.shape).train(training)(x)
    scales = options_at(spec).get("fusion", "add") != "add"
    assert torch.equal(out, x * 0.5 if scales else x)


def test_a_block_that_starts_at_zero_does_so_in_its_last_layer_whatever_a_norm_has_seen():
    x = drawn(2, 12, 7, 5)
    module = made("nl:norm=batch:zero_init=true", x.shape)
    module.bn.running_mean.fill_(3.0)
    assert module.z.weight.any()
    assert torch.equal(module.eval()(x), x)


@pytest.mark.parametrize("name", [n for n in NAMES if "zero_init" in choices(n)])
def test_a_block_does_something_unless_it_is_told_to_start_at_zero(name):
    x = drawn_for(name, 2, 24, 7, 5)
    assert not torch.allclose(made(name, x.shape).eval()(x), x, atol=1e-4)


@pytest.mark.parametrize("spec", SPECS)
def test_the_weights_are_those_of_the_seed(spec):
    shape = fitted(spec, (2, 12, 4, 4))
    torch.manual_seed(1)
    one = made(spec, shape, seed=5)
    torch.manual_seed(2)
    assert_same_state(one, made(spec, shape, seed=5))
    if list(one.parameters()):
        with pytest.raises(AssertionError):
            assert_same_state(one, made(spec, shape, seed=6))


@pytest.mark.parametrize("spec", SPECS)
def test_building_leaves_the_global_random_state_alone(spec):
    before = torch.get_rng_state()
    made(spec, fitted(spec, (2, 12, 4, 4)), seed=5)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", NAMES)
def test_building_makes_float32_weights_on_the_cpu_whatever_the_default_device(name):
    with torch.device("meta"):
        module = made(name, fitted(name, (2, 12, 4, 4)))
    for parameter in module.parameters():
        assert (parameter.device.type, parameter.dtype) == ("cpu", torch.float32)


@pytest.mark.parametrize("name", NAMES)
def test_the_block_of_a_case_is_built_with_the_ratio_of_its_case(name):
    case = case_at(name, (1, 24, 4, 4), ratio=3)
    built = build_case(case, 7)
    assert_same_state(built, build(name, 24, case.ratio, 7, (4, 4)))
    if resolve(name).takes_ratio:
        assert case.ratio == 3
        assert built.letters(case.shape)[divisors(name)["ratio"]] == 8
        with pytest.raises(AssertionError):
            assert_same_state(built, build(name, 24, 4, 7))


def copied(module):
    return copy.deepcopy(module)


def pickled(module):
    return pickle.loads(pickle.dumps(module))


@pytest.mark.parametrize("duplicate", [copied, pickled])
@pytest.mark.parametrize("spec", [spec for name in NAMES for spec in changed_once(name)])
def test_a_copy_computes_the_same_from_weights_of_its_own(spec, duplicate):
    x = drawn_for(spec, 2, 12, 5, 3)
    module = made(spec, x.shape).eval()
    expected = module(x)
    twin = duplicate(module)
    assert_same_state(module, twin)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1.0)
    assert torch.equal(twin(x), expected)


@pytest.mark.parametrize(
    ("spec", "ratio", "expected"),
    [
        ("gc", 12, ("constant_norm",)),
        ("gc", 7, ("constant_norm",)),
        ("gc", 6, ()),
        ("gc:norm=none", 12, ()),
        ("gc:bottleneck=false", None, ()),
        ("se", 12, ()),
    ],
)
def test_a_norm_over_a_single_channel_is_flagged(spec, ratio, expected):
    assert flags(build(spec, 12, ratio)) == expected


def test_a_norm_over_a_single_channel_makes_the_context_not_matter():
    module = build("gc", 12, 12).eval()
    addends = [module(x) - x for x in (drawn(1, 12, 4, 3, seed=s) for s in (1, 2))]
    torch.testing.assert_close(addends[0], addends[1])
