"""Networks of every kind that people bring, at places of every kind: what is added is right."""

import csv
import math
from dataclasses import replace

import networks_of_others as kinds
import pytest
import torch
from commands import ran
from torch import nn
from torchvision.models import detection, swin_t

import gcbench
from gcbench import networks
from gcbench.errors import UsageError
from gcbench.measure.counting.account import watched
from gcbench.measure.counting.meta import meta_pass
from gcbench.measure.workload import Workload
from gcbench.networks import (
    build_case,
    build_meta,
    comparison_inside,
    inserting,
    on_images,
    read_insertion,
    resolve,
)
from gcbench.networks.with_block import inserted
from gcbench.spec.cases import Axes, Network

HERE = "networks_of_others"
QUICK = ["--precision", "50%", "--max-time", "50ms", "--threads", "1"]
# gc at 64 channels and ratio 16 on 16x16 positions: mask, two layers and a norm between
GC = {"params": 65 + (64 * 4 + 4) + 2 * 4 + (4 * 64 + 64), "macs": 2 * 64 * 256 + 2 * 64 * 4}


pytestmark = pytest.mark.usefixtures("foreign_code_here")


def rows_of(capsys, *arguments, code=0):
    done, out, err = ran("network", *arguments, "--format", "csv", capsys=capsys)
    assert done == code, err
    return list(csv.DictReader(out.splitlines()))


def refusal_of(capsys, *arguments):
    code, out, err = ran("network", *arguments, "--static", capsys=capsys)
    assert (code, out) == (2, ""), err
    lines = [line for line in err.splitlines() if "loading torch" not in line]
    assert len(lines) == 1, err
    return lines[0]


def added(row):
    return int(row["params_added"]), int(row["macs_added"])


@pytest.mark.parametrize(
    "kind",
    [
        *("Net", "Schedule", "Lists", "PlainAttribute", "Literal", "Behind", "Grey"),
        *("Shared", "Trained"),
    ],
)
@pytest.mark.parametrize("more", [["--static"], QUICK])
def test_a_block_adds_the_same_to_every_kind_of_network(kind, more, capsys):
    place = "again" if kind == "Shared" else "body"
    arguments = [f"{HERE}:{kind}", "--insert", f"gc@{place}", "--size", "64"]
    plain, gc = rows_of(capsys, *arguments, *more)
    assert added(gc) == (GC["params"], GC["macs"]) == (653, 33_280)
    assert (plain["inserted"], gc["inserted"]) == ("0", "1")
    assert gc["flags"].split().count("channels_last_places") == 0
    assert gc["status"] == "ok", gc["reason"]
    assert plain["channels"] == ("1" if kind == "Grey" else "3")


@pytest.mark.parametrize("more", [["--static"], QUICK])
@pytest.mark.parametrize("size", ["64", "96x32"])
def test_where_channels_come_last_the_block_is_called_between_permutations(size, more, capsys):
    arguments = [f"{HERE}:ChannelsLast", "--insert", "gc@stage", "--size", size]
    _, gc = rows_of(capsys, *arguments, *more)
    assert int(gc["params_added"]) == 49 + (48 * 3 + 3) + 2 * 3 + (3 * 48 + 48) == 394
    assert "channels_last_places" in gc["flags"]
    assert gc["status"] == "ok", gc["reason"]


