"""gcbench plot: files as a person asks for them, and what becomes of bad input."""

import re
import sys
from xml.etree import ElementTree

import pytest
from commands import assert_refused, ran
from importing import assert_light
from pictures import HOSTILE, growing, words
from runs import DATA, GC, NL, SE, comparison, kept

from gcbench.report.charts.saving import PICTURES
from gcbench.spec.cases import Block


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of its own to be in, with a run in results/."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    kept(tmp_path / "results/new.jsonl", *growing().comparisons)
    return tmp_path


def test_without_a_name_the_newest_run_is_drawn_beside_it_and_that_is_said(folder, capsys):
    code, out, err = ran("plot", capsys=capsys)
    assert (code, out) == (0, "")
    assert err.splitlines() == [
        "gcbench: the newest run: results/new.jsonl",
        "gcbench: wrote results/new-latency.svg",
    ]
    shown = [word.text for word in words((folder / "results/new-latency.svg").read_text())]
    assert {"gc r16", "se r16", "nl"} <= set(shown)
    assert ran("plot", capsys=capsys)[0] == 0  # it may be drawn again


@pytest.mark.parametrize(
    ("suffix", "start"),
    [
        (".svg", b"<svg "),
        (".png", b"\x89PNG\r\n\x1a\n"),
        (".pdf", b"%PDF-"),
        pytest.param(".html", b"<!DOCTYPE html>", marks=pytest.mark.slow),
        pytest.param(".PNG", b"\x89PNG", marks=pytest.mark.slow),
    ],
)
def test_the_suffix_says_how_it_is_drawn(suffix, start, folder, capsys):
    code, out, err = ran("plot", "results/new.jsonl", "-o", f"a{suffix}", capsys=capsys)
    assert (code, out, err) == (0, "", f"gcbench: wrote a{suffix}\n")
    assert (folder / f"a{suffix}").read_bytes().startswith(start)
    assert suffix.lower() in PICTURES
    assert sorted(path.name for path in folder.iterdir()) == sorted([f"a{suffix}", "results"])


def test_a_condition_keeps_a_part(folder, capsys):
    arguments = ("--where", "block != 'nl' and height > 7", "-o", "a.svg")
    assert ran("plot", "results/new.jsonl", *arguments, capsys=capsys)[0] == 0
    shown = [word.text for word in words((folder / "a.svg").read_text())]
    assert "nl" not in shown
    assert {"14", "28", "56"} <= set(shown)
    assert "7" not in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing.jsonl"], ["cannot read the run nothing.jsonl: No such file"]),
        (["text"], ["text line 1 is not a manifest of a gcbench run"]),
        (["--chart", "latencyy"], ["unknown chart 'latencyy': did you mean 'latency'", "roofline"]),
        (["--chart", "ratio"], ["no block of this run was measured at two ratios"]),
        (["--chart", "memory"], ["nothing is known of the peak memory of 12 cases"]),
        (["--chart", "roofline"], ["no case of this run has ceilings"]),
        (["-o", "a.gif"], ["--output a.gif: the suffix", "'.gif'", ".svg, .png, .pdf, .html"]),
        (["-o", "a"], ["--output a: the suffix says what is drawn, and there is none", ".svg"]),
        (["-o", "no/a.svg"], ["--output no/a.svg: there is no folder"]),
        (["-o", "results/new.jsonl"], ["--output results/new.jsonl: the suffix"]),
        (["-o", "link.svg"], ["the run and --output name the same file"]),
        (["--where", "hight > 7"], ["--where", "hight", "height"]),
        (["--where", "sise == 7"], ["--where: 'sise' is no column: did you mean 'size'?"]),
        (
            ["--chart", "memory", "--where", "height == 7 and block == 'gc'"],
            ["memory of 1 case (not measured),"],
        ),
        (["--where", "height > 700"], ["holds no case for which height > 700 holds"]),
    ],
)
def test_bad_input_is_one_clear_line_and_harms_nothing(arguments, said, folder, capsys):
    (folder / "text").write_text("some text\n")
    (folder / "link.svg").symlink_to(folder / "results/new.jsonl")
    before = (folder / "results/new.jsonl").read_bytes()
    run = [] if not arguments[0].startswith("-") else ["results/new.jsonl"]
    assert_refused(ran("plot", *run, *arguments, capsys=capsys), *said)
    assert (folder / "results/new.jsonl").read_bytes() == before
    assert len(list(folder.iterdir())) == 3


