"""The family: its place in the framework, its groups, and what all of it costs at a shape."""

import csv
import io
import math
import sys
import tomllib

import pytest
from oracles import EXACT, SHAPES, cost, fitting, least_elements

from gcbench import blocks
from gcbench.blocks import BLOCKS, groups
from gcbench.cli.app import main
from gcbench.errors import UsageError

NAMES = [entry.name for entry in BLOCKS]


def ran(*arguments, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main([*arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return exit_info.value.code, out, err


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


# --- the place in the framework -------------------------------------------------------------------


def terms(order):
    """The exponents of C and of N in each term of an order."""
    found = []
    for term in order.split(" + ") if order != "0" else []:
        powers = {"C": 0.0, "N": 0.0}
        for factor in term.split():
            letter, _, power = factor.partition("^")
            # a logarithm is no power
            powers[letter] = powers.get(letter, 0.0) + float(power or 1)
        found.append((powers["C"], powers["N"]))
    return found


@pytest.mark.parametrize("entry", BLOCKS, ids=lambda entry: entry.name)
@pytest.mark.parametrize(("wide", "large"), [(0, 1), (1, 0), (1, 1), (2, 1), (1, 2), (1, 3)])
def test_the_order_of_a_block_is_how_its_closed_form_grows(entry, wide, large):
    """Along every direction in C and N the MACs grow with the largest term of the order."""
    expected = max((c * wide + n * large for c, n in terms(entry.order)), default=None)
    one, other = (
        cost(entry.name, (1, 2 ** (9 + 30 * wide * s), side(large * s), side(large * s)), 16)[1]
        for s in (1, 2)
    )
    if expected is None:
        assert (one, other) == (0, 0)
        return
    assert math.log2(other / one) / 30 == pytest.approx(expected, abs=0.03)


def side(steps):
    return 2 ** (9 + 15 * steps)


def test_every_block_has_a_place_and_a_tier():
    for entry in BLOCKS:
        assert entry.context
        assert entry.transform
        assert entry.fusion
        assert entry.tier in groups.TIERS


def test_the_list_shows_every_place_and_group(capsys):
    code, out, _ = ran("blocks", "--format", "csv", capsys=capsys)
    assert code == 0
    listed = {row["block"]: row for row in rows_of(out)}
    for entry in BLOCKS:
        row = listed[entry.name]
        assert (row["context"], row["transform"]) == (entry.context, entry.transform)
        assert (row["fusion"], row["order"]) == (entry.fusion, entry.order)
        assert row["source"] == entry.source
    code, out, _ = ran("blocks", capsys=capsys)
    for name, members in groups.known().items():
        if name in groups.TIERS:
            [line] = [line for line in out.splitlines() if line.startswith(f"@{name}: ")]
            assert line.endswith(": " + " ".join(members))
        else:
            assert f"@{name}" in out


# --- groups ---------------------------------------------------------------------------------------


def test_the_tiers_share_out_all_blocks():
    known = groups.known()
    assert sorted(name for tier in groups.TIERS for name in known[tier]) == sorted(NAMES)
    assert known["all"] == tuple(NAMES)
    assert known["quadratic"] == ("nl", "dnl", "mhsa", "bot")
    assert {"gc", "se", "eca", "cbam", "simam"} <= set(known["light"])
    assert {"a2", "efficient", "ema", "cc"} <= set(known["linear"])


def test_a_group_stands_for_its_blocks_once_each_and_named_ones_stand_as_often_as_named():
    light = list(groups.known()["light"])
    assert groups.expanded(["@light"]) == light
    assert groups.expanded(["se", "se", "@light"]) == ["se", "se", *[n for n in light if n != "se"]]
    assert groups.expanded(["@light", "@all"])[: len(light)] == light
    assert sorted(groups.expanded(["@light", "@all"])) == sorted(NAMES)


def test_an_unknown_group_is_refused_with_the_nearest(capsys):
    with pytest.raises(UsageError, match="unknown group '@linaer': did you mean '@linear'"):
        groups.expanded(["@linaer"])
    for command in (["bench", "@lite"], ["sweep", "@lite", "--dry-run"]):
        code, out, err = ran(*command, capsys=capsys)
        assert (code, out) == (2, "")
        assert "unknown group '@lite'" in err


def test_every_layer_of_a_librarys_group_can_be_built():
    pytest.importorskip("timm", exc_type=ImportError)
    assert "timm/ge:use_mlp=false" in groups.known()["timm"]
    for spec in groups.known()["timm"]:
        block = blocks.resolve(spec)
        blocks.build_at(block.spec, 64, 16 if block.takes_ratio else None, (56, 56))


def test_a_sweep_takes_a_group_and_keeps_its_blocks(tmp_path, capsys):
    file = tmp_path / "s.toml"
    assert ran("sweep", "@quadratic", "--dump-file", str(file), capsys=capsys)[0] == 0
    assert tomllib.loads(file.read_text())["blocks"] == ["nl", "dnl", "mhsa", "bot"]
    file.write_text('blocks = ["@quadratic"]\n')
    again = tmp_path / "again.toml"
    assert ran("sweep", "--file", str(file), "--dump-file", str(again), capsys=capsys)[0] == 0
    assert tomllib.loads(again.read_text())["blocks"] == ["nl", "dnl", "mhsa", "bot"]


# --- costs at a shape -----------------------------------------------------------------------------


def counted(*arguments, capsys):
    code, out, _ = ran("blocks", *arguments, "--format", "csv", capsys=capsys)
    assert code == 0
    return rows_of(out)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def test_all_blocks_are_counted_at_a_shape(shape, capsys):
    rows = counted("--shape", "x".join(map(str, shape)), capsys=capsys)
    assert [row["block"] for row in rows] == NAMES
    for row in rows:
        assert (int(row["params"]), int(row["macs"])) == cost(row["spec"], shape, 16)
        assert int(row["min_bytes"]) == 4 * least_elements(row["spec"], shape, 16)
        if row["spec"] in EXACT:
            expected = EXACT[row["spec"]][SHAPES.index(shape)]
            assert (int(row["params"]), int(row["macs"])) == expected
        assert row["macs_counter"] == "formula"


def test_growth_is_the_exponent_to_the_next_doubling(capsys):
    rows = {row["block"]: row for row in counted("--shape", "1x64x16x8", capsys=capsys)}
    for name, row in rows.items():
        here, larger, wider = (
            cost(name, shape, 16)[1] for shape in ((1, 64, 16, 8), (1, 64, 32, 16), (1, 128, 16, 8))
        )
        if here == 0:
            assert (row["growth_n"], row["growth_c"]) == ("", "")
            continue
        assert float(row["growth_n"]) == pytest.approx(math.log(larger / here) / math.log(4))
        assert float(row["growth_c"]) == pytest.approx(math.log(wider / here) / math.log(2))


def test_ratios_are_rows_of_the_blocks_that_take_them(capsys):
    rows = counted("gc", "eca", "--shape", "1x64x8x8", "-r", "4,16", capsys=capsys)
    assert [(row["block"], row["ratio"]) for row in rows] == [
        ("gc", "4"),
        ("gc", "16"),
        ("eca", ""),
    ]


def test_rows_are_sorted_by_columns_and_what_is_missing_comes_last(capsys):
    rows = counted("@light", "--shape", "1x64x8x8", "--sort", "-growth_n,block", capsys=capsys)
    grown = [float(row["growth_n"]) for row in rows if row["growth_n"]]
    assert grown == sorted(grown, reverse=True)
    assert [row["block"] for row in rows[len(grown) :]] == ["ge", "simam"]
    rows = counted("--shape", "1x64x8x8", "--sort", "macs", capsys=capsys)
    assert [int(row["macs"]) for row in rows] == sorted(int(row["macs"]) for row in rows)


def test_the_floor_is_told_where_ceilings_are_kept(monkeypatch, tmp_path, capsys):
    from made_up import PEAKS

    from gcbench.measure.peaks import kept

    # other tests may have kept some
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    arguments = ("snl", "simam", "--shape", "1x256x56x56")
    assert [row["floor_us"] for row in counted(*arguments, capsys=capsys)] == ["", ""]
    assert "gcbench peaks" in ran("blocks", *arguments, capsys=capsys)[1]

    def find(manifest, device, device_id, threads, tell):
        from dataclasses import replace

        rates = {"float32": 1e9}
        return replace(
            PEAKS,
            threads=threads,
            product_flops_per_s=rates,
            convolution_flops_per_s=rates,
            flags=("load",),
        )

    monkeypatch.setattr(kept, "find", find)
    snl, simam = counted(*arguments, capsys=capsys)
    assert float(snl["floor_us"]) == pytest.approx(2e6 * int(snl["macs"]) / 1e9)
    # 9.2 MiB at the 1e10 bytes a second of the larger copies
    assert float(simam["floor_us"]) == pytest.approx(1e6 * int(simam["min_bytes"]) / 1e10)
    assert (
        "measured while the machine was busy (load)" in ran("blocks", *arguments, capsys=capsys)[1]
    )


def test_a_block_that_cannot_be_built_is_a_row_with_its_reason(capsys):
    code, out, _ = ran("blocks", "mhsa", "gc", "--shape", "1x20x4x4", capsys=capsys)
    assert code == 3
    assert "heads=8 does not divide 20 channels" in out


def test_markdown_has_a_row_for_every_block(capsys):
    for arguments in ((), ("--shape", "1x64x8x8")):
        code, out, _ = ran("blocks", *arguments, "--format", "markdown", capsys=capsys)
        assert code == 0
        for name in NAMES:
            assert f"\n| {name} " in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--shape", "256x56x56"), "--shape takes a shape BxCxHxW such as 1x256x56x56"),
        (("--shape", "1x8x4x4", "--sort", "mac"), "did you mean 'macs'?"),
        (("--shape", "1x8x4x4", "-r", "0"), "--ratio takes"),
        (("--sort", "macs"), "--sort goes with --shape"),
        (("-r", "4"), "--ratio goes with --shape"),
        (("gc", "se"), "--shape BxCxHxW counts several"),
        (("--format", "xml"), "unknown format 'xml'"),
        (("--verify", "--shape", "1x8x4x4"), "--verify compares every block"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(arguments, words, capsys):
    code, out, err = ran("blocks", *arguments, capsys=capsys)
    assert (code, out) == (2, "")
    assert words in err


# --- blocks that are bound to a size --------------------------------------------------------------

SIZED = """
import torch
from torch import nn

class Sides(nn.Module):
    def __init__(self, dim, height, width, ratio=4):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim, height, width))
    def forward(self, x):
        return x * self.weight

class Size(Sides):
    def __init__(self, dim, feat_size):
        super().__init__(dim, *feat_size)

class Resolution(Sides):
    def __init__(self, dim, input_resolution):
        super().__init__(dim, *input_resolution)

class Height(nn.Module):
    def __init__(self, dim, height=3):
        super().__init__()
        assert height == 3
    def forward(self, x):
        return x
"""


@pytest.fixture
def sized(tmp_path, monkeypatch):
    (tmp_path / "sized_blocks.py").write_text(SIZED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield "sized_blocks"
    sys.modules.pop("sized_blocks", None)


@pytest.mark.parametrize("name", ["Sides", "Size", "Resolution"])
def test_a_users_block_is_given_the_size_that_its_constructor_declares(sized, name):
    module = blocks.build(f"{sized}:{name}", 8, size=(5, 3))
    assert module.weight.shape == (8, 5, 3)
    assert blocks.is_bound(f"{sized}:{name}")
    assert not blocks.is_bound(f"{sized}:Height")
    blocks.build(f"{sized}:Height", 8, size=(5, 4))


def test_a_size_that_the_spec_fixes_is_kept(sized):
    assert blocks.build(f"{sized}:Sides:height=2", 8, size=(5, 3)).weight.shape == (8, 2, 3)


def test_a_sweep_over_sizes_builds_what_is_bound_anew_for_each(sized, tmp_path, capsys):
    names = [f"{sized}:Sides", "bot", "ge:gather=conv"]
    out = tmp_path / "costs.csv"
    sweep = ["sweep", *names, "--static", "-C", "8", "-r", "4", "-s", "4,5x3", "--csv", str(out)]
    assert ran(*sweep, "-o", str(tmp_path / "run.jsonl"), capsys=capsys)[0] == 0
    rows = rows_of(out.read_text())
    assert [int(row["params"]) for row in rows if row["block"].endswith("Sides")] == [128, 120]
    for row in rows:
        assert row["status"] == "ok"
        if row["block"] in NAMES:
            shape = tuple(int(row[side]) for side in ("batch", "channels", "height", "width"))
            assert int(row["macs"]) == cost(row["spec"], shape)[1]


def test_a_block_that_is_bound_is_put_into_a_network_at_the_size_there():
    from torchvision.models import resnet18

    from gcbench import insert
    from gcbench.networks.with_block import inserted

    model, paths = insert(resnet18(), "bot", "c4.last,c5.last", shape=(1, 3, 64, 96))
    assert [block.size for _, block in inserted(model)] == [(4, 6), (2, 3)]
    assert len(paths) == 2


def test_a_family_of_twenty_is_measured_in_one_command(tmp_path, capsys):
    channels = str(max(fitting(name, 16) for name in NAMES))
    shape = ["-C", channels, "-s", "4", "-r", "4"]
    code, out, _ = ran("bench", "@all", *shape, "--max-time", "2s", "--threads", "1", capsys=capsys)
    assert code == 0
    for name in NAMES:
        assert any(line.split()[0] == name for line in out.splitlines() if line.split()), name
