"""The table of networks, networks of the user's, weights from files, and no downloads."""

import os
import pickle
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from gcbench.errors import UsageError
from gcbench.measure.counting.meta import meta_pass
from gcbench.measure.counting.parameters import parameter_count
from gcbench.measure.workload import make_workload
from gcbench.networks import (
    NETWORKS,
    build_case,
    build_meta,
    comparison_inside,
    make,
    make_meta,
    read_insertion,
    resolve,
    weights,
)
from gcbench.networks.detectors import fixed_boxes
from gcbench.spec.cases import Axes, Network

USERS_OWN = """
import torch
from torch import nn
from torchvision.models import resnet18, detection

def small(width=8):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU())

def not_a_module():
    return 3

def fails():
    raise ZeroDivisionError("by accident")

def wants_weights(weights="DEFAULT"):
    return resnet18(weights=weights)

def downloads():
    torch.hub.load_state_dict_from_url("https://example.invalid/no-such-weights.pth")

def wants_backbone(weights_backbone="DEFAULT"):
    return detection.fasterrcnn_resnet50_fpn(weights_backbone=weights_backbone)

number = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's, to be imported by the name that this gives."""
    (tmp_path / "own_networks.py").write_text(USERS_OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "own_networks"
    sys.modules.pop("own_networks", None)


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """Make every way in which torch fetches something raise, and find no file of weights."""

    def fetch(*arguments, **more):
        raise AssertionError(f"a download was tried: {arguments}")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("download_url_to_file", "urlopen", "load_state_dict_from_url"):
        monkeypatch.setattr(torch.hub, name, fetch)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fetch)


def assert_refused(text, *words):
    with pytest.raises(UsageError) as refused:
        make_meta(resolve(text))
    for word in words:
        assert word in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", [entry.name for entry in NETWORKS])
def test_every_network_of_the_table_is_made_without_a_download(name, no_network):
    assert parameter_count(make_meta(resolve(name))) > 10**7


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("resnet50", 25_557_032),
        ("resnet50:style=caffe", 25_557_032),
        ("resnet101", 44_549_160),
        ("resnet50:num_classes=10", 25_557_032 - 990 * 2049),
        ("maskrcnn_resnet50_fpn", 44_400_693),
        # ten classes more: a score and four offsets of 1024 weights, and a mask of 256, with biases
        ("maskrcnn_resnet50_fpn:num_classes=91", 44_400_693 + 10 * (5 * 1025 + 257)),
    ],
)
def test_networks_have_the_parameters_that_they_are_known_for(name, params):
    assert parameter_count(make_meta(name)) == params


def test_detectors_are_those_that_torchvision_builds():
    from torchvision.models import detection

    for name in ("maskrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn"):
        with torch.device("meta"):
            theirs = getattr(detection, name)(weights=None, weights_backbone=None, num_classes=81)
        ours = make_meta(name)
        assert {n: p.shape for n, p in ours.state_dict().items()} == {
            n: p.shape for n, p in theirs.state_dict().items()
        }
        assert str(ours.backbone) == str(theirs.backbone)


def test_the_caffe_style_strides_in_the_1x1_convolution_alone():
    plain, caffe = make_meta("resnet50"), make_meta("resnet50:style=caffe")
    assert (plain.layer2[0].conv1.stride, plain.layer2[0].conv2.stride) == ((1, 1), (2, 2))
    assert (caffe.layer2[0].conv1.stride, caffe.layer2[0].conv2.stride) == ((2, 2), (1, 1))
    assert caffe.layer2[1].conv1.stride == (1, 1)
    assert [n for n, _ in plain.named_parameters()] == [n for n, _ in caffe.named_parameters()]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("resnet51", ["unknown network 'resnet51'", "did you mean 'resnet"]),
        ("resnet50:stile=caffe", ["unknown option 'stile'", "did you mean 'style'"]),
        ("resnet50:style=keras", ["style=keras is not one of torchvision, caffe"]),
        ("resnet18:style=caffe", ["moves a stride into a 1x1 convolution, and here is none"]),
        ("resnet50:weights=DEFAULT", ["weights would have to be downloaded", "--weights"]),
        ("resnet50:pretrained=true", ["pretrained would have to be downloaded"]),
        ("resnet50:num_classes=many", ["cannot be made"]),
        ("no.such.module:make", ["network", "cannot import 'no.such.module'"]),
        ("a b", ["the target is a name such as resnet50, timm/NAME, or my.module:make_model"]),
    ],
)
def test_what_is_no_network_is_refused_with_what_would_be(text, words):
    assert_refused(text, *words)