def test_an_empty_run_and_one_of_failures_alone_are_told_in_a_line(folder, capsys):
    kept(folder / "empty.jsonl")
    assert_refused(ran("plot", "empty.jsonl", capsys=capsys), "empty.jsonl holds no comparison")
    kept(folder / "bad.jsonl", comparison(GC, SE, NL, statuses=("oom", "timeout", "error")))
    said = "nothing is known of the latency of 3 cases (error, oom, timeout: it was oom)"
    assert_refused(ran("plot", "bad.jsonl", capsys=capsys), said)


def test_damaged_lines_are_told_and_the_others_are_drawn(folder, capsys):
    path = folder / "results/new.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"junk\n", *lines[3:4], lines[4][:50]]))
    code, _, err = ran("plot", str(path), "-o", "a.svg", capsys=capsys)
    assert code == 0
    first, second, last = err.splitlines()
    assert first.startswith(f"gcbench: left out: {path} line 3 is not a comparison")
    assert second == f"gcbench: left out: {path} line 5 is not finished"
    assert last == "gcbench: wrote a.svg"


@pytest.mark.parametrize("sizes", [(7,), (7, 14)])
def test_names_that_hold_anything_are_shown_as_they_are(sizes, folder, capsys):
    blocks = [Block(name, name, None, False) for name in HOSTILE]
    statuses = ("ok",) * (len(blocks) - 1) + ("oom",)
    comparisons = [comparison(*blocks, statuses=statuses, size=(s, s), factor=s) for s in sizes]
    said = {"node": "a\x00b", "devices": {"cpu": "<b>\x00\x1b[31m"}, "started": "\x00" * 9}
    kept(folder / "a.jsonl", *comparisons, **said)
    assert ran("plot", "a.jsonl", "-o", "a.svg", capsys=capsys)[0] == 0
    text = (folder / "a.svg").read_text()
    # a parser takes it, and finds text alone
    tags = {node.tag.rpartition("}")[2] for node in ElementTree.fromstring(text).iter()}
    assert tags <= {"svg", "g", "path", "text", "tspan", "line", "rect", "defs", "clipPath"}
    shown = [word.text for word in words(text)]
    literal = [name for name in HOSTILE if name.isprintable() and len(name) < 30]
    assert len(literal) == 8
    # what failed everywhere is named in its row alone
    failed = {"=1+2"} if len(sizes) > 1 else set()
    assert {"line\\nbreak", "\\u202eevil\\x00", *literal} - failed <= set(shown)
    assert not failed or "=1+2: oom" in shown


@pytest.mark.slow
def test_the_page_asks_nobody_for_anything_and_no_name_ends_its_script(folder, capsys):
    kept(folder / "a.jsonl", comparison(*(Block(n, n, None, False) for n in HOSTILE)))
    assert ran("plot", "a.jsonl", "-o", "a.html", capsys=capsys)[0] == 0
    text = (folder / "a.html").read_text()
    assert text.count("</script>") == text.count("<script ") == 2
    assert not re.search(r"<(script|img|link)[^>]*(src|href)=.?http", text)
    assert "default-src 'none'" in text
    assert "<script>alert(1)" not in text


@pytest.mark.parametrize("name", ["altair", "vl_convert"])
def test_where_what_draws_is_missing_that_is_said(name, folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    result = ran("plot", "results/new.jsonl", "-o", "a.svg", capsys=capsys)
    assert_refused(result, f"needs {name}", "pip install altair vl-convert-python")
    assert not (folder / "a.svg").exists()


@pytest.mark.slow
def test_a_picture_imports_neither_torch_nor_pandas(tmp_path):
    run, picture = str(DATA / "run-schema3.jsonl"), str(tmp_path / "a.svg")
    assert assert_light("plot", run, "-o", picture) == ("", [f"gcbench: wrote {picture}"])
