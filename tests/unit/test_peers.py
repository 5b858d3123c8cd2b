"""Blocks of other libraries: every layer is built, keeps the shape, or says why it cannot."""

import inspect
import re
import subprocess
import sys

import pandas as pd
import pytest
import torch

from gcbench import blocks
from gcbench.blocks import equality, peers
from gcbench.blocks.peers import mmcv as mmcv_peers
from gcbench.blocks.peers import timm as timm_peers
from gcbench.cli.app import main
from gcbench.errors import UsageError

LAYERS = [f"{library.name}/{name}" for library in peers.LIBRARIES for name in library.names]
# what each needs to be built and called at 56 x 56
GIVEN = {"timm/ge": ":use_mlp=false"}


@pytest.fixture(autouse=True)
def library_of(request):
    """Skip what needs a library that is not here."""
    if "target" in request.fixturenames:
        pytest.importorskip(
            request.getfixturevalue("target").partition("/")[0], exc_type=ImportError
        )


def built(target, channels=64, ratio=4):
    spec = target + GIVEN.get(target, "")
    block = blocks.resolve(spec)
    return blocks.build(spec, channels, ratio if block.takes_ratio else None, size=(56, 56))


@pytest.mark.parametrize("target", LAYERS)
def test_every_layer_keeps_the_shape_and_a_gradient_arrives(target):
    x = torch.randn(2, 64, 56, 56, requires_grad=True)
    z = built(target).eval()(x)
    assert z.shape == x.shape
    z.square().sum().backward()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("target", LAYERS)
def test_a_ratio_is_an_axis_exactly_where_it_changes_the_layer(target):
    block = blocks.resolve(target + GIVEN.get(target, ""))
    if block.takes_ratio:
        few, many = (sum(p.numel() for p in built(target, 512, r).parameters()) for r in (32, 2))
        assert few < many
    elif not block.takes_ratio:
        with pytest.raises(UsageError, match="unknown option 'ratio'"):
            blocks.resolve(f"{target}:ratio=4")


@pytest.mark.parametrize("target", LAYERS)
def test_every_layer_is_counted_on_the_meta_device_and_traced(target):
    from oracles import subject_at

    from gcbench.measure.counting import count

    subject = subject_at(target + GIVEN.get(target, ""), (2, 64, 56, 56))
    cells, reasons = count(subject)
    assert reasons == []
    assert cells["params"] == sum(p.numel() for p in subject.build().parameters())
    assert (cells["macs"] > 0) == (target != "timm/ge")
    # fvcore rounds the count of an einsum to four digits
    assert "counters_disagree" not in subject.flags or target == "mmcv/CrissCrossAttention"


@pytest.mark.parametrize("target", ["timm/se"])
def test_the_table_has_every_layer_of_create_attn(target):
    from timm.layers import create_attn

    source = inspect.getsource(sys.modules[create_attn.__module__])
    assert set(re.findall(r"attn_type == '(\w+)'", source)) == set(timm_peers.NAMES)


@pytest.mark.parametrize(
    ("target", "options", "size", "words"),
    [
        ("timm/ge", "", "14", "use_mlp=false can"),
        ("timm/bottleneck", ":feat_size=7", "14", "unless feat_size=14 fixes it"),
        ("timm/bottleneck", ":feat_size=big", "14", "feat_size=big is no size such as 14"),
        ("timm/halo", "", "14", "needs a height and width that block_size (8) divides"),
        ("timm/bat", "", "15", "needs a height and width that block_size (7) divides"),
        ("timm/gca", ":ratio=0.5", "14", "ratio takes a whole number"),
        ("timm/se", ":rd_divisor=none", "14", "rd_divisor takes a whole number, not 'none'"),
        ("timm/nl", ":reduction=2", "14", "unknown option 'reduction'"),
        ("mmcv/ContextBlock", ":fusion=sum", "14", "fusion=sum is not one of add, scale, both"),
        ("mmcv/ContextBlock", ":ratio=99", "14", "ratio=99 leaves no channel of 64"),
        ("mmcv/NonLocal2d", ":norm=layer", "14", "norm=layer is not one of none, batch"),
        ("mmcv/NonLocal2d", ":mode=soft", "14", "Mode should be in"),
    ],
)
def test_what_is_broken_or_needs_a_size_says_why(target, options, size, words, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["bench", target + options, "-C", "64", "-s", size, "-r", "4", "--max-time", "100ms"])
    out, err = capsys.readouterr()
    assert exit_info.value.code in (2, 4)
    assert words in out + err
    assert "Traceback" not in err


