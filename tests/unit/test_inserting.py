"""Putting blocks into networks: what changes, what does not, and what is refused."""

import copy
import io
import pickle

import pytest
import torch
from oracles import untrained
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

import gcbench
from gcbench.blocks import BLOCKS
from gcbench.blocks.constructors import options_of
from gcbench.errors import UsageError
from gcbench.networks import NETWORKS, make_meta
from gcbench.networks.inserting import whole_of
from gcbench.networks.probing import probed
from gcbench.networks.with_block import WithBlock, inserted

# every block that leaves its input as it is when its last layer starts at zero
STARTS_AT_ZERO = [
    "gc:zero_init=true",
    "gc:pooling=avg:zero_init=true",
    "gc:bottleneck=false:zero_init=true",
    "snl:zero_init=true",
    "nl:zero_init=true",
    "nl:norm=batch:subsample=before:zero_init=true",
    "glore:zero_init=true",
    "cc:zero_init=true",
    "dnl:norm=batch:zero_init=true",
    "mhsa:zero_init=true",
]
SMALL = (2, 3, 32, 32)


def resnet(block=BasicBlock, layers=(1, 2, 2, 1)):
    torch.manual_seed(0)
    return ResNet(block, list(layers), num_classes=5)


def images(shape=SMALL):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def test_every_block_of_the_table_that_can_start_at_zero_is_tried():
    can = {entry.name for entry in BLOCKS if "zero_init" in options_of(entry.load())}
    assert {spec.partition(":")[0] for spec in STARTS_AT_ZERO} == can


@pytest.mark.parametrize("position", ["after_1x1", "after_add"])
@pytest.mark.parametrize("spec", STARTS_AT_ZERO)
def test_a_block_that_starts_at_zero_leaves_the_output_as_it_is(spec, position):
    model = resnet(Bottleneck).eval()
    x = images()
    with torch.no_grad():
        before = model(x)
        changed, paths = gcbench.insert(model, spec, "c2-c4.all", position)
        assert changed is model
        assert len(paths) == 5
        torch.testing.assert_close(model(x), before, rtol=0, atol=0)


@pytest.mark.parametrize("spec", [entry.name for entry in BLOCKS])
def test_any_other_block_changes_the_output(spec):
    model = resnet().eval()
    with torch.no_grad():
        before = model(images())
        gcbench.insert(model, spec, "c4.all", shape=SMALL)
        assert not torch.allclose(model(images()), before)


@pytest.mark.parametrize("spec", [entry.name for entry in BLOCKS])
def test_a_model_with_blocks_pickles_and_copies_to_the_same(spec):
    model = gcbench.insert(resnet(), spec, "c3.all,+1", shape=SMALL)[0].eval()
    saved = io.BytesIO()
    torch.save(model, saved)
    saved.seek(0)
    with torch.no_grad():
        expected = model(images())
        for twin in (
            pickle.loads(pickle.dumps(model)),
            copy.deepcopy(model),
            torch.load(saved, weights_only=False),
        ):
            torch.testing.assert_close(twin(images()), expected, rtol=0, atol=0)
            shared = {id(p) for p in twin.parameters()} & {id(p) for p in model.parameters()}
            assert not shared


@pytest.mark.parametrize("spec", [entry.name for entry in BLOCKS])
def test_a_step_of_training_reaches_every_parameter(spec):
    model = gcbench.insert(resnet(), spec, "c3.all,c4.last/after_add", shape=SMALL)[0].train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    before = [
        parameter.detach().clone()
        for _, block in inserted(model)
        for parameter in block.parameters()
    ]
    with torch.enable_grad():
        model(images()).square().sum().backward()
    for name, parameter in model.named_parameters():
        is_untrained = ".inserted." in name and name.endswith(untrained(spec))
        assert (parameter.grad is None) == is_untrained, name
    optimiser.step()
    after = [parameter for _, block in inserted(model) for parameter in block.parameters()]
    moved = [not torch.equal(one, other) for one, other in zip(before, after, strict=True)]
    assert any(moved) or not moved


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["gc", "nl"])
def test_a_model_with_blocks_compiles_in_one_graph(spec):
    model = gcbench.insert(resnet(), spec, "c4.all,c5.0/after_add")[0].eval()
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(images()), model(images()))
    torch.compiler.reset()


