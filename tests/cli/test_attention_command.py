"""`gcbench attention`: its table, its rows and pictures, and what bad input meets."""

import json
import pickle
import sys
from pathlib import Path

import pytest
import torch
from commands import ran, rows_of
from PIL import Image
from refused import assert_refused

from gcbench import engines
from gcbench.attention import analysis, running, verdict
from gcbench.attention.images import Photo, fitted, gather, normalised
from gcbench.attention.request import Request, parse
from gcbench.cli import network_options
from gcbench.cli.progress import counting_bar
from gcbench.errors import UsageError
from gcbench.networks import make, read_insertion
from gcbench.report import attention as words
from gcbench.spec.cases import Axes

OWN = """
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

def small(classes=5):
    print("being made")
    return ResNet(BasicBlock, [1, 1, 2, 1], num_classes=classes)

class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.attend = nn.MultiheadAttention(3, 1, batch_first=True)
        self.never = nn.MultiheadAttention(3, 1)

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        return self.attend(tokens, tokens, tokens)[0]

def numberless():
    return small().to("meta")

def blind():
    return nn.Sequential(nn.Conv2d(3, 3, 1))

def trained():
    model = small()
    steps = torch.linspace(0, 0.1, 10_000_000)
    for parameter in model.parameters():
        parameter.data = steps[: parameter.numel()].view_as(parameter).clone()
    model.layer2.add_module("attending", Attending(128))
    return model

class Attending(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))

    def attention_map(self, x):
        keys = x.flatten(2)
        return (keys.transpose(1, 2) @ keys).softmax(-1)

    def forward(self, x):
        return x + (x.flatten(2) @ self.attention_map(x).transpose(1, 2)).view_as(x)

class Wrong(Attending):
    def attention_map(self, x):
        return 2 * super().attention_map(x)

def attending():
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), Attending(4))

def wrong():
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), Wrong(4))
"""
FAST = ["--size", "32", "--threads", "1", "--no-latency"]
INSERT = ["--insert", "nl@+1", "--insert", "nl:similarity=dot_product:subsample=before@c3.last"]


@pytest.fixture
def own(tmp_path, monkeypatch, foreign_code_here):
    """Networks of the user's, and two pictures, in the working directory."""
    (tmp_path / "own_attending.py").write_text(OWN)
    (tmp_path / "pictures").mkdir()
    for number in range(2):
        Image.effect_noise((50, 40 + number), 90).save(tmp_path / "pictures" / f"{number}.png")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield "own_attending"
    sys.modules.pop("own_attending", None)


def analysed(net, *more, capsys):
    return ran("attention", net, "--images", "pictures", *FAST, *more, capsys=capsys)


def test_each_block_is_a_row_with_its_verdict(own, capsys, tmp_path):
    files = ["--csv", "a.csv", "-o", "a.png"]
    code, out, err = analysed(f"{own}:small", *INSERT, *files, capsys=capsys)
    assert code == 0, err
    assert "being made" not in out
    # nobody trained what was put in
    assert "weights: untrained, drawn from seed 0" in out
    assert "attention depends on the query" not in out
    for said in (
        "2 images of 32x32",
        "layer3.0.inserted.0",
        "nl dot_product, subsample=before",
        "dot_product has no softmax",
        "untrained weights: nothing follows on attention",
        "snl in its place costs",
        "±: the standard deviation over images",
    ):
        assert said in out
    rows = rows_of(tmp_path / "a.csv")
    # in the model's order: c3 stands before c4
    pooled, plain = rows
    assert (plain["queries"], plain["keys"], pooled["queries"], pooled["keys"]) == (
        *("4", "4"),
        *("16", "4"),
    )
    assert pooled["attention_js"] == ""
    assert "softmax" in pooled["attention_js_reason"]
    for row in rows:
        assert row["status"] == "ok"
        low, mean, high = (float(row[f"query_share{end}"]) for end in ("_min", "", "_max"))
        assert 0 <= low <= mean <= high <= 1
        assert mean == pytest.approx((low + high) / 2)
        assert float(row["query_share_sd"]) == pytest.approx((high - low) / 2**0.5)
        assert int(row["macs"]) > int(row["snl_macs"]) > int(row["gc_macs"])
        assert row["latency_us"] == ""
    with Image.open(tmp_path / "a.png") as image:
        assert image.height > 1000