def test_a_block_between_permutations_computes_what_it_computes_alone():
    model = kinds.ChannelsLast().eval()
    x = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        stage = model.stage(model.patch(x).permute(0, 2, 3, 1))
        gcbench.insert(model, "gc", "stage", shape=(1, 3, 64, 32))
        [(_, block)] = inserted(model)
        expected = block(stage.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        found = model.stage(model.patch(x).permute(0, 2, 3, 1))
    torch.testing.assert_close(found, expected)
    assert found.is_contiguous()


def test_what_no_layer_and_no_second_height_tells_is_refused(capsys):
    said = refusal_of(capsys, f"{HERE}:Opaque", "--insert", "gc@mix", "--size", "64")
    assert "which dimension holds the channels cannot be told" in said


@pytest.mark.parametrize("size", [(64, 64), (96, 128)])
def test_swin_gets_a_block_of_its_channels_at_any_size(size):
    # C = 96, p = 6
    form = 97 + (96 * 6 + 6) + 2 * 6 + (6 * 96 + 96)
    model, paths = gcbench.insert(swin_t().eval(), "gc", "features.1", shape=(1, 3, *size))
    [(_, block)] = inserted(model)
    assert paths == ["features.1"]
    assert sum(each.numel() for each in block.parameters()) == form == 1363
    with torch.no_grad():
        assert model(torch.zeros(1, 3, *size)).shape == (1, 1000)


def test_a_block_is_exchanged_for_another_and_the_row_says_so(capsys):
    arguments = [f"{HERE}:Recalibrated", "--replace", "body.3=gc", "--size", "64"]
    for more in (["--static"], QUICK):
        _, row = rows_of(capsys, *arguments, *more)
        assert row["spec"] == "body.3=gc"
        assert int(row["params_added"]) == 653 - 580 == 73
        assert int(row["macs_added"]) == GC["macs"] - 2 * 64 * 4
        assert (row["replaced"], row["inserted_at"]) == ("1 SqueezeExcitation", "body.3")
    _, row = rows_of(
        capsys,
        arguments[0],
        "--replace",
        "SqueezeExcitation=gc:ratio=8",
        *arguments[3:],
        "--static",
    )
    assert row["ratio"] == "8"
    code, out, _ = ran("network", *arguments, "--static", capsys=capsys)
    assert code == 0
    assert "1 block, in place of 1 SqueezeExcitation, at body.3" in out


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("Squeeze=gc", "nothing in the network is a 'Squeeze'"),
        ("body.4=gc", "body has no module '4'"),
        ("stem=gc", "gives 1x32x32x32 for 1x3x64x64: no block can stand there"),
        ("gc@body", "write WHAT=SPEC"),
        ("body.3=", "write WHAT=SPEC"),
        ("body.3=gcc", "unknown block 'gcc'"),
    ],
)
def test_an_exchange_that_cannot_be_is_one_clear_line(what, words, capsys):
    said = refusal_of(capsys, f"{HERE}:Recalibrated", "--replace", what, "--size", "64")
    assert words in said


def test_one_row_may_hold_different_blocks(capsys):
    both = "gc:ratio=8@c3.last+se@c4"
    arguments = ["resnet18", "--size", "64", "--static", "-r", "4", "--insert"]
    rows = rows_of(capsys, *arguments, both, "--insert", "gc:ratio=8@c3.last", "--insert", "se@c4")
    _, mixed, gc, se = rows
    assert (mixed["spec"], mixed["ratio"]) == ("gc:ratio=8@c3.last+se@c4.all", "4")
    assert added(mixed) == tuple(map(sum, zip(added(gc), added(se), strict=True)))
    assert mixed["inserted_at"].split() == ["layer2.1.bn2", "layer3.0.bn2", "layer3.1.bn2"]


def test_parts_of_a_row_may_lie_within_each_other(capsys):
    insert = ["--insert", "gc@layer3+se@layer3.1.bn2+simam@layer3"]
    _, row = rows_of(capsys, "resnet18", *insert, "--size", "64", "--static")
    assert row["inserted_at"].split() == ["layer3", "layer3.1.bn2", "layer3"]
    assert row["inserted"] == "3"


def test_volumes_are_measured_with_blocks_that_take_them(capsys):
    volume = [f"{HERE}:Volume", "--input", "1x3x8x32x32"]
    for more in (["--static"], QUICK):
        plain, row = rows_of(capsys, *volume, "--insert", f"{HERE}:Scale@body", *more)
        assert added(row) == (64 * 65, 64 * 64)
        assert row["network"] == f"{HERE}:Volume/input=1x3x8x32x32"
        assert row["status"] == plain["status"] == "ok"
    said = refusal_of(capsys, *volume, "--insert", "gc@body", "--layout", "channels_last")
    assert "--layout channels_last is of (B, C, H, W), and the input is 1x3x8x32x32" in said
    said = refusal_of(capsys, *volume, "--insert", "gc@body")
    assert "block 'gc' takes (B, C, H, W), and the output there is 1x64x2x8x8" in said
    said = refusal_of(capsys, volume[0], "--insert", "gc@body")
    assert "begins with a Conv3d" in said
    assert "--input BxCxDxHxW" in said