def test_weights_of_the_plain_network_load_and_only_the_blocks_are_missing():
    plain = resnet()
    model, paths = gcbench.insert(copy.deepcopy(plain), "gc:zero_init=true", "c3-c5.all,+1")
    for parameter in model.parameters():
        parameter.data.add_(1)
    told = model.load_state_dict(plain.state_dict(), strict=False)
    assert told.unexpected_keys == []
    assert told.missing_keys
    assert all(".inserted.0." in name for name in told.missing_keys)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)
    for path in paths:
        assert any(name.startswith(f"{path}.inserted.0.") for name in model.state_dict())


def test_weights_of_a_model_with_blocks_load_into_another_strictly():
    one = gcbench.insert(resnet(), "gc", "c3-c5.all,c4.0/after_add", seed=1)[0]
    other = gcbench.insert(resnet(), "gc", "c3-c5.all,c4.0/after_add", seed=2)[0]
    other.load_state_dict(one.state_dict())
    for name, tensor in one.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)
    with torch.no_grad():
        assert torch.equal(one.eval()(images()), other.eval()(images()))


def test_two_blocks_at_one_place_stand_in_a_row():
    model = resnet().eval()
    x = torch.randn(1, 128, 4, 4)
    norm = model.layer2[0].bn2
    gcbench.insert(model, "gc", "c3.0")
    gcbench.insert(model, "se", "c3.0")
    place = model.layer2[0].bn2
    first, second = place.inserted
    with torch.no_grad():
        torch.testing.assert_close(place(x), second(first(norm(x))))
    assert any("bn2.inserted.1." in name for name in model.state_dict())


def test_the_residual_branch_is_reached_through_a_block_that_stands_behind_the_addition():
    model = resnet()
    gcbench.insert(model, "gc", "c4.0/after_add")
    gcbench.insert(model, "se", "c4.0")
    assert [name for name in model.state_dict() if ".inserted.0.fc" in name] == [
        f"layer3.0.bn2.inserted.0.fc{number}.{kind}"
        for number in (1, 2)
        for kind in ("weight", "bias")
    ]


@pytest.mark.parametrize("places", ["c4.0/after_add,c4.0", "c4.0,c4.0/after_add", "layer3,c4.0"])
def test_a_place_may_lie_within_another(places):
    model, paths = gcbench.insert(resnet().eval(), "gc", places)
    assert len(paths) == len(list(inserted(model))) == 2
    assert not any(".place." in name for name in model.state_dict())
    with torch.no_grad():
        assert model(images()).shape == (2, 5)


def test_synchronised_norms_keep_the_blocks_behind_them():
    model = gcbench.insert(resnet(), "gc", "c3-c5.all")[0]
    blocks = len(list(inserted(model)))
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert len(list(inserted(converted))) == blocks == 5
    assert isinstance(converted.layer2[0].bn2.place, nn.SyncBatchNorm)


def test_a_block_takes_the_models_dtype_and_mode_and_weights_of_its_own():
    model = resnet().double().eval()
    gcbench.insert(model, "gc", "c4.all")
    blocks = [block for _, block in inserted(model)]
    assert {p.dtype for block in blocks for p in block.parameters()} == {torch.float64}
    assert not any(module.training for module in model.modules())
    one, other = (block.conv_mask.weight for block in blocks)
    assert not torch.equal(one, other)