def test_a_function_of_the_users_makes_a_network(own):
    assert resolve(f"{own}:small:width=16") == f"{own}:small:width=16"
    assert make_meta(f"{own}:small:width=16")[0].out_channels == 16
    assert_refused(f"{own}:smal", "no class or function 'smal'", "did you mean 'small'")
    assert_refused(f"{own}:number", "no class or function 'number'")
    assert_refused(f"{own}:small:depth=3", "unknown option 'depth'")
    assert_refused(f"{own}:not_a_module", "makes int, not a torch.nn.Module")
    assert_refused(f"{own}:fails", "cannot be made: ZeroDivisionError: by accident")


def test_a_function_of_the_users_that_would_download_does_not(own, no_network):
    for name in ("wants_weights", "wants_backbone"):
        assert parameter_count(make_meta(f"{own}:{name}")) > 10**7
    assert parameter_count(make_meta("torchvision.models.detection:ssd300_vgg16")) > 10**7


def test_a_download_that_is_tried_all_the_same_is_refused(own, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    fetch = torch.hub.download_url_to_file
    assert_refused(
        f"{own}:downloads", "wants to download https://example.invalid", "--weights FILE"
    )
    assert torch.hub.download_url_to_file is fetch


def test_timm_is_asked_for_in_one_sentence_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    assert_refused("timm/resnet50d", "needs timm, which is not installed: pip install timm")


def test_timm_makes_a_network_without_its_weights(monkeypatch):
    class Timm:
        @staticmethod
        def is_model(name):
            return name == "net"

        @staticmethod
        def list_models():
            return ["net"]

        @staticmethod
        def create_model(name, pretrained=True, **options):
            assert not pretrained
            return nn.Conv2d(3, options["width"], 1)

    monkeypatch.setitem(sys.modules, "timm", Timm)
    assert make_meta(resolve("timm/net:width=4")).out_channels == 4
    assert_refused("timm/nett:width=4", "did you mean 'net'")
    assert_refused("timm/net:pretrained=true", "would have to be downloaded")


class Malicious:
    """What a pickle runs when it is loaded, unless nothing is run."""

    def __reduce__(self):
        return os.mkdir, (self.path,)


def written(path, what):
    torch.save(what, path)
    return path


def test_weights_of_the_same_network_are_loaded(tmp_path):
    model = make("resnet18", seed=1)
    for nested in (model.state_dict(), {"state_dict": model.state_dict(), "epoch": 3}):
        other = make("resnet18", seed=2)
        weights.load(other, written(tmp_path / "w.pt", nested))
        for name, tensor in model.state_dict().items():
            assert torch.equal(other.state_dict()[name], tensor)


def test_weights_that_were_trained_with_frozen_norms_are_loaded(tmp_path):
    model = make("resnet18", seed=1)
    state = {n: t for n, t in model.state_dict().items() if "num_batches_tracked" not in n}
    other = make("resnet18", seed=2)
    weights.load(other, written(tmp_path / "w.pt", state))
    assert torch.equal(other.layer4[1].conv2.weight, model.layer4[1].conv2.weight)


def test_a_file_that_is_none_of_weights_is_one_clear_line_and_runs_nothing(tmp_path):
    evil = Malicious()
    evil.path = str(tmp_path / "made")
    files = {
        "evil.pt": evil,
        "list.pt": [1, 2],
        "empty.pt": {},
        "module.pt": nn.Linear(2, 2),
    }
    for name, what in files.items():
        written(tmp_path / name, what)
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(evil))
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "nothing.pt").write_bytes(b"")
    (tmp_path / "folder.pt").mkdir()
    for name in [*files, "evil.pkl", "text.pt", "nothing.pt", "folder.pt", "missing.pt"]:
        with pytest.raises(UsageError, match=f"--weights .*{name}") as refused:
            weights.read(tmp_path / name)
        assert "\n" not in str(refused.value)
    assert not (tmp_path / "made").exists()