@pytest.mark.parametrize("target", ["mmcv/ContextBlock"])
def test_the_hidden_width_of_mmcv_is_that_of_gcbench(target):
    for channels in range(1, 130):
        for ratio in {1, channels, *range(2, channels, 7)}:
            with torch.device("meta"):
                planes = mmcv_peers.context_block(channels, ratio).planes
            assert planes == channels // ratio


@pytest.mark.parametrize("library", peers.LIBRARIES, ids=lambda library: library.name)
def test_a_missing_library_is_one_sentence_with_the_pip_command(
    library, monkeypatch, capsys, foreign_code_here
):
    monkeypatch.setitem(sys.modules, library.name, None)
    with pytest.raises(SystemExit) as exit_info:
        main(["bench", f"{library.name}/{library.names[0]}"])
    out, err = capsys.readouterr()
    assert (exit_info.value.code, out) == (2, "")
    assert f"pip install '{library.install}'" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("tim/gca", "unknown block 'tim/gca': did you mean 'timm/gca'"),
        ("timm/gcaa", "timm has no block 'gcaa': did you mean 'gca'"),
        ("mmcv/Contextblock", "did you mean 'ContextBlock'"),
    ],
)
def test_an_unknown_layer_is_met_with_the_nearest_and_imports_nothing(spec, words):
    with pytest.raises(UsageError, match=words):
        blocks.resolve(spec)


@pytest.mark.parametrize("target", LAYERS)
def test_every_layer_is_described(target, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["blocks", target + GIVEN.get(target, "")])
    out, _ = capsys.readouterr()
    assert exit_info.value.code == 0
    assert "Options:" in out


OWN = """
from torch import nn

class Mine(nn.Module):
    def __init__(self, dim, ratio=16):
        super().__init__()
        self.narrow = nn.Conv2d(dim, dim // ratio, 1)
        self.widen = nn.Conv2d(dim // ratio, dim, 1)

    def forward(self, x):
        return x + self.widen(self.narrow(x).relu().mean((2, 3), keepdim=True))
"""


def test_ours_timms_mmcvs_and_a_users_block_stand_in_one_table(tmp_path, monkeypatch, capsys):
    pytest.importorskip("timm", exc_type=ImportError)
    pytest.importorskip("mmcv", exc_type=ImportError)
    (tmp_path / "blocks_beside_peers.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    named = ["gc", "timm/gca", "mmcv/ContextBlock", "blocks_beside_peers:Mine"]
    # ends as soon as there are replicates enough for an interval, however busy the machine
    short = ["-C", "64", "-s", "14", "-r", "16", "--max-time", "20s", "--precision", "50%"]
    with pytest.raises(SystemExit) as exit_info:
        main(["bench", *named, *short, "--csv", str(tmp_path / "a.csv")])
    sys.modules.pop("blocks_beside_peers", None)
    assert exit_info.value.code == 0
    table = pd.read_csv(tmp_path / "a.csv")
    assert table["spec"].tolist() == named
    assert table["macs"].tolist()[:3] == [2 * 64 * 196 + 2 * 64 * 4] * 3
    assert table["macs_counter"].tolist() == ["gcbench"] * 4
    assert table["ratio"].tolist() == [16] * 4
    assert (table["relative_lo"] < table["relative_hi"]).tolist() == [False, True, True, True]
    for peer in equality.PEERS[:5]:
        assert equality.compared(peer).equal


@pytest.mark.parametrize(
    ("spec", "loaded"), [("gc", []), ("timm/gca", ["timm"]), ("mmcv/ContextBlock", ["mmcv"])]
)
def test_nothing_is_imported_that_was_not_named(spec, loaded):
    for library in loaded:
        pytest.importorskip(library, exc_type=ImportError)
    code = (
        "import sys, gcbench\n"
        f"gcbench.build({spec!r} + ':ratio=4', 16)\n"
        "print(sorted({'timm', 'mmcv'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(loaded)