def test_the_same_seed_draws_the_same_blocks_and_leaves_the_global_numbers_alone():
    state = torch.get_rng_state()
    one, other = (gcbench.insert(resnet(), "gc", "c4.all", seed=3)[0] for _ in range(2))
    torch.set_rng_state(state)
    expected = torch.rand(3)
    torch.set_rng_state(state)
    model = copy.deepcopy(one)
    gcbench.insert(model, "se", "c5.all")
    assert torch.equal(torch.rand(3), expected)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_module_of_any_network_is_a_place():
    model = nn.Sequential(nn.Conv2d(3, 24, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    model(torch.zeros(1, 3, 8, 8))
    _, paths = gcbench.insert(model, "gc:ratio=4", "1", shape=(1, 3, 8, 8))
    assert paths == ["1"]
    assert model[1].inserted[0].channels == 24
    with pytest.raises(UsageError, match=r"of shape \(1, 864\), no \(B, C, H, W\) tensor"):
        gcbench.insert(model, "gc", "2", shape=(1, 3, 8, 8))


class Twice(nn.Module):
    """A pool that meets two widths, a module that is never called, and one that gives a pair."""

    def __init__(self):
        super().__init__()
        self.pool, self.wide, self.idle = nn.ReLU(), nn.Conv2d(3, 6, 1), nn.ReLU()
        self.pair = nn.MaxPool2d(2, return_indices=True)

    def forward(self, x):
        return self.pair(self.pool(self.wide(self.pool(x))))


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("pool", "is called more than once, with 3, 6 channels"),
        ("idle", "is not reached when an input 1x3x224x224 goes through"),
        ("pair", "the output there is a tuple, no (B, C, H, W) tensor"),
    ],
)
def test_a_place_without_one_width_is_refused(place, words):
    model = Twice()
    with pytest.raises(UsageError) as refused:
        gcbench.insert(model, "se:ratio=1", place)
    assert words in str(refused.value)
    assert not any(isinstance(module, WithBlock) for module in model.modules())


class Gate(nn.Module):
    """A block that forgets to multiply: what it gives could even be added."""

    def __init__(self, channels):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        if x.shape[1] == 512:
            raise ValueError("too wide")
        return self.pool(x)


def test_a_block_that_does_not_keep_the_shape_is_refused(monkeypatch):
    monkeypatch.setattr("gcbench.blocks.factory_of", lambda spec: Gate)
    model = resnet()
    with pytest.raises(UsageError, match="block 'own:Gate' gives 1x128x1x1 for 1x128x28x28"):
        gcbench.insert(model, "own:Gate", "c3.0")
    with pytest.raises(UsageError, match="does not take 1x512x7x7: ValueError: too wide"):
        gcbench.insert(model, "own:Gate", "c5.0")


def test_a_model_that_has_no_shapes_yet_gets_a_block_for_those_of_its_first_call():
    model = nn.Sequential(nn.LazyConv2d(4, 1))
    gcbench.insert(model, "se:ratio=1", "0")
    assert model(torch.ones(1, 3, 8, 8)).shape == (1, 4, 8, 8)


def test_a_model_that_cannot_be_copied_is_refused():
    class Single(nn.Conv2d):
        def __deepcopy__(self, memo):
            raise TypeError("there is only one")

    with pytest.raises(UsageError, match=r"cannot be copied to see.*there is only one"):
        gcbench.insert(nn.Sequential(Single(3, 4, 1)), "se:ratio=1", "0")


def test_a_model_that_takes_no_such_input_says_what_it_raised():
    with pytest.raises(
        UsageError, match="the network cannot be called on an input 1x3x8x8: RuntimeE"
    ):
        gcbench.insert(nn.Sequential(nn.Conv2d(4, 4, 1)), "se:ratio=1", "0", shape=(1, 3, 8, 8))


def test_a_ratio_that_leaves_no_channel_says_where_and_leaves_the_model_as_it_was():
    model = resnet()
    names = list(model.state_dict())
    with pytest.raises(UsageError, match=r"at layer1\.0\.bn2: .*ratio=100 leaves no channel of 64"):
        gcbench.insert(model, "gc:ratio=100", "c5.all,c2.all")
    assert list(model.state_dict()) == names


def test_looking_at_a_models_outputs_leaves_the_model_as_it_was():
    model = resnet()
    before = copy.deepcopy(model.state_dict())
    [site] = probed(model, ["layer4.0.bn2"], SMALL, whole_of(SMALL)).values()
    assert site.shape == (2, 512, 1, 1)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("name", [entry.name for entry in NETWORKS])
def test_every_network_of_the_table_takes_a_block_in_every_stage(name):
    model = make_meta(name)
    _, paths = gcbench.insert(model, "gc:ratio=4", "c2-c5.last")
    assert len(paths) == 4
    channels = [block.channels for _, block in inserted(model)]
    assert channels == [channels[0] * 2**stage for stage in range(4)]