def test_weights_of_another_network_are_refused(tmp_path):
    path = written(tmp_path / "w.pt", make("resnet18").state_dict())
    with pytest.raises(UsageError, match=r"of another network: it lacks \d+ tensors, such as"):
        weights.load(make_meta("resnet50"), path)
    with pytest.raises(UsageError, match=r"fc.weight has shape \(1000, 512\), not \(10, 512\)"):
        weights.load(make_meta("resnet18:num_classes=10"), path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (torch.Tensor.to_sparse, "float32 sparse_coo"),
        (lambda tensor: tensor.to("meta"), "float32 strided on meta"),
        (lambda tensor: tensor.to(torch.complex64), "complex64 strided"),
        (torch.Tensor.char, "int8 strided"),
    ],
)
def test_weights_whose_numbers_would_be_lost_are_refused(change, said, tmp_path):
    model = nn.Linear(2, 3)
    state = {name: change(tensor) for name, tensor in model.state_dict().items()}
    with pytest.raises(UsageError, match=f"weight is {said}, which does not go into float32"):
        weights.put(model, state, tmp_path / "w.pt")
    half = {name: tensor.half() for name, tensor in model.state_dict().items()}
    weights.put(model, half, tmp_path / "w.pt")
    assert torch.equal(model.weight, half["weight"].float())


def cases(network, *inserts, ratios=(16,), size=(64, 64), **more):
    insertions = [read_insertion(text) for text in inserts]
    return comparison_inside(
        Network(resolve(network), **more), insertions, ratios, Axes(size=size), "cpu"
    )


def test_a_comparison_has_the_plain_network_first_and_each_ratio_of_each_insertion():
    found = cases("resnet18", "gc@+all", "nl@+1", "gc:ratio=2@c5.0", ratios=(4, 8))
    assert [case.label for case in found.cases] == [
        "plain",
        "gc@c3-c5.all r4",
        "gc@c3-c5.all r8",
        "nl@c4.last-1/after_add",
        "gc@c5.0 r2",
    ]
    assert found.baselines == (0,) * 5
    assert found.cases[0].key.startswith("resnet18|plain|1x3x64x64|float32|cpu")
    assert found.cases[1].key.startswith("resnet18|gc@c3-c5.all|ratio=4|1x3x64x64|")
    assert len({case.key for case in found.cases}) == 5


def test_a_network_gives_every_output_in_evaluation_and_a_loss_in_training():
    [plain, _] = cases("fasterrcnn_resnet50_fpn", "gc@c5.all").cases
    module = build_meta(plain)
    x = torch.empty(plain.shape, device="meta")
    assert [tuple(each.shape[1:]) for each in module.eval()(x)] == [
        (256, side, side) for side in (16, 8, 4, 2, 1)
    ]
    assert module.train()(x).shape == ()


def test_training_starts_from_the_loss_and_makes_no_gradient_of_the_images():
    case = replace(cases("resnet18").cases[0], mode="train", batch=2)
    work = make_workload(build_case(case, seed=0), case, "cpu")
    assert work.gradient is None
    work.prepare()
    work.call()
    assert work.x.grad is None
    assert all(parameter.grad is not None for parameter in work.module.parameters())


def test_a_whole_detector_runs_on_the_same_boxes_whatever_its_weights():
    case = cases("maskrcnn_resnet50_fpn", whole=True).cases[0]
    outputs = build_meta(case).eval()(torch.empty(case.shape, device="meta"))
    *_, scores, boxes, masks = outputs
    assert (scores.shape, boxes.shape) == ((1000, 81), (1000, 324))
    assert masks.shape == (100, 81, 28, 28)