@pytest.mark.parametrize("more", [["--static"], QUICK])
@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("Grey", ["2x1x64x64"]),
        ("Pair", ["1x3x64x64", "1x10"]),
        ("Named", [f"{HERE}:named_inputs"]),
        ("Frames", ["1x4x3x64x64"]),
        ("OneByOne", [f"{HERE}:two_images"]),
    ],
)
def test_a_network_is_called_on_what_it_takes(kind, given, more, capsys):
    inputs = [each for text in given for each in ("--input", text)]
    plain, gc = rows_of(capsys, f"{HERE}:{kind}", "--insert", "gc@body", *inputs, *more)
    times = {"Grey": 2, "Frames": 4}.get(kind, 1)
    # the second of two images is half as wide: a mask and a sum at 128 positions, and two layers
    more = 2 * 64 * 128 + 2 * 64 * 4 if kind == "OneByOne" else 0
    assert added(gc) == (653, times * 33_280 + more)
    assert plain["status"] == gc["status"] == "ok", gc["reason"]
    assert (kind != "Grey") == ("/input=" in gc["network"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["Net", "--input", "1x3x64x64", "--size", "32"], "leave --batch and --size out"),
        (["Net", "--input", "1x3x64xno"], "--input takes a shape such as 1x1x64x64"),
        (["Net", "--input", "1x0x64x64"], "--input takes a shape such as 1x1x64x64"),
        (["Net", "--input", "1x3"], "at least 3 sides"),
        (["Net", "--input", f"{HERE}:no_images"], "it makes no images"),
        (["Net", "--input", f"{HERE}:nothing"], "has no class or function 'nothing'"),
        (["Net", "--input", "1x4x64x64"], "cannot be called on an input 1x4x64x64"),
    ],
)
def test_an_input_that_is_none_is_one_clear_line(arguments, words, capsys):
    net, *more = arguments
    assert words in refusal_of(capsys, f"{HERE}:{net}", "--insert", "gc@body", *more)


def test_only_what_a_whole_pass_does_not_call_is_not_reached(capsys):
    for place, words in (
        (
            "body",
            "not reached when an input 1x3x64x64 goes through; the module there is also again",
        ),
        ("mix", "takes no block, since the network does not only call the module there"),
    ):
        said = refusal_of(capsys, f"{HERE}:Shared", "--insert", f"gc@{place}", "--size", "64")
        assert words in said
    said = refusal_of(capsys, f"{HERE}:Trained", "--insert", "gc@auxiliary", "--size", "64")
    assert "'auxiliary' is not reached" in said


def test_what_a_network_does_not_only_call_takes_no_block(capsys):
    net = [f"{HERE}:Iterated", "--size", "64", "--insert"]
    said = refusal_of(capsys, *net, "gc@body")
    assert "'body' takes no block, since the network does not only call the module there" in said
    assert said.endswith("name one of its modules, as in body.2")
    assert "'weight'" in refusal_of(capsys, *net, "gc@stem.0")
    assert added(rows_of(capsys, *net, "gc@body.2", "--static")[1]) == (653, 33_280)


def test_the_channels_are_those_that_the_network_takes_whichever_layer_was_made_first(capsys):
    arguments = [f"{HERE}:Decoder", "--insert", "gc@encoder.body", "--size", "64", "--static"]
    plain, gc = rows_of(capsys, *arguments)
    assert added(gc) == (653, 33_280)
    assert plain["channels"] == "2"


DETECTORS = {
    "fasterrcnn_resnet50_fpn": ("rpn.head.conv", "backbone.fpn.layer_blocks.0"),
    "fasterrcnn_mobilenet_v3_large_320_fpn": ("rpn.head.conv", "backbone.body.6"),
    "maskrcnn_resnet50_fpn": ("roi_heads.mask_head", "roi_heads.mask_predictor.conv5_mask"),
    "keypointrcnn_resnet50_fpn": ("roi_heads.keypoint_head", "backbone.body.layer4"),
    "retinanet_resnet50_fpn": ("head.classification_head.conv", "backbone.body.layer3"),
    "fcos_resnet50_fpn": ("head.regression_head.conv", "backbone.body.layer3"),
    "ssd300_vgg16": ("head.classification_head.module_list.0", "backbone.features"),
    "ssdlite320_mobilenet_v3_large": ("head.regression_head.module_list.1", "backbone.features.0"),
}


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("name", DETECTORS)
def test_no_row_tells_of_more_blocks_than_it_measures(name, whole):
    """Each block's own cost, by what really goes through it, is what the row has more."""
    network = Network(resolve(f"torchvision.models.detection:{name}"), whole=whole)
    for place in DETECTORS[name]:
        size = (320, 320)
        found = comparison_inside(
            network, [read_insertion(f"se@{place}")], [16], Axes(size=size), "cpu"
        )
        plain, case = found.cases
        if not (whole or place.startswith("backbone")):
            with pytest.raises(UsageError, match=r"outside of what is measured.*--whole"):
                build_meta(case)
            continue
        assert_says_what_is_in_it(build_meta(plain), build_meta(case), plain, case)