def test_json_has_the_rows_and_the_machine(own, capsys):
    code, out, _ = analysed(f"{own}:small", "--insert", "nl@+1", "--format", "json", capsys=capsys)
    found = json.loads(out)
    assert code == 0
    assert found["manifest"]["seed"] == 0
    assert found["rows"][0]["attention_js"] > 0


@pytest.mark.parametrize("format", ["csv", "markdown"])
def test_other_formats_have_the_block(own, capsys, format):
    code, out, _ = analysed(f"{own}:small", "--insert", "nl@+1", "--format", format, capsys=capsys)
    assert code == 0
    assert "layer3.0.inserted.0" in out


def test_the_same_command_prints_the_same(own, capsys):
    once, again = (analysed(f"{own}:small", *INSERT, capsys=capsys)[1] for _ in range(2))
    assert once == again != ""


@pytest.mark.slow
def test_in_a_worker_the_same_is_found_and_drawn(own, capfd, monkeypatch):
    found = []
    for foreign in (False, True):
        monkeypatch.setattr(network_options, "is_foreign", lambda *named, it=foreign: it)
        files = ["--csv", "a.csv", "-o", "a.png"]
        code, out, _ = analysed(f"{own}:small", *INSERT, *files, capsys=capfd)
        found.append((code, out, rows_of(Path("a.csv")), Path("a.png").read_bytes()))
    assert found[0] == found[1]


def test_a_block_that_no_picture_reaches_is_told(own, capsys):
    code, out, _ = analysed(f"{own}:Tokens", capsys=capsys)
    assert code == 3
    assert "\N{EN DASH} is for never: no picture went through it" in out


def test_blocks_are_chosen_by_place(own, capsys):
    for place in ("c4.last-1", "layer3", "layer3.0.inserted.0"):
        code, out, _ = analysed(f"{own}:small", *INSERT, "--block", place, capsys=capsys)
        assert code == 0
        assert "layer3.0.inserted.0" in out
        assert "layer2" not in out


@pytest.mark.parametrize("trained", ["plain", "with its blocks"])
def test_weights_are_of_the_plain_network_or_of_the_one_with_blocks(own, trained, tmp_path):
    insertion = read_insertion("nl@+1")
    model = make(f"{own}:small", seed=5)
    if trained != "plain":
        model = running.prepare(f"{own}:small", [insertion], 16, None, 5, (32, 32))
    torch.save(model.state_dict(), tmp_path / "w.pth")
    loaded = running.prepare(
        f"{own}:small", [insertion], 16, tmp_path / "w.pth", 0, (32, 32)
    ).state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(loaded[name], value)


def test_weights_that_a_network_loads_itself_are_not_called_untrained(own, capsys):
    code, out, _ = analysed(f"{own}:trained", capsys=capsys)
    assert code == 0
    assert "weights: as the network makes them, seed 0" in out
    assert "attention depends on the query" in out
    assert "untrained" not in out


def test_a_conclusion_is_drawn_of_weights_from_a_file(own, capsys):
    model = running.prepare(f"{own}:small", [read_insertion("nl@+1")], 16, None, 5, (32, 32))
    torch.save(model.state_dict(), "w.pth")
    line = [f"{own}:small", "--insert", "nl@+1"]
    code, out, _ = analysed(*line, "--weights", "w.pth", capsys=capsys)
    assert code == 0
    assert "of its attention depends on the query" in out
    # those of the plain network say nothing of what was put in
    torch.save(make(f"{own}:small", seed=5).state_dict(), "plain.pth")
    code, out, _ = analysed(*line, "--weights", "plain.pth", capsys=capsys)
    assert "attention depends on the query" not in out
    assert "untrained weights" in out


