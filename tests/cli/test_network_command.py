"""`gcbench network` and `gcbench paper`: rows, columns, and what bad input meets."""

import csv
import pickle
import sys

import pytest
import torch
from commands import ran, rows_of
from refused import assert_refused

from gcbench.networks import NETWORKS
from gcbench.results import tables

QUICK = ["--precision", "50%", "--max-time", "300ms", "--size", "32", "--threads", "1"]
OWN = """
from torchvision.models.resnet import BasicBlock, ResNet

def small(classes=5):
    print("being made")
    return ResNet(BasicBlock, [1, 1, 2, 1], num_classes=classes)
"""


@pytest.fixture
def own(tmp_path, monkeypatch, foreign_code_here):
    """A small network of the user's, by the name that the command takes."""
    (tmp_path / "own_small.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield "own_small:small"
    sys.modules.pop("own_small", None)


def test_rows_for_the_plain_network_and_each_variant(own, capsys, tmp_path):
    inserts = ["--insert", "gc@c3-c5.all", "--insert", "nl@+1", "-r", "4,8"]
    files = ["--csv", "a.csv", "-o", "a.jsonl"]
    code, out, err = ran("network", own, *inserts, *QUICK, *files, capsys=capsys)
    assert code == 0, err
    assert "being made" not in out
    assert f"{own} · 1x3x32x32" in out
    for words in ("vs plain", "+params", "+MACs", "images/s", "verdict", "peak memory"):
        assert words in out
    rows = rows_of(tmp_path / "a.csv")
    assert [(row["spec"], row["ratio"], row["inserted"]) for row in rows] == [
        ("plain", "", "0"),
        ("gc@c3-c5.all", "4", "4"),
        ("gc@c3-c5.all", "8", "4"),
        ("nl@c4.last-1/after_add", "", "1"),
    ]
    plain = rows[0]
    assert plain["verdict"] == "baseline"
    for row in rows:
        assert row["network"] == own
        assert row["baseline"] == plain["key"]
        assert int(row["params_added"]) == int(row["params"]) - int(plain["params"])
        assert int(row["macs_added"]) == int(row["macs"]) - int(plain["macs"])
        assert float(row["images_per_s"]) == pytest.approx(1e6 / float(row["latency_us"]))
        assert int(row["peak_memory_bytes"]) > 4 * int(row["params"])
        assert row["memory_source"] == "measured"
        assert row["verdict"]
    assert rows[1]["inserted_at"] == "layer2.0.bn2 layer3.0.bn2 layer3.1.bn2 layer4.0.bn2"


def test_the_networks_columns_come_before_the_same_measured_ones(own, capsys, tmp_path):
    ran("network", own, "--static", "--csv", "a.csv", "--size", "32", capsys=capsys)
    names = tuple(rows_of(tmp_path / "a.csv")[0])
    first = len(tables.NETWORK_COLUMNS)
    assert names[:first] == tables.NETWORK_COLUMNS
    assert names[first:] == tuple(n for n in tables.COLUMNS if n not in tables.NETWORK_COLUMNS)


def test_a_kept_run_of_a_network_reads_back_to_the_same_rows(own, capsys, tmp_path):
    import gcbench

    inside = ["--insert", "se@c5.all", "-r", "4"]
    files = ["--csv", "a.csv", "-o", "a.jsonl"]
    code, _, _ = ran("network", own, *inside, *QUICK, *files, capsys=capsys)
    assert code == 0
    read = gcbench.load(tmp_path / "a.jsonl")
    rows = rows_of(tmp_path / "a.csv")
    assert list(read["key"]) == [row["key"] for row in rows]
    assert list(read["latency_us"]) == [float(row["latency_us"]) for row in rows]
    assert list(read["inserted_at"].fillna("")) == [row["inserted_at"] for row in rows]


def test_training_a_network_is_measured_too(own, capsys, tmp_path):
    inside = ["--insert", "gc@c4.all", "-r", "4", "--mode", "train", "--batch", "2"]
    code, _, err = ran("network", own, *inside, *QUICK, "--csv", "a.csv", capsys=capsys)
    assert code == 0, err
    plain, gc = rows_of(tmp_path / "a.csv")
    assert int(plain["call_macs"]) > 2 * int(plain["macs"])
    assert int(gc["saved_memory_bytes"]) > int(plain["saved_memory_bytes"]) > 0
    assert float(gc["images_per_s"]) == pytest.approx(2e6 / float(gc["latency_us"]))


def test_counting_alone_times_nothing(capsys):
    inserts = ["--insert", "gc@+all", "--insert", "gc@c3.all", "--position", "after_1x1,after_add"]
    arguments = ["resnet50:style=caffe", *inserts, "--static", "--format", "csv"]
    code, out, _ = ran("network", *arguments, capsys=capsys)
    assert code == 0
    rows = list(csv.DictReader(out.splitlines()))
    # +all says where by itself
    assert [row["spec"] for row in rows] == [
        "plain",
        "gc@c3-c5.all",
        "gc@c3.all",
        "gc@c3.all/after_add",
    ]
    assert [int(row["params"]) for row in rows[:2]] == [25_557_032, 28_078_773]
    assert [f"{int(row['macs']) / 1e9:.3f}" for row in rows[:2]] == ["3.858", "3.867"]
    assert {row["latency_us"] for row in rows} == {""}
    assert {row["macs_counter"] for row in rows} == {"gcbench"}


def test_all_of_mask_rcnn_at_800x1280(capsys):
    inside = ["--insert", "gc@+all", "--size", "800x1280", "--static", "--format", "csv"]
    # ResNet-50 without its classifier, and the FPN's 1x1 and 3x3 convolutions with their biases
    fpn = 256 * (256 + 512 + 1024 + 2048) + 4 * 256 + 4 * (9 * 256 * 256 + 256)
    backbone = 25_557_032 - 1000 * 2049 + fpn
    for whole, params in (([], backbone), (["--whole"], 44_400_693)):
        code, out, _ = ran("network", "maskrcnn_resnet50_fpn", *inside, *whole, capsys=capsys)
        assert code == 0
        plain, gc = csv.DictReader(out.splitlines())
        assert int(plain["params"]) == params
        assert int(gc["params_added"]) == 46_922_434 - 44_400_693
        assert int(gc["macs_added"]) == 129_466_368
        assert gc["inserted_at"].split()[0] == "backbone.body.layer2.0.bn3"
        assert gc["network"] == "maskrcnn_resnet50_fpn" + ("/whole" if whole else "")


@pytest.mark.slow
@pytest.mark.parametrize("whole", [[], ["--whole"]])
def test_a_detector_runs_in_both_parts(whole, capsys):
    arguments = ["fasterrcnn_resnet50_fpn", "--insert", "gc@c5.0", "--size", "64", "--threads", "1"]
    few = ["--precision", "50%", "--max-time", "1ms", "--format", "csv"]
    code, out, err = ran("network", *arguments, *whole, *few, capsys=capsys)
    assert code == 0, err
    assert [row["status"] for row in csv.DictReader(out.splitlines())] == ["ok", "ok"]


def test_weights_from_a_file_are_taken_and_anything_else_is_one_clear_line(own, capsys, tmp_path):
    import own_small

    torch.save(own_small.small().state_dict(), tmp_path / "good.pt")
    torch.save(own_small.small(classes=7).state_dict(), tmp_path / "other.pt")
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(print))
    inside = ["--insert", "gc@c5.all", "--size", "32", "--static", "--weights"]
    assert ran("network", own, *inside, "good.pt", capsys=capsys)[0] == 0
    for name, words in (
        ("other.pt", "of another network: fc.weight has shape (7, 512), not (5, 512)"),
        ("evil.pt", "is no file of weights that can be loaded safely"),
        ("none.pt", "there is no such file"),
    ):
        code, out, err = ran("network", own, *inside, name, capsys=capsys)
        assert (code, out) == (2, "")
        assert words in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["resnet51"], ["unknown network 'resnet51'", "did you mean 'resnet"]),
        (["resnet50", "--insert", "gc"], ["'gc' does not say where"]),
        (["resnet50", "--insert", "gcc@+all"], ["unknown block 'gcc'", "did you mean 'gc'"]),
        (["resnet50", "--insert", "gc@c9.all"], ["stages are c2 to c5"]),
        (["resnet50", "--insert", "gc@c4.9"], ["c4 has 6 residual blocks, 0 to 5"]),
        (["resnet50", "--insert", "gc@layr3.5"], ["did you mean 'layer3'"]),
        (["resnet50", "--insert", "gc@fc"], ["'fc'", "no (B, C, H, W) tensor"]),
        (
            ["resnet50", "--insert", "gc@+all", "-r", "4096"],
            ["at layer2.0.bn3", "no channel of 512"],
        ),
        (["resnet50", "-r", "0"], ["--ratio takes a whole number from 1", "'0'"]),
        (["resnet50", "-r", "4,"], ["--ratio: nothing stands between two commas of '4,'"]),
        (["resnet50", "--position", "before"], ["--position 'before' is unknown", "after_add"]),
        (["resnet50", "--size", "0"], ["--size takes a size"]),
        (["resnet50", "--whole"], ["--whole is for detectors"]),
        (["resnet50:weights=DEFAULT"], ["nothing is", "--weights"]),
        (["timm/no_such"], ["timm"]),
        (["no.such:make"], ["cannot import 'no.such'"]),
        (["resnet50", "--csv", "/no/such/x.csv"], ["there is no folder /no/such"]),
        (["resnet50", "--quick", "--rigorous"], ["--quick and --rigorous"]),
    ],
)
def test_bad_input_is_one_clear_line(arguments, words, capsys):
    assert_refused(ran("network", *arguments, capsys=capsys), *words)


