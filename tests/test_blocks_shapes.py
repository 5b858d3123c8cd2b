"""What holds for every block whatever it computes: shapes, gradients, seeds, copies."""

import copy
import pickle

import pytest
import torch
from oracles import case_at, changed_once, choices, combinations, options_at
from torch import nn

from gcbench.blocks import BLOCKS, build, build_case, flags, resolve

NAMES = [entry.name for entry in BLOCKS]
SPECS = [spec for name in NAMES for spec in combinations(name)]
WITH_ZERO_INIT = [
    f"{spec}:zero_init=true"
    for name in NAMES
    if "zero_init" in choices(name)
    for spec in combinations(name)
]


def made(spec, channels=12, seed=0):
    """Build a block with a small ratio, where it takes one."""
    return build(spec, channels, 2 if resolve(spec).takes_ratio else None, seed)


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def assert_same_state(one, other):
    assert one.state_dict().keys() == other.state_dict().keys()
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


@pytest.mark.parametrize("entry", list(BLOCKS), ids=lambda entry: entry.name)
def test_every_line_of_the_table_loads_a_module_class_and_names_its_source(entry):
    assert issubclass(entry.load(), nn.Module)
    assert entry.summary
    assert entry.source.startswith("arXiv ")


@pytest.mark.parametrize("shape", [(1, 12, 7, 5), (3, 12, 2, 9), (2, 13, 6, 4)])
@pytest.mark.parametrize("spec", SPECS)
def test_a_block_keeps_the_shape_and_the_dtype_of_its_input(spec, shape):
    module = made(spec, channels=shape[1]).eval()
    for dtype in (torch.float32, torch.float64):
        out = module.to(dtype)(drawn(*shape).to(dtype))
        assert out.shape == shape
        assert out.dtype is dtype
        assert out.isfinite().all()


@pytest.mark.parametrize("spec", SPECS)
def test_a_block_leaves_its_input_as_it_was(spec):
    x = drawn(2, 12, 5, 3)
    before = x.clone()
    with torch.no_grad():
        made(spec).eval()(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("spec", SPECS)
def test_an_image_does_not_see_the_others_of_its_batch(spec):
    module = made(spec).double().eval()
    x = drawn(3, 12, 5, 4).double()
    alone = torch.cat([module(image[None]) for image in x])
    torch.testing.assert_close(module(x), alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("spec", SPECS)
def test_the_gradient_reaches_every_parameter_and_the_input(spec):
    module = made(spec).train()
    x = drawn(2, 12, 7, 5).requires_grad_()
    module(x).square().sum().backward()
    tensors = {"x": x, **dict(module.named_parameters())}
    assert len(tensors) > 1
    for name, tensor in tensors.items():
        assert tensor.grad is not None, name
        assert tensor.grad.isfinite().all(), name
        # a softmax does not see what is added to all its logits, so a bias may have none
        assert name.endswith("bias") or tensor.grad.any(), name


@pytest.mark.parametrize("spec", WITH_ZERO_INIT)
def test_a_block_that_starts_at_zero_still_has_a_gradient_to_leave_it_by(spec):
    module = made(spec).train()
    module(drawn(2, 12, 7, 5)).square().sum().backward()
    gradients = [parameter.grad for parameter in module.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("spec", WITH_ZERO_INIT)
def test_a_block_that_starts_at_zero_adds_nothing_and_halves_where_it_scales(spec, training):
    x = drawn(2, 12, 7, 5)
    out = made(spec).train(training)(x)
    scales = options_at(spec).get("fusion", "add") != "add"
    assert torch.equal(out, x * 0.5 if scales else x)


def test_a_block_that_starts_at_zero_does_so_in_its_last_layer_whatever_a_norm_has_seen():
    module, x = made("nl:norm=batch:zero_init=true"), drawn(2, 12, 7, 5)
    module.bn.running_mean.fill_(3.0)
    assert module.z.weight.any()
    assert torch.equal(module.eval()(x), x)


@pytest.mark.parametrize("name", [n for n in NAMES if "zero_init" in choices(n)])
def test_a_block_does_something_unless_it_is_told_to_start_at_zero(name):
    x = drawn(2, 12, 7, 5)
    assert not torch.allclose(made(name).eval()(x), x, atol=1e-4)


@pytest.mark.parametrize("spec", SPECS)
def test_the_weights_are_those_of_the_seed(spec):
    torch.manual_seed(1)
    one = made(spec, seed=5)
    torch.manual_seed(2)
    assert_same_state(one, made(spec, seed=5))
    with pytest.raises(AssertionError):
        assert_same_state(one, made(spec, seed=6))


@pytest.mark.parametrize("spec", SPECS)
def test_building_leaves_the_global_random_state_alone(spec):
    before = torch.get_rng_state()
    made(spec, seed=5)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", NAMES)
def test_building_makes_float32_weights_on_the_cpu_whatever_the_default_device(name):
    with torch.device("meta"):
        module = made(name)
    for parameter in module.parameters():
        assert (parameter.device.type, parameter.dtype) == ("cpu", torch.float32)


@pytest.mark.parametrize("name", NAMES)
def test_the_block_of_a_case_is_built_with_the_ratio_of_its_case(name):
    case = case_at(name, (1, 24, 4, 4), ratio=3)
    built = build_case(case, 7)
    assert_same_state(built, build(name, 24, case.ratio, 7))
    if resolve(name).takes_ratio:
        assert case.ratio == 3
        assert built.hidden == 8
        with pytest.raises(AssertionError):
            assert_same_state(built, build(name, 24, 4, 7))


def copied(module):
    return copy.deepcopy(module)


def pickled(module):
    return pickle.loads(pickle.dumps(module))


@pytest.mark.parametrize("duplicate", [copied, pickled])
@pytest.mark.parametrize("spec", [spec for name in NAMES for spec in changed_once(name)])
def test_a_copy_computes_the_same_from_weights_of_its_own(spec, duplicate):
    module = made(spec).eval()
    x = drawn(2, 12, 5, 3)
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