def test_a_picture_says_that_weights_are_untrained(own):
    asked = Request(
        model=f"{own}:attending",
        inserts=(),
        block=None,
        photos=gather([Path("pictures")]),
        weights=None,
        size=(32, 32),
        axes=Axes(device="cpu", threads=1),
        seed=0,
        queries=parse("2"),
    )
    report = analysis.analyse(asked, engines.count_only, counting_bar)
    [panel] = report.panels
    assert panel.title == "1, untrained weights"


def test_a_block_that_gives_its_map_is_measured_by_it(own, capsys):
    code, _, err = analysed(f"{own}:attending", "--csv", "a.csv", capsys=capsys)
    assert code == 0, err
    [row] = rows_of(Path("a.csv"))
    assert (row["kind"], row["detail"], row["status"]) == ("own", "Attending", "ok")
    assert (row["queries"], row["keys"], row["heads"]) == ("64", "64", "1")
    # the share from its definition, on the map itself
    model = make(f"{own}:attending", seed=0).eval()
    shares = []
    for photo in gather([Path("pictures")]):
        with torch.no_grad():
            x = model[0](normalised(fitted(photo, (32, 32))))
            rows = model[1].attention_map(x)[0].double()
        shares.append(float(1 - rows.mean(0).square().sum() / rows.square().sum(1).mean()))
    assert float(row["query_share"]) == pytest.approx(sum(shares) / 2, rel=1e-5)


def test_a_map_whose_rows_are_no_shares_is_none(own, capsys):
    code, out, _ = analysed(f"{own}:wrong", capsys=capsys)
    assert code != 0
    assert "attention_map is to return shares" in out


def test_bad_input_is_one_line(own, capsys, tmp_path):
    small, with_block = f"{own}:small", [f"{own}:small", "--insert", "nl@+1"]
    (tmp_path / "none").mkdir()
    (tmp_path / "text.png").write_text("no picture")
    torch.save({"other": torch.zeros(2)}, "other.pth")
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil()))
    for arguments, said in (
        ([f"{own}:blind"], ("no attention block", "nl", "torch/MultiheadAttention")),
        ([], ("attention takes a MODEL",)),
        ([f"{own}:numberless", "--insert", "nl@+1"], ("own_attending:numberless", "meta device")),
        ([*with_block, "--images", "none"], ("--images none", "no pictures")),
        ([*with_block, "--images", "text.png"], ("--images text.png", "no picture")),
        ([*with_block, "--weights", "other.pth"], ("--weights", "another network")),
        ([*with_block, "--weights", "evil.pth"], ("--weights", "loaded safely")),
        ([*with_block, "--block", "c5.last"], ("--block 'c5.last'", "layer3.0.inserted.0")),
        ([*with_block, "--block", "?"], ("--block '?'", "layer3.0.inserted.0")),
        ([*with_block, "-o", "maps.gif"], ("--output maps.gif", ".png")),
        ([*with_block, "--queries", "0"], ("--queries", "1 to 12")),
        ([*with_block, "--queries", "9x9", "-o", "m.png"], ("--queries 9x9", "2x2")),
        ([*with_block, "--size", "0"], ("--size",)),
        ([*with_block, "--format", "xml"], ("unknown format 'xml'",)),
        ([*with_block, "--queries", "1x1"], ("--queries 1x1", "-o FILE.png")),
        ([*with_block, "-o", "pictures/0.png"], ("--images and --output", "pictures/0.png")),
        ([*with_block, "--weights", "other.pth", "--csv", "other.pth"], ("--weights and --csv",)),
        ([*with_block, "--demo"], ("--demo", "MODEL, --insert")),
        (["--demo", "--size", "32"], ("--demo", "leave out --size")),
        ([small, "--csv", "a.png", "-o", "a.png"], ("--csv and --output", "a.png")),
    ):
        images = [] if {"--images", "--demo"} & {*arguments} else ["--images", "pictures"]
        size = [] if "--size" in arguments else ["--size", "32"]
        code, out, err = ran("attention", *arguments, *images, *size, capsys=capsys)
        said_by_us = [line for line in err.splitlines() if line.startswith("gcbench: ")]
        kept = "\n".join(line for line in said_by_us if "no --weights: " not in line)
        assert_refused((code, out, kept), *said)
    assert not (tmp_path / "pwned").exists()


