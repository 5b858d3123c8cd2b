"""`gcbench count`: a module as a tree, and as its operators, in every format."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import brought
import pytest
import torch
from torch import nn

from gcbench import anatomy
from gcbench.cli.app import main
from gcbench.engines import dissected

SHAPE = "2x16x6x5"


@pytest.fixture
def gcbench(capsys, monkeypatch, foreign_code_here):
    """The command: exit code, stdout, and the last line of stderr."""
    monkeypatch.chdir(Path(__file__).parents[1] / "support")

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["count", *arguments])
        out, err = capsys.readouterr()
        return ended.value.code, out, err.splitlines()[-1]

    return run


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_a_tree_has_the_costs_of_every_module_and_of_the_whole(gcbench):
    code, out, _ = gcbench("gc:ratio=4", "--shape", "2x16x5x7", "--format", "csv")
    assert code == 0
    whole, mask, pair, narrow, norm, relu, widen = rows_of(out)
    assert (whole["module"], whole["kind"], whole["depth"]) == ("", "GlobalContext", "0")
    B, C, N, p = 2, 16, 35, 4
    assert int(mask["macs"]) == B * N * C
    assert [int(each["macs"]) for each in (narrow, widen)] == [B * C * p] * 2
    assert int(pair["macs"]) == 2 * B * C * p
    # the weighted sum is of no module below the whole
    assert int(whole["macs"]) == B * N * C + B * N * C + 2 * B * C * p
    assert int(whole["params"]) == sum(int(e["params"]) for e in (mask, narrow, norm, relu, widen))
    assert float(mask["share"]) == pytest.approx(int(mask["macs"]) / int(whole["macs"]))
    assert mask["output"] == "2x1x5x7"
    assert int(mask["activation_bytes"]) == 4 * B * N
    assert [each["calls"] for each in (whole, norm)] == ["1", "1"]


def test_a_depth_cuts_the_tree_and_not_the_costs(gcbench):
    _, all_of_it, _ = gcbench("resnet18", "--format", "csv")
    _, cut, _ = gcbench("resnet18", "--format", "csv", "--depth", "1")
    deep, shallow = rows_of(all_of_it), rows_of(cut)
    assert [row for row in deep if int(row["depth"]) <= 1] == shallow
    assert len(deep) > len(shallow) == 11
    assert sum(int(row["macs"]) for row in shallow[1:]) == int(shallow[0]["macs"]) == 1_814_073_344
    assert int(shallow[0]["params"]) == 11_689_512


def test_operators_add_up_to_the_whole_most_macs_first(gcbench):
    _, out, _ = gcbench("brought:Sdpa", "--shape", SHAPE, "--by", "operator", "--format", "csv")
    rows = rows_of(out)
    macs = [int(row["macs"]) for row in rows]
    assert macs == sorted(macs, reverse=True)
    assert sum(macs) == brought.Sdpa.expect(2, 16, 6, 5)[1]
    assert rows[0]["operator"] in ("bmm", "convolution")
    assert not [row for row in rows if row["operator"] == "view"]


def test_json_has_the_whole_above_its_parts(gcbench):
    _, out, _ = gcbench("brought:Mha", "--shape", SHAPE, "--format", "json")
    found = json.loads(out)
    params, macs = brought.Mha.expect(2, 16, 6, 5)
    assert (found["params"], found["macs"], found["flops"]) == (params, macs, 2 * macs)
    assert found["shape"] == [2, 16, 6, 5]
    assert found["rows"][0]["module"] == ""
    assert found["uncounted_products"] == []


def test_markdown_names_modules_by_their_paths(gcbench):
    _, out, _ = gcbench("gc:ratio=4", "--shape", "2x16x5x7", "--format", "markdown")
    assert "| channel_add_conv.0 | Conv2d |" in out


def test_the_table_indents_and_says_what_is_not_counted(gcbench):
    _, out, _ = gcbench("brought:CustomOp", "--shape", SHAPE)
    assert "0 MACs · 0 FLOPs, and more" in out
    assert "not counted, and may multiply matrices: cases.mix" in out
    _, out, _ = gcbench("gc:ratio=4", "--shape", "2x16x5x7")
    assert "\n  channel_add_conv " in out
    assert "\n    0 " in out


def test_a_branch_on_values_is_followed_with_numbers_and_said(gcbench):
    _, out, _ = gcbench("brought:BranchOnValue", "--shape", SHAPE, "--format", "json")
    found = json.loads(out)
    assert (found["counted_on"], found["value_dependent"]) == ("cpu", True)
    assert found["macs"] == brought.BranchOnValue.expect(2, 16, 6, 5)[1]
    calls = {row["module"]: row["calls"] for row in found["rows"]}
    assert (calls["heavy"], calls["light"]) == (1, 0)
    _, out, _ = gcbench("brought:BranchOnValue", "--shape", SHAPE)
    assert "value_dependent" in out


def test_a_module_of_tokens_takes_an_input_of_three_sides(gcbench):
    shape = ("--shape", "2x7x16", "--channels", "16")
    code, out, _ = gcbench("brought:Tokens", *shape, "--format", "json")
    assert code == 0
    assert json.loads(out)["macs"] == 2 * 7 * 16 * 16


def test_a_function_without_channels_makes_a_network(gcbench):
    code, out, _ = gcbench("brought:make_network", "--shape", "2x3x8x8", "--format", "json")
    assert code == 0
    found = json.loads(out)
    assert found["rows"][0]["kind"] == "Sequential"
    assert found["macs"] == 2 * 64 * 3 * 4


def test_a_result_goes_into_a_file(gcbench, tmp_path):
    file = tmp_path / "gc.csv"
    code, out, _ = gcbench("gc", "--format", "csv", "-o", str(file))
    assert (code, out) == (0, "")
    assert rows_of(file.read_text())[0]["kind"] == "GlobalContext"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gx"], "unknown block 'gx'"),
        (["gc:"], "'gc:'"),
        (["resnet50:foo=1"], "unknown option 'foo'"),
        (["brought:Nope"], "has no class or function 'Nope'"),
        (["no_such_module:X"], "cannot import 'no_such_module'"),
        (["gc", "--shape", "3"], "--shape '3': takes a batch and more, as in 2x197x768"),
        (["gc", "--shape", "1xax3"], "--shape takes a whole number from 1"),
        (["gc", "--shape", "1x8x4x4"], "ratio=16 leaves no channel of 8"),
        (["resnet50", "--shape", "1x3"], "--shape 1x3: a network takes four sides"),
        (["brought:ConvRef", "--shape", "2x16x6"], "cannot be called on --shape 2x16x6: RuntimeE"),
        (["gc", "--by", "layer"], "--by 'layer' is unknown: known: module, operator"),
        (["gc", "--depth", "-1"], "--depth takes a whole number from 0"),
        (["gc", "--dtype", "int8"], "--dtype 'int8' is unknown"),
        (["gc", "--format", "xml"], "unknown format 'xml'"),
        (["gc", "--channels", "0"], "--channels takes a whole number from 1"),
        (["gc", "-o", "/no/such/folder/x"], "there is no folder"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(gcbench, arguments, words):
    code, out, err = gcbench(*arguments)
    assert (code, out) == (2, "")
    assert words in err


def test_every_part_is_found_by_hand(tmp_path):
    target = dissected.block("brought:SharedModule", 16, 16, 0)
    found = dissected.anatomy(target, (2, 16, 6, 5), "float32", 0)
    one = 2 * 30 * 16 * 16
    parts = {part.path: part for part in found.parts}
    # called by the whole, and once more within `b`: one module, listed where it is first
    assert (parts["a"].calls, parts["a"].macs) == (2, 2 * one)
    assert (parts["b"].calls, parts["b"].macs) == (1, one)
    assert found.whole.macs == 2 * one
    assert found.whole.params == parts["a"].params == parts["b"].params == 16 * 16 + 16


def test_nothing_of_a_dissection_is_left_in_the_process():
    target = dissected.block("brought:GlobalCache", 16, 16, 0)
    brought._CACHE.clear()
    dissected.anatomy(target, (2, 16, 6, 5), "float32", 0)
    assert brought._CACHE == {}
    hooks = nn.modules.module
    assert not hooks._global_forward_hooks
    assert not hooks._global_forward_pre_hooks
    assert torch.is_grad_enabled()


def test_rows_of_nothing_that_multiplies_have_no_share():
    target = dissected.block("brought:EinsumGate", 16, 16, 0)
    found = dissected.anatomy(target, (2, 16, 6, 5), "float32", 0)
    assert [row["share"] for row in anatomy.rows(found, "module", None)] == [0.0]


def test_help_loads_no_torch():
    code = (
        "import sys\n"
        "from gcbench.cli.app import main\n"
        "try:\n    main(['count', '--help'])\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'pandas'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
