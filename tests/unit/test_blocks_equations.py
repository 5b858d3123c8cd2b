"""Every block computes its paper's equation: as loops over positions in float64 write it."""

import pytest
import torch
from oracles import EQUATIONS, combinations, equation, fitted, randomise, weights_of
from torchvision.ops import SqueezeExcitation

from gcbench.blocks import BLOCKS, build, loops, resolve

pytestmark = pytest.mark.usefixtures("single_thread")

SPECS = [spec for entry in BLOCKS for spec in combinations(entry.name)]
_WB = ("weight", "bias")
SHAPES = [(2, 6, 3, 5), (1, 7, 4, 2)]


def made(spec, channels, ratio=2, seed=0, size=None):
    """Build a block in eval mode, all its weights and statistics random."""
    ratio = ratio if resolve(spec).takes_ratio else None
    return randomise(build(spec, channels, ratio, size=size), seed).eval()


def drawn(shape, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@torch.no_grad()
def assert_computes(module, spec, x):
    """The module's output is the equation's, in both precisions."""
    expected = equation(spec, weights_of(module), x)
    assert expected.shape == x.shape
    # what is compared must be more than x passed through
    assert (expected - x).abs().max() > 1e-2
    torch.testing.assert_close(module.double()(x), expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(module.float()(x.float()).double(), expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def assert_same_function(one, other, x, tolerance=1e-10):
    torch.testing.assert_close(
        one.double().eval()(x), other.double().eval()(x), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("entry", list(BLOCKS), ids=lambda entry: entry.name)
def test_every_line_of_the_table_has_an_equation_here(entry):
    assert entry.name in EQUATIONS


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("spec", SPECS)
def test_a_block_computes_its_equation(spec, shape):
    shape = fitted(spec, shape)
    assert_computes(made(spec, shape[1], size=shape[2:]), spec, drawn(shape))


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("spec", [entry.name for entry in BLOCKS])
def test_a_block_computes_its_equation_whatever_the_weights(spec, seed):
    shape = fitted(spec, (1, 5, 3, 3))
    assert_computes(made(spec, shape[1], seed=seed, size=(3, 3)), spec, drawn(shape, seed))


@pytest.mark.parametrize("ratio", [1, 3, 6])
@pytest.mark.parametrize("spec", ["gc", "se", "gc:fusion=both"])
def test_a_bottleneck_computes_its_equation_at_every_ratio(spec, ratio):
    assert_computes(made(spec, 6, ratio), spec, drawn((2, 6, 3, 2)))


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        ("eca:kernel=1", (1, 4, 3, 2)),
        ("eca:kernel=9", (1, 4, 3, 2)),
        ("eca", (1, 128, 2, 1)),
        ("cbam:kernel=3", (2, 6, 3, 4)),
        ("ge:extent=8:gather=conv", (1, 4, 17, 9)),
        ("ge:extent=2", (1, 4, 9, 6)),
        ("coord:least=1:reduction=2", (1, 6, 3, 4)),
        ("simam:lam=0.5", (1, 3, 4, 3)),
        ("triplet:kernel=3", (1, 5, 4, 3)),
        ("a2:reduction=1", (1, 5, 3, 2)),
        ("efficient:heads=3", (2, 6, 3, 4)),
        ("efficient:reduction=1:heads=2", (1, 4, 3, 2)),
        ("ema:bases=5:stages=1", (1, 4, 3, 2)),
        ("external:memory=3", (1, 4, 3, 2)),
        ("glore:reduction=2", (1, 6, 3, 2)),
        ("apnb:bins=2-5:reduction=3", (1, 6, 7, 3)),
        ("cc:recurrence=1:reduction=2", (2, 6, 3, 4)),
        ("cc:recurrence=3", (1, 8, 2, 3)),
        ("dnl:temperature=0.7:reduction=3", (1, 6, 3, 4)),
        ("mhsa:heads=3", (2, 6, 3, 4)),
        ("bot:heads=1", (2, 3, 3, 4)),
        ("bot:heads=3:scale_position=true", (1, 6, 4, 2)),
    ],
)
def test_a_block_computes_its_equation_at_other_numbers(spec, shape):
    assert_computes(made(spec, shape[1], size=shape[2:]), spec, drawn(shape))


def test_double_attention_is_the_same_by_the_other_association():
    spec, x = "a2", drawn((1, 8, 3, 4))
    module = made(spec, 8).double()
    by_pairs = loops.double_attention_by_pairs(x[0], weights_of(module), {"residual": True})
    torch.testing.assert_close(module(x)[0].detach(), by_pairs, rtol=1e-12, atol=1e-12)


def test_gather_excite_over_all_positions_with_an_mlp_is_squeeze_excitation():
    ge, se = made("ge:excite=mlp", 6), made("se", 6, seed=1)
    se.load_state_dict(ge.state_dict())
    assert_same_function(ge, se, drawn((2, 6, 3, 5)), tolerance=1e-14)


def test_fused_attention_is_the_written_out_one():
    fused, plain = made("mhsa", 16), made("mhsa:sdpa=false", 16, seed=1)
    plain.load_state_dict(fused.state_dict())
    assert_same_function(fused, plain, drawn((2, 16, 3, 5)), tolerance=1e-13)


def test_criss_cross_applied_twice_is_one_application_after_another():
    twice, once = made("cc", 8).double(), made("cc:recurrence=1", 8, seed=1).double()
    once.load_state_dict(twice.state_dict())
    x = drawn((2, 8, 3, 5))
    with torch.no_grad():
        torch.testing.assert_close(twice(x), once(once(x)), rtol=0, atol=0)


@pytest.mark.parametrize("reduction", [1, 3, 5])
@pytest.mark.parametrize("similarity", ["embedded_gaussian", "dot_product", "concatenation"])
def test_non_local_computes_its_equation_at_every_inner_width(similarity, reduction):
    spec = f"nl:reduction={reduction}:similarity={similarity}"
    assert_computes(made(spec, 6), spec, drawn((1, 6, 3, 4)))


@pytest.mark.parametrize(
    "shape", [(1, 4, 1, 1), (1, 4, 1, 6), (2, 4, 5, 1)], ids=lambda s: "x".join(map(str, s))
)
@pytest.mark.parametrize(
    "spec", [spec for spec in SPECS if "subsample" not in spec and "fusion=both" not in spec]
)
def test_a_block_computes_its_equation_at_a_single_row_column_or_position(spec, shape):
    shape = fitted(spec, shape)
    assert_computes(made(spec, shape[1], size=shape[2:]), spec, drawn(shape))


def test_a_softmax_far_from_zero_is_computed_without_overflow():
    for spec, scaled in (("gc", "conv_mask"), ("snl", "key"), ("nl", "theta")):
        module = made(spec, 6)
        with torch.no_grad():
            getattr(module, scaled).weight.mul_(400)
        expected = equation(spec, weights_of(module), drawn((1, 6, 3, 3)))
        out = module.double()(drawn((1, 6, 3, 3)))
        assert out.isfinite().all()
        torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-10)


# --- the same function in two ways ---------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
def test_hoisting_out_of_the_simplified_block_changes_nothing(shape):
    hoisted, plain = made("snl", shape[1]), made("snl:hoist=false", shape[1], seed=1)
    plain.load_state_dict(hoisted.state_dict())
    assert hoisted.value.bias.abs().min() > 0
    assert_same_function(hoisted, plain, drawn(shape))


def test_gc_without_a_bottleneck_is_the_simplified_block():
    snl, gc = made("snl", 6), made("gc:bottleneck=false", 6, seed=1)
    state = snl.state_dict()
    names = {"conv_mask": "key", "channel_add_conv.0": "value"}
    gc.load_state_dict(
        {f"{ours}.{w}": state[f"{its}.{w}"] for ours, its in names.items() for w in _WB}
    )
    assert_same_function(snl, gc, drawn((2, 6, 3, 5)))


@pytest.mark.parametrize("ratio", [1, 2, 6])
def test_se_is_torchvisions_with_its_state_dict(ratio):
    ours, theirs = made("se", 6, ratio), SqueezeExcitation(6, 6 // ratio)
    theirs.load_state_dict(ours.state_dict())
    assert_same_function(ours, theirs, drawn((2, 6, 3, 5)), tolerance=1e-14)
    again = made("se", 6, ratio, seed=1)
    again.load_state_dict(theirs.state_dict())
    assert_same_function(again, theirs, drawn((2, 6, 3, 5)), tolerance=1e-14)


@pytest.mark.parametrize("ratio", [1, 2, 6])
def test_gc_with_average_pooling_scaling_and_no_norm_is_se(ratio):
    se, gc = made("se", 6, ratio), made("gc:fusion=scale:norm=none:pooling=avg", 6, ratio, seed=1)
    state = se.state_dict()
    names = {"channel_mul_conv.0": "fc1", "channel_mul_conv.3": "fc2"}
    gc.load_state_dict(
        {f"{ours}.{w}": state[f"{its}.{w}"] for ours, its in names.items() for w in _WB}
    )
    assert_same_function(se, gc, drawn((2, 6, 3, 5)))


def test_gc_with_average_pooling_and_scaling_is_not_se_while_it_has_a_norm():
    se, gc = made("se", 6), made("gc:fusion=scale:pooling=avg", 6, seed=1)
    state = se.state_dict()
    mapped = gc.state_dict()
    for ours, its in {"channel_mul_conv.0": "fc1", "channel_mul_conv.3": "fc2"}.items():
        mapped |= {f"{ours}.{w}": state[f"{its}.{w}"] for w in _WB}
    gc.load_state_dict(mapped)
    with pytest.raises(AssertionError):
        assert_same_function(se, gc, drawn((2, 6, 3, 5)))


def test_fusion_both_scales_first_and_adds_from_the_context_of_the_raw_input():
    both, scale, add = (made(f"gc:fusion={f}", 6, seed=4) for f in ("both", "scale", "add"))
    state = both.state_dict()
    for part in (scale, add):
        part.load_state_dict({name: state[name] for name in part.state_dict()})
    x = drawn((2, 6, 3, 5))
    with torch.no_grad():
        expected = scale.double()(x) + (add.double()(x) - x)
        torch.testing.assert_close(both.double()(x), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("subsample", ["none", "before", "after"])
@torch.no_grad()
def test_concatenation_is_the_materialised_form(subsample):
    module = made(f"nl:similarity=concatenation:subsample={subsample}", 6).double()
    x = drawn((2, 6, 4, 5))
    pool = torch.nn.functional.max_pool2d
    source = pool(x, 2) if subsample == "before" else x
    theta, phi, g = module.theta(x), module.phi(source), module.g(source)
    if subsample == "after":
        phi, g = pool(phi, 2), pool(g, 2)
    theta, phi, g = theta.flatten(2), phi.flatten(2), g.flatten(2)
    (B, d, N), K = theta.shape, phi.shape[2]
    pairs = torch.cat(
        [theta[..., None].expand(B, d, N, K), phi[..., None, :].expand(B, d, N, K)], dim=1
    )  # (B, 2d, N, K)
    w = torch.cat([module.w_theta.weight, module.w_phi.weight], dim=1).flatten()
    attention = torch.relu(torch.einsum("c,bcnk->bnk", w, pairs)) / K
    y = torch.einsum("bnk,bdk->bdn", attention, g).reshape(B, d, *x.shape[2:])
    torch.testing.assert_close(module(x), x + module.z(y), rtol=1e-10, atol=1e-10)


def test_a_scale_folds_into_theta():
    scaled, plain = made("nl", 6), made("nl:scale=false", 6, seed=1)
    plain.load_state_dict(scaled.state_dict())
    with torch.no_grad():
        scaled.double(), plain.double()
        for parameter in plain.theta.parameters():
            parameter.mul_(plain.inner**-0.5)
    assert_same_function(scaled, plain, drawn((2, 6, 3, 5)))


@pytest.mark.parametrize("similarity", ["gaussian", "dot_product", "concatenation"])
def test_only_the_embedded_gaussian_is_scaled(similarity):
    one = made(f"nl:similarity={similarity}", 6)
    other = made(f"nl:scale=false:similarity={similarity}", 6, seed=1)
    other.load_state_dict(one.state_dict())
    assert_same_function(one, other, drawn((2, 6, 3, 5)), tolerance=0)