class Evil:
    def __reduce__(self):
        return (open, ("pwned", "w"))


def test_a_map_that_memory_does_not_hold_is_refused_before_it_is_made(own, capsys, monkeypatch):
    monkeypatch.setattr("gcbench.measure.environment.free_bytes", lambda device: 10_000)
    result = analysed(f"{own}:small", "--insert", "nl@+1", capsys=capsys)
    assert result[0] == 2
    assert "is predicted to need" in result[2]
    assert "9.77 KiB are free: a smaller --size" in result[2]
    # where the network as a whole cannot be foreseen, each block is
    monkeypatch.setattr(running, "require_memory", lambda *given: None)
    result = analysed(f"{own}:small", "--insert", "nl@c2.last", capsys=capsys)
    assert result[0] == 2
    assert "layer1.0.bn2.inserted.0 (nl) is predicted to need" in result[2]


def test_ctrl_c_ends_it_cleanly(own, capsys, monkeypatch):
    def interrupted(*given, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "normalised", interrupted)
    code, out, err = analysed(f"{own}:small", "--insert", "nl@+1", capsys=capsys)
    assert (code, out) == (130, "")
    assert "interrupted" in err


def timed_until(raised, calls):
    """A way to time that counts the first block, and then raises."""

    def timed(*given, **named):
        def measure(comparison):
            calls.append(comparison)
            if len(calls) > 1:
                raise raised
            return engines.count_only(comparison)

        return measure

    return timed


TIMED = [*INSERT, "--size", "32", "--threads", "1", "--csv", "a.csv", "-o", "a.png"]


def test_ctrl_c_while_replacements_are_timed_leaves_all_readings(
    own, capsys, monkeypatch, tmp_path
):
    calls = []
    monkeypatch.setattr(verdict, "timed", timed_until(KeyboardInterrupt(), calls))
    given = ["attention", f"{own}:small", "--images", "pictures", *TIMED]
    code, out, err = ran(*given, "--insert", "nl@c5.last", capsys=capsys)
    assert (code, len(calls)) == (130, 2)
    assert "interrupted: readings are kept" in err.splitlines()[-1]
    assert "layer3.0.inserted.0; layer4.0.bn2.inserted.0: not timed: it was interrupted." in out
    first, *others = rows_of(tmp_path / "a.csv")
    assert first["price_reason"] == ""
    for row in others:
        assert (row["status"], row["images"]) == ("ok", "2")
        assert 0 <= float(row["query_share"]) <= 1
        assert (row["price_reason"], row["latency_us"]) == ("it was interrupted", "")
        assert int(row["macs"]) > int(row["snl_macs"]) > 0
    with Image.open(tmp_path / "a.png") as image:
        assert image.height > 1000


