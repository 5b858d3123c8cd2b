"""How places in a network are written, and which modules they name."""

import pytest

from gcbench.errors import UsageError
from gcbench.networks import make_meta
from gcbench.networks.places import find, parse, split


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("c4.last-1", "c4.last-1"),
        ("c4.last-1/after_1x1", "c4.last-1"),
        ("c3-c5.all/after_add", "c3-c5.all/after_add"),
        ("c4", "c4.all"),
        ("c3-c5/after_add", "c3-c5.all/after_add"),
        ("layer3", "layer3"),
        ("layer2-layer4.all", "c3-c5.all"),
        ("layer3.5", "c4.5"),
        ("+1", "c4.last-1/after_add"),
        ("+1/after_1x1", "c4.last-1"),
        ("+all", "c3-c5.all"),
        ("+all/after_add", "c3-c5.all/after_add"),
        ("features.4.block", "features.4.block"),
        ("body.layer3.0/after_1x1", "body.layer3.0/after_1x1"),
    ],
)
def test_a_place_has_one_canonical_form_that_reads_back(text, canonical):
    [place] = parse(text)
    assert str(place) == canonical
    assert parse(canonical) == (place,)


def test_the_default_position_is_that_of_places_that_do_not_say():
    one, other, module = parse("c4.0,c4.1/after_1x1,conv1", "after_add")
    assert [one.position, other.position, module.position] == ["after_add", "after_1x1", None]


def test_a_spec_is_split_at_the_last_at_sign():
    assert split("gc:ratio=8@c5.all")[0] == "gc:ratio=8"
    assert split("a@b@c5.all")[0] == "a@b"


@pytest.mark.parametrize(
    ("network", "place", "paths"),
    [
        ("resnet50", "+1", ["layer3.4"]),
        ("resnet50", "c4.last-1", ["layer3.4.bn3"]),
        ("resnet50", "c5.all", ["layer4.0.bn3", "layer4.1.bn3", "layer4.2.bn3"]),
        ("resnet18", "c2.first,c2.0,c5.1", ["layer1.0.bn2", "layer4.1.bn2"]),
        ("resnet18", "layer1.0/after_add", ["layer1.0"]),
        ("resnet18", "layer1", ["layer1"]),
        ("maskrcnn_resnet50_fpn", "c5.0", ["backbone.body.layer4.0.bn3"]),
        (
            "maskrcnn_resnet50_fpn",
            "backbone.body.layer4.0/after_1x1",
            ["backbone.body.layer4.0.bn3"],
        ),
    ],
)
def test_places_name_modules(network, place, paths):
    assert find(make_meta(network), parse(place)) == paths


def test_all_of_three_stages_are_thirteen_in_a_resnet50_and_thirty_in_a_resnet101():
    assert len(find(make_meta("resnet50"), parse("+all"))) == 13
    assert len(find(make_meta("resnet101"), parse("+all"))) == 30


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gc", "'gc' does not say where"),
        ("gc@", "does not say where"),
        ("@c5.all", "does not say where"),
        ("gc@c6.all", "stages are c2 to c5"),
        ("gc@c7", "write stages and a residual block"),
        ("gc@c4.most", "write stages and a residual block"),
        ("gc@c5-c3.all", "from the lower stage up, c3-c5"),
        ("gc@c4.all/after", "did you mean 'after_"),
        ("gc@c4.all,", "write stages and a residual block"),
        ("gc@+2", "+1 or +all"),
    ],
)
def test_what_is_no_place_is_refused_with_what_would_be(text, words):
    with pytest.raises(UsageError) as refused:
        split(text)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("c4.6", "c4 has 6 residual blocks, 0 to 5"),
        ("c5.last-3", "c5 has 3 residual blocks"),
        ("layer3.5.bn4", "layer3.5 has no module 'bn4': did you mean 'bn"),
        ("layr3.5", "did you mean 'layer3'"),
        ("conv1/after_1x1", "no norm that ends its branch"),
    ],
)
def test_a_place_that_a_network_lacks_is_refused(place, words):
    with pytest.raises(UsageError) as refused:
        find(make_meta("resnet50"), parse(place))
    assert words in str(refused.value)


def test_a_model_without_stages_says_that_its_modules_have_paths():
    from torch import nn

    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    with pytest.raises(
        UsageError, match="has no stages layer1 to layer4: name a module by its path"
    ):
        find(model, parse("c3.all"))


def test_a_stage_that_is_no_sequence_has_no_residual_blocks():
    from torch import nn

    model = nn.ModuleDict({f"layer{number}": nn.Conv2d(3, 3, 1) for number in range(1, 5)})
    with pytest.raises(UsageError, match="layer2 is a Conv2d, no sequence"):
        find(model, parse("c3.all"))


def test_a_branch_that_normalises_first_has_no_end_to_put_a_block_behind():
    from torch import nn

    class PreActivation(nn.Module):
        def __init__(self):
            super().__init__()
            self.bn1, self.conv1 = nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1)

    model = nn.ModuleDict(
        {f"layer{number}": nn.Sequential(PreActivation()) for number in range(1, 5)}
    )
    assert find(model, parse("c3.all/after_add")) == ["layer2.0"]
    with pytest.raises(UsageError, match="PreActivation has no norm that ends its branch"):
        find(model, parse("c3.all"))