def test_boxes_lie_in_their_images_on_every_level_of_the_pyramid():
    levels = fixed_boxes(1000, 2, (800, 1280))
    again = fixed_boxes(1000, 2, (800, 1280))
    assert all(torch.equal(one, other) for one, other in zip(levels, again, strict=True))
    assert all(len(level) > 50 for level in levels)
    rois = torch.cat(levels)
    assert len(rois) == 2000
    assert set(rois[:, 0].tolist()) == {0.0, 1.0}
    x1, y1, x2, y2 = rois[:, 1:].T
    assert min(x1.min(), y1.min()) >= 0
    assert x2.max() <= 1280
    assert y2.max() <= 800
    assert (x2 - x1 >= 15.9).all()


def test_the_whole_of_what_has_no_parts_is_refused():
    with pytest.raises(UsageError, match="--whole is for detectors"):
        build_meta(cases("resnet18", whole=True).cases[0])


def test_a_network_on_the_cpu_and_on_meta_have_the_same_tensors():
    case = cases("resnet18", "gc@+all").cases[1]
    real, meta = build_case(case, seed=0), build_meta(case)
    assert {n: t.shape for n, t in real.state_dict().items()} == {
        n: t.shape for n, t in meta.state_dict().items()
    }
    assert meta_pass(real, case).macs == meta_pass(meta, case).macs


def wrapped(state):
    """The ways in which training scripts keep a state dict."""
    prefixed = {f"module.{name}": tensor for name, tensor in state.items()}
    twice = {f"model._orig_mod.{name}": tensor for name, tensor in state.items()}
    averaged = {"n_averaged": torch.tensor(3), **prefixed}
    return {
        "bare": state,
        "state_dict": {"epoch": 3, "state_dict": state, "optimizer": {"state": {}}},
        "model": {"model": state, "args": {"lr": 0.1}},
        "model_state_dict": {"model_state_dict": state, "optimizer_state_dict": {"state": {}}},
        "nested": {"state_dict": {"model": prefixed}},
        "parallel": prefixed,
        "compiled": {"state_dict": twice},
        "averaged": averaged,
    }


@pytest.mark.parametrize("how", list(wrapped({})))
def test_weights_are_found_in_what_training_scripts_write(how, tmp_path):
    model = make("resnet18:num_classes=3", seed=1)
    path = written(tmp_path / "w.pt", wrapped(model.state_dict())[how])
    other = make("resnet18:num_classes=3", seed=2)
    weights.load(other, path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name


def test_a_network_whose_own_names_begin_so_keeps_them(tmp_path):
    model = nn.ModuleDict({"module": nn.Linear(2, 3)})
    path = written(tmp_path / "w.pt", model.state_dict())
    weights.load(nn.ModuleDict({"module": nn.Linear(2, 3)}), path)
    # and what was wrapped once more is unwrapped once
    weights.load(model, written(tmp_path / "v.pt", nn.DataParallel(model).state_dict()))


def test_weights_in_safetensors_are_read(tmp_path):
    from safetensors.torch import save_file

    model = nn.Linear(2, 3)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    other = nn.Linear(2, 3)
    weights.load(other, tmp_path / "w.safetensors")
    assert torch.equal(model.weight, other.weight)
    (tmp_path / "bad.safetensors").write_bytes(b"no tensors")
    with pytest.raises(UsageError, match=r"bad\.safetensors is no file of safetensors"):
        weights.load(other, tmp_path / "bad.safetensors")


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
def test_a_file_without_a_state_dict_says_what_it_is(tmp_path):
    model = nn.Linear(2, 3)
    torch.save(model, tmp_path / "whole.pt")
    torch.jit.save(torch.jit.script(model), tmp_path / "script.pt")
    torch.save({"epoch": 1, "optimizer": {}, "lr": 0.1}, tmp_path / "dict.pt")
    for name, words in (
        ("whole.pt", "it holds objects of torch.nn.modules.linear.Linear; save the network's"),
        ("script.pt", "it is a TorchScript archive; save its state_dict() instead"),
        ("dict.pt", "holds a dict of epoch, optimizer, lr, no state dict"),
    ):
        with pytest.raises(UsageError) as refused:
            weights.read(tmp_path / name)
        assert words in str(refused.value)
        assert "\n" not in str(refused.value)