def test_a_model_without_the_stage_is_one_clear_line(capsys):
    arguments = ["torchvision.models:vgg11", "--insert", "gc@c3.all"]
    result = ran("network", *arguments, capsys=capsys)
    assert_refused(result, "has no stages layer1 to layer4: name a module by its path", "features")


def test_help_names_every_network(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = ran("network", "--help", capsys=capsys)
    assert code == 0
    for entry in NETWORKS:
        assert entry.name in out


def test_the_papers_tables_in_every_format(capsys, tmp_path):
    path = tmp_path / "paper.csv"
    code, out, err = ran("paper", "--table", "stages", "--csv", str(path), capsys=capsys)
    assert code == 0, err
    assert "46,922,434" in out
    assert "45.9M" in out
    assert "transcription" in out
    # a spreadsheet would take what begins with a plus for a formula
    rows = ["baseline", "c3", "c4", "c5", "'+all GC r16"]
    assert [row["row"] for row in rows_of(path)] == rows
    _, out, _ = ran("paper", "--table", "stages", "--format", "markdown", capsys=capsys)
    assert "| c5 | 45.9M | 45,987,000 |" in out
    _, out, _ = ran("paper", "--table", "stages", "--format", "csv", capsys=capsys)
    assert out == path.read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--table", "stage"], ["--table 'stage' is unknown", "did you mean 'stages'"]),
        (["--size", "64"], ["--size goes with --latency"]),
        (["--format", "xml"], ["unknown format 'xml'", "markdown"]),
        (["--latency", "--max-time", "0"], ["--max-time takes a time above zero"]),
        (["--latency", "--device", "tpu"], ["--device takes cpu"]),
        (["--csv", "/tmp"], ["that is a folder"]),
    ],
)
def test_bad_input_to_paper_is_one_clear_line(arguments, words, capsys):
    assert_refused(ran("paper", *arguments, capsys=capsys), *words)


@pytest.mark.slow
def test_the_papers_rows_are_timed_where_they_are_asked_for(capsys):
    small = ["--size", "32", "--max-time", "100ms", "--precision", "50%", "--threads", "1"]
    arguments = ["--table", "imagenet", "--latency", *small, "--format", "csv"]
    code, out, err = ran("paper", *arguments, capsys=capsys)
    assert code == 0, err
    rows = list(csv.DictReader(out.splitlines()))
    assert all(float(row["latency_us"]) > 0 for row in rows)
    assert [row["verdict"] == "baseline" for row in rows] == [True, *[False] * 6]
    assert {row["timed_height"] for row in rows} == {"32"}
    assert {row["height"] for row in rows} == {"224"}