def test_where_timing_fails_readings_stay(own, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(verdict, "timed", timed_until(RuntimeError("no clock"), []))
    given = ["attention", f"{own}:small", "--images", "pictures", *TIMED]
    code, out, _ = ran(*given, capsys=capsys)
    assert code == 3
    assert "layer3.0.inserted.0: not priced: RuntimeError: no clock" in out
    assert all(float(row["query_share"]) <= 1 for row in rows_of(tmp_path / "a.csv"))
    assert (tmp_path / "a.png").exists()


def test_equal_blocks_are_priced_once():
    calls = []

    def measure(comparison):
        calls.append(comparison)
        return engines.count_only(comparison)

    model = running.prepare(
        "resnet18", [read_insertion("nl@c4.all,c3.last")], 16, None, 0, (32, 32)
    )
    shapes = {"layer2": (1, 128, 4, 4), "layer3": (1, 256, 2, 2)}
    seen = [
        running.Seen(found, shape=shapes[found.path[:6]], readings=[])
        for found in running.find(model)
    ]
    prices = verdict.prices(seen, Axes(device="cpu"), verdict.UntilStopped(measure))
    assert len(calls) == 2
    assert [price["macs"] for price in prices] == [557056, 528384, 528384]


def test_wherever_pricing_is_interrupted_it_is_counted_instead(monkeypatch):
    model = running.prepare("resnet18", [read_insertion("nl@c4.all")], 16, None, 0, (32, 32))
    seen = [running.Seen(each, shape=(1, 256, 2, 2)) for each in running.find(model)]
    calls = []

    def compare(*given):
        calls.append(given)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return compared(*given)

    compared = engines.compare
    monkeypatch.setattr(engines, "compare", compare)
    until = verdict.UntilStopped(lambda comparison: pytest.fail("it was timed after all"))
    prices = verdict.prices(seen, Axes(device="cpu"), until)
    assert until.stopped
    assert [price["price_reason"] for price in prices] == ["it was interrupted"] * 2
    assert [price["macs"] for price in prices] == [528384] * 2


def row(**cells):
    from gcbench.attention.rows import row

    return row({"network": "n", "block": "b", "images": 1, **cells})


def test_the_verdict_is_in_words_by_the_share():
    for share, said in ((0.0, "as good as one map"), (0.05, "nearly"), (0.9, "its query alone")):
        [sentence] = words._verdicts([row(query_share=share)])
        assert said in sentence


def test_shares_that_read_the_same_are_told_once():
    [sentence] = words._verdicts([row(query_share=0.0485), row(block="c", query_share=0.0486)])
    assert sentence.startswith("b; c: 4.9 % of their attention")
    [sentence] = words._verdicts([row(query_share=0.97), row(block="c", query_share=0.998)])
    assert sentence.startswith("b; c: 97 to 100 % of their attention")


def test_one_query_is_no_verdict():
    assert list(words._verdicts([row(query_share=0.0, queries=1)])) == []


def test_a_block_that_was_not_called_for_every_image_is_told():
    rows = [row(images=3), row(block="b#2", images=1), row(block="c", images=0)]
    assert list(words._partly(rows)) == ["b#2: called for 1 of 3 images."]


def test_a_row_names_the_first_pictures_and_counts_the_others():
    photos = [Photo(f"{number}.png", lambda: None) for number in range(analysis.NAMED + 2)]
    assert analysis._names(photos[:2]) == "0.png; 1.png"
    assert analysis._names(photos).endswith("; 99.png; and 2 more")


def test_a_saving_is_told_with_its_interval():
    cells = {"macs": 450_000_000, "latency_us": 3400.0, "latency_us_lo": 3350.0}
    cells |= {"latency_us_hi": 3450.0, "snl_macs": 1_450_000, "snl_relative": 0.0791}
    cells |= {"snl_relative_lo": 0.0752, "snl_relative_hi": 0.0871, "snl_verdict": "faster"}
    [sentence] = words._verdicts([row(**cells)])
    assert sentence == (
        "b: a call costs 450 M MACs and 3.40 ms; "
        "snl in its place costs 1.45 M MACs and 0.079 of its "
        "time (95 % interval 0.075 to 0.087)."
    )


def test_text_from_outside_is_harmless(own, capsys, tmp_path):
    with pytest.raises(UsageError):
        running.choose(make(f"{own}:small"), [], "x")
    hostile = "pictures/=1+2\x1b[31m.png"
    Image.effect_noise((50, 40), 90).save(tmp_path / hostile)
    insert = ["--insert", "nl@+1", *FAST, "--csv", "a.csv"]
    given = ["attention", f"{own}:small", "--images", hostile, *insert]
    code, out, err = ran(*given, capsys=capsys)
    assert code == 0, err
    assert "\x1b" not in out + err + (tmp_path / "a.csv").read_text()
    assert "'=1+2" in (tmp_path / "a.csv").read_text()
