"""torchvision's models against the counts that it ships with their weights; timm's layers."""

import by_functions
import pytest
import torch
from commands import silent
from shipped import CLASSIFIERS, MAP, TIMM, attention, classifier, told
from torch import nn
from torchvision import ops

import gcbench
from gcbench import blocks
from gcbench.blocks import peers
from gcbench.measure.counting.account import watched
from gcbench.measure.workload import Workload

QUICK = ("resnet18", "mobilenet_v2", "regnet_y_400mf", "swin_t", "vit_b_16", "googlenet")


def assert_as_told(name):
    side, params, gmacs = told(name)
    counts = gcbench.count(classifier(name, "meta"), (1, 3, side, side))
    assert counts.parameters == params
    assert f"{counts.macs / 1e9:.3f}" == f"{gmacs:.3f}"


@pytest.mark.parametrize("name", QUICK)
def test_a_model_has_the_parameters_and_macs_of_torchvisions_metadata(name):
    assert_as_told(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CLASSIFIERS if name not in QUICK])
def test_every_other_model_has_them_too(name):
    assert_as_told(name)


class Convs(nn.Module):
    """torchvision's deformable convolution, which needs offsets."""

    def __init__(self, channels):
        super().__init__()
        self.offsets = nn.Conv2d(channels, 18, 3, padding=1)
        self.conv = ops.DeformConv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return self.conv(x, self.offsets(x))


def test_a_deformable_convolution_is_counted_on_every_device():
    module = Convs(8)
    B, C, N = 2, 8, 30
    macs = B * N * 9 * (C * 18 + C * C)
    assert gcbench.count(module, (B, C, 6, 5)).macs == macs
    assert silent(module.eval(), torch.randn(B, C, 6, 5)) == set()


# --- nothing is silent ----------------------------------------------------------------------------


def test_every_attention_class_of_timm_is_here():
    layers = pytest.importorskip("timm.layers")
    found = {
        name
        for name, kind in vars(layers).items()
        if isinstance(kind, type) and ("ttention" in name or name.endswith("Attn"))
    }
    assert found == set(TIMM)


@pytest.mark.parametrize("name", TIMM)
def test_no_product_of_an_attention_class_of_timm_is_silent(name):
    pytest.importorskip("timm")
    assert silent(attention(name).eval(), torch.randn(TIMM[name][1])) == set()


@pytest.mark.parametrize("name", TIMM)
def test_an_attention_class_of_timm_has_the_macs_of_the_functions_that_it_calls(name):
    pytest.importorskip("timm")
    x = torch.randn(TIMM[name][1])
    if x.ndim == 4:
        counted = gcbench.count(attention(name), tuple(x.shape)).macs
    else:
        counted = watched(Workload(attention(name), x)).macs
    assert counted == by_functions.macs_of(attention(name), x) > 0


@pytest.mark.parametrize("name", peers.LIBRARIES["timm"].names)
def test_no_product_of_a_layer_that_timm_names_is_silent(name):
    pytest.importorskip("timm")
    # ge cannot be built as timm 1.0 has it; what looks at places is built for one size
    option = {"ge": ":use_mlp=false", "lambda": ":feat_size=16", "bottleneck": ":feat_size=16"}
    module = blocks.build(f"timm/{name}{option.get(name, '')}", 64).eval()
    side = 14 if name == "bat" else 16
    assert silent(module, torch.randn(2, 64, side, side)) == set()


@pytest.mark.parametrize("name", ["SqueezeExcitation"])
def test_no_product_of_an_attention_layer_of_torchvision_is_silent(name):
    module = getattr(ops, name)(64, 16).eval()
    assert silent(module, torch.randn(MAP)) == set()
