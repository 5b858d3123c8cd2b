"""What a command tells goes where it was asked to, in the format that was asked for, and once."""

import csv
import io
import json

import pytest
from commands import assert_refused, ran
from runs import GC, SE, comparison, kept

from gcbench import report
from gcbench.errors import UsageError

STATIC = ("bench", "gc", "se", "-C", "16", "-s", "6", "-r", "4", "--static", "--threads", "1")
GRID = ("sweep", "gc", "-C", "16", "-s", "6,7", "-r", "4", "--static", "--threads", "1")
NAMES = [entry.name for entry in report.GENERAL]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("command", [("env",), ("blocks",), ("blocks", "simam")], ids=" ".join)
def test_a_file_gets_what_stdout_would(command, name, folder, capsys):
    code, out, _ = ran(*command, "--format", name, capsys=capsys)
    assert (code, out != "") == (0, True)
    for option in ("-o", "--output", "--write"):
        code, nothing, err = ran(*command, "--format", name, option, "a", capsys=capsys)
        assert (code, nothing) == (0, "")
        assert "gcbench: wrote a" in err.splitlines()
        if command != ("env",):
            assert (folder / "a").read_text() == out


def test_a_bench_keeps_its_run_its_rows_and_what_it_tells(folder, capsys):
    files = ("-o", "run.jsonl", "--csv", "a.csv", "--format", "markdown", "--write", "a.md")
    code, out, err = ran(*STATIC, *files, capsys=capsys)
    assert (code, out) == (0, ""), err
    written = (folder / "a.md").read_text()
    assert ran("report", "run.jsonl", "--format", "markdown", capsys=capsys)[1] == written
    rows = list(csv.DictReader(io.StringIO((folder / "a.csv").read_text())))
    assert [row["block"] for row in rows] == ["gc", "se"]


@pytest.mark.parametrize("name", NAMES)
def test_a_sweep_tells_its_pivot_in_every_format(name, folder, capsys):
    code, out, err = ran(*GRID, "-o", "run", "--format", name, capsys=capsys)
    assert code == 0, err
    again = ("report", "run", "--rows", "size", "--format", name)
    assert ran(*again, capsys=capsys)[1] == out != ""
    shown = ran("sweep", "--resume", "run", "--format", name, "--write", "a", capsys=capsys)
    assert shown[:2] == (0, "")
    assert (folder / "a").read_text() == out


def test_one_file_that_cannot_be_written_loses_none_of_the_others(folder, capsys, monkeypatch):
    from gcbench.cli import output

    def full(path, content):
        if path.suffix == ".csv":
            raise UsageError(f"cannot write {path}: No space left on device")
        whole(path, content)

    whole = output.write_whole
    monkeypatch.setattr(output, "write_whole", full)
    files = ("-o", "run.jsonl", "--csv", "a.csv", "--write", "a.txt")
    code, _, err = ran(*STATIC, *files, capsys=capsys)
    assert code == 2
    assert "cannot write a.csv" in err
    assert sorted(path.name for path in folder.iterdir()) == ["a.txt", "run.jsonl"]
    assert "gc r4" in (folder / "a.txt").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("env", "--json", "--format", "csv"), "--json and --format csv ask for different things"),
        (("env", "--format", "pytest-benchmark"), "unknown format 'pytest-benchmark': known: "),
        (("count", "gc", "--format", "pytest-benchmark"), "unknown format 'pytest-benchmark'"),
        (("blocks", "-o", "no/a"), "--output no/a: there is no folder"),
        (("check", "-o", "no/a"), "--output no/a: there is no folder"),
        (("peaks", "--format", "xml"), "unknown format 'xml'"),
        ((*STATIC, "--write", "no/a"), "--write no/a: there is no folder"),
        ((*STATIC, "--write", "a", "--csv", "a"), "--csv and --write name the same file"),
        ((*GRID, "--write", "a", "-o", "a"), "the run and --write name the same file"),
        ((*GRID, "--format", "pytest-benchmark"), "unknown format 'pytest-benchmark'"),
    ],
)
def test_what_cannot_be_told_is_one_clear_line_before_anything_is_made(
    arguments, words, folder, capsys
):
    assert_refused(ran(*arguments, capsys=capsys), words)
    assert list(folder.iterdir()) == []


def test_json_says_the_same_by_either_name(folder, capsys):
    _, one, _ = ran("env", "--json", capsys=capsys)
    _, two, _ = ran("env", "--format", "json", capsys=capsys)
    assert json.loads(one).keys() == json.loads(two).keys()


def test_more_detail_has_the_samples_in_every_format_for_people(folder, capsys):
    kept(folder / "a.jsonl", comparison(GC, SE))
    for name in ("table", "markdown", "latex"):
        _, out, _ = ran("report", "a.jsonl", "--format", name, "-v", capsys=capsys)
        assert out.count("samples at 1x256x56x56") == 1
        assert out.count("p99 ") == 2