def assert_says_what_is_in_it(plain, module, plain_case, case):
    """What a case has more than the plain one is what its blocks cost on what they are given."""
    blocks = [block for _, block in inserted(module)]
    given = []
    for block in blocks:
        block.register_forward_hook(lambda block, args, _: given.append((block, args[0].shape)))
    module.eval()(torch.empty(case.input_shape, device="meta"))
    for block in blocks:
        block._forward_hooks.clear()
    assert len(blocks) == len(module.put) >= 1
    assert {id(block) for block, _ in given} == set(map(id, blocks))
    before, after = meta_pass(plain, plain_case), meta_pass(module, case)
    own = sum(p.numel() for block in blocks for p in block.parameters())
    assert after.params - before.params == own
    macs = 0
    for block, shape in given:
        macs += watched(Workload(block, torch.empty(shape, device="meta"))).macs
    assert after.macs - before.macs == macs


def test_every_builder_of_detectors_is_among_them():
    builders = {
        name
        for name in dir(detection)
        if callable(getattr(detection, name)) and name.islower() and not name.startswith("_")
    }
    # versions of one another
    assert {name.removesuffix("_v2") for name in builders} <= {*DETECTORS} | {
        "fasterrcnn_mobilenet_v3_large_fpn"
    }


def test_the_channels_of_an_input_are_those_of_the_first_convolution():
    grey = on_images(Network(f"{HERE}:Grey"), Axes(batch=2, size=(32, 64)))
    assert grey.inputs == ((2, 1, 32, 64),)
    assert on_images(Network(f"{HERE}:Net"), Axes()).inputs == ()
    assert on_images(Network("resnet18"), Axes()).inputs == ()


def test_a_network_on_meta_and_on_the_cpu_have_the_same_blocks():
    for kind, place in (("Schedule", "body"), ("ChannelsLast", "stage")):
        network = Network(f"{HERE}:{kind}")
        case = comparison_inside(
            network, [read_insertion(f"gc@{place}")], [16], Axes(size=(64, 64)), "cpu"
        )
        one, other = build_meta(case.cases[1]), build_case(case.cases[1], seed=0)
        assert {n: t.shape for n, t in one.state_dict().items()} == {
            n: t.shape for n, t in other.state_dict().items()
        }


def test_a_place_of_a_network_that_is_trained_is_reached_in_training_too():
    class Evaluated(kinds.Net):
        def forward(self, x):
            x = self.stem(x)
            return self.fc((x.tile(1, 2, 1, 1) if self.training else self.body(x)).mean((2, 3)))

    Evaluated.__module__ = HERE
    kinds.Evaluated = Evaluated
    try:
        case = comparison_inside(
            Network(f"{HERE}:Evaluated"),
            [read_insertion("gc@body")],
            [16],
            Axes(size=(64, 64)),
            "cpu",
        ).cases[1]
        build_meta(case)
        with pytest.raises(UsageError, match="not reached in training mode"):
            build_meta(replace(case, mode="train"))
    finally:
        del kinds.Evaluated


def test_a_trunk_of_other_layers_takes_blocks_in_its_own_memory_format():
    model = nn.Sequential(nn.Conv2d(3, 32, 3), nn.GELU())
    gcbench.insert(model, "gc", "1", shape=(1, 3, 16, 16))
    x = torch.randn(1, 3, 16, 16).to(memory_format=torch.channels_last)
    assert model(x).shape == (1, 32, 14, 14)


def test_an_exchange_in_efficientnet_adds_up_by_hand():
    """B0's 16 squeezes become convolutions of 3 or 5 weights, by the rule of the ECA paper."""
    model = networks.make_meta("torchvision.models:efficientnet_b0")
    squeezes = [m for m in model.modules() if type(m).__name__ == "SqueezeExcitation"]
    widths = [squeeze.fc1.in_channels for squeeze in squeezes]
    kernels = []
    for width in widths:
        k = int(abs((math.log2(width) + 1) / 2))
        kernels.append(max(k if k % 2 else k + 1, 3))
    own = sum(p.numel() for squeeze in squeezes for p in squeeze.parameters())
    put = inserting.replace(model, "timm/eca", "SqueezeExcitation")
    assert len(put) == len(widths) == 16
    assert {each.went for each in put} == {"SqueezeExcitation"}
    whole = sum(p.numel() for p in model.parameters())
    assert whole == 5_288_548 - own + sum(kernels)


def test_an_exchange_in_timms_seresnet_gives_its_own_eca_variant():
    import timm

    model = networks.make_meta("timm/seresnet50")
    inserting.replace(model, "timm/eca", "SEModule")
    with torch.device("meta"):
        theirs = timm.create_model("resnet50", block_args={"attn_layer": "eca"})
    count = [sum(p.numel() for p in each.parameters()) for each in (model, theirs)]
    assert count[0] == count[1]
