"""gcbench report: a stored run as a person meets it, and what becomes of bad input."""

import csv
import io
import json
import os
import re
from itertools import islice

import pytest
from commands import assert_refused, ran
from importing import assert_light
from runs import DATA, GC, NL, SE, comparison, kept
from written import FORMATS, PIVOTS

from gcbench import store
from gcbench.results import tables

SIZES = [comparison(GC, SE, NL, size=(size, size)) for size in (7, 14, 28)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of its own to be in, with two runs in results/."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    kept(tmp_path / "results/old.jsonl", comparison(NL))
    kept(tmp_path / "results/new.jsonl", *SIZES)
    os.utime("results/old.jsonl", (1, 1))
    return tmp_path


def test_the_newest_run_is_shown_and_named(folder, capsys):
    code, out, err = ran("report", capsys=capsys)
    assert code == 0
    assert err == "gcbench: the newest run: results/new.jsonl\n"
    assert [
        line.split()[0]
        for line in out.splitlines()
        if line[:2] in ("gc", "se", "nl") and ":" not in line
    ] == [*("gc", "se", "nl") * 3]
    assert "1x256x28x28" in out


@pytest.mark.parametrize("name", [entry.name for entry in FORMATS])
def test_every_format_is_the_same_on_stdout_and_in_a_file(name, folder, capsys):
    for more in ([], *([["--rows", "size"]] if name in PIVOTS else [])):
        arguments = ["report", "results/new.jsonl", "--format", name, *more]
        code, out, err = ran(*arguments, capsys=capsys)
        assert (code, err) == (0, "")
        assert ran(*arguments, "-o", "a.txt", capsys=capsys) == (0, "", "gcbench: wrote a.txt\n")
        assert (folder / "a.txt").read_bytes().decode() == out != ""


def test_csv_writes_every_row_and_nothing_on_stdout(folder, capsys):
    code, out, err = ran("report", "results/new.jsonl", "--csv", "a.csv", capsys=capsys)
    assert (code, out, err) == (0, "", "gcbench: wrote a.csv\n")
    rows = list(csv.DictReader(io.StringIO((folder / "a.csv").read_text())))
    assert [row["height"] for row in rows] == ["7", "7", "7", "14", "14", "14", "28", "28", "28"]
    assert list(rows[0]) == list(tables.COLUMNS)


def test_csv_stands_beside_whatever_else_is_asked_for(folder, capsys):
    arguments = ("report", "results/new.jsonl", "--csv", "a.csv", "--value", "latency_us")
    code, out, _ = ran(*arguments, capsys=capsys)
    assert code == 0
    assert len(out.partition("\n\n")[0].splitlines()) == 9
    assert (folder / "a.csv").read_text().count("\n") == 10


def test_a_pivot_has_the_rows_columns_and_value_that_were_asked_for(folder, capsys):
    arguments = ("--rows", "size", "--columns", "block", "--value", "relative")
    code, out, _ = ran("report", "results/new.jsonl", *arguments, capsys=capsys)
    assert code == 0
    cells = [line.split() for line in out.partition("\n\n")[0].splitlines()]
    assert cells[4] == ["size", "gc", "r16", "se", "r16", "nl"]
    assert cells[6:] == [[size, "1", "2.00", "3.00"] for size in ("7x7", "14x14", "28x28")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing.jsonl"], ["cannot read the run nothing.jsonl: No such file"]),
        (["results"], ["cannot read the run results: that is a folder"]),
        (["text"], ["text line 1 is not a manifest of a gcbench run"]),
        (["empty"], ["empty line 1 is not a manifest of a gcbench run"]),
        (["--where", "verdict == faster"], ["'faster' is no column", "a text stands in quotes"]),
        (["--rows", "siez"], ["--rows 'siez' is no column", "did you mean 'size'"]),
        (["--rows", "size,"], ["--rows '' is no column"]),
        (["--columns", "x"], ["--columns 'x' is no column"]),
        (["--value", "latency"], ["--value 'latency' is no column", "'latency_us'"]),
        (["--rows", "block", "--columns", "block"], ["name the same column twice"]),
        (["--format", "xml"], ["unknown format 'xml'", "markdown"]),
        (["--csv", "results/new.jsonl"], ["the run and --csv name the same file"]),
        (["-o", "results/../results/new.jsonl"], ["the run and --output name the same file"]),
        (["--csv", "a", "-o", "a"], ["--csv and --output name the same file"]),
        (["--csv", "results"], ["--csv results: that is a folder"]),
        (["-o", "no/a.txt"], ["--output no/a.txt: there is no folder"]),
    ],
)
def test_bad_input_is_one_clear_line_and_harms_nothing(arguments, words, folder, capsys):
    (folder / "text").write_text("some text\n")
    (folder / "empty").write_text("")
    before = (folder / "results/new.jsonl").read_bytes()
    run = [] if not arguments[0].startswith("-") else ["results/new.jsonl"]
    assert_refused(ran("report", *run, *arguments, capsys=capsys), *words)
    assert (folder / "results/new.jsonl").read_bytes() == before


def test_where_no_run_is_that_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert_refused(ran("report", capsys=capsys), "there is no run in", "results")


def test_a_run_without_a_comparison_is_said_to_hold_none(folder, capsys):
    kept(folder / "a.jsonl")
    code, out, err = ran("report", "a.jsonl", capsys=capsys)
    assert (code, out) == (0, "")
    assert "a.jsonl was begun at 2026-11-23T19:22:42+00:00 and holds no comparison" in err
    code, out, _ = ran("report", "a.jsonl", "--format", "json", capsys=capsys)
    assert json.loads(out)["rows"] == []


def test_damaged_lines_are_told_and_the_others_are_shown(folder, capsys):
    path = folder / "results/new.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"junk\x1b[31m\n", lines[3], lines[3][:50]]))
    code, out, err = ran("report", str(path), "--format", "csv", capsys=capsys)
    assert code == 0
    assert out.count("\n") == 7
    first, second = err.splitlines()
    assert first.startswith(f"gcbench: left out: {path} line 3 is not a comparison")
    assert second == f"gcbench: left out: {path} line 5 is not finished"


def test_what_is_said_of_a_hostile_name_steers_no_terminal(folder, capsys):
    _, _, err = ran("report", "a\x1b[31m\nb", capsys=capsys)
    assert err == "gcbench: cannot read the run a\\x1b[31m\\nb: No such file or directory\n"


def test_rows_are_made_one_comparison_at_a_time(tmp_path, monkeypatch):
    read, comparison_of = [], store.Stored.comparison

    def spied(self, position):
        read.append(position)
        return comparison_of(self, position)

    monkeypatch.setattr(store.Stored, "comparison", spied)
    stored = store.open_run(kept(tmp_path / "a.jsonl", *SIZES), pytest.fail)
    rows = tables.rows(stored)
    assert read == []
    lines = FORMATS["csv"].load()(rows, stored.manifest)
    assert len(list(islice(lines, 5))) == 5
    assert read == [0, 1]


@pytest.mark.parametrize("name", [entry.name for entry in FORMATS])
def test_a_report_imports_neither_torch_nor_pandas(name):
    out, told = assert_light("report", str(DATA / "run-schema3.jsonl"), "--format", name)
    assert told == []
    assert "gc" in out


def csv_rows(*arguments, capsys):
    code, out, _ = ran("report", "results/new.jsonl", "--format", "csv", *arguments, capsys=capsys)
    assert code == 0
    return list(csv.DictReader(io.StringIO(out)))


def test_where_takes_any_column_measured_ones_too(folder, capsys):
    everything = csv_rows(capsys=capsys)
    for condition, keeps in (
        ("relative > 1", lambda row: row["relative"] != "1.0"),
        ("status == 'ok' and latency_us < 150", lambda row: float(row["latency_us"]) < 150),
        ("block in ('se', 'nl') and height == 14", lambda row: row["height"] == "14"),
        ("verdict == 'slower'", lambda row: row["verdict"] == "slower"),
    ):
        wanted = [row for row in everything if keeps(row)]
        if "block in" in condition:
            wanted = [row for row in wanted if row["block"] != "gc"]
        assert csv_rows("--where", condition, capsys=capsys) == wanted != []


def test_sort_goes_by_the_first_column_then_by_the_next_and_missing_cells_come_last(folder, capsys):
    rows = csv_rows("--sort", "block,-height", capsys=capsys)
    assert [(row["block"], int(row["height"])) for row in rows] == [
        (block, height) for block in ("gc", "nl", "se") for height in (28, 14, 7)
    ]
    for sort, blocks in (("ratio", ["gc", "se", "nl"]), ("-ratio", ["gc", "se", "nl"])):
        found = csv_rows("--sort", sort, "--where", "height == 7", capsys=capsys)
        assert [row["block"] for row in found] == blocks


def test_a_sorted_table_is_one_with_what_varies_in_columns(folder, capsys):
    arguments = ("report", "results/new.jsonl", "--sort", "-height,latency_us")
    _, out, _ = ran(*arguments, capsys=capsys)
    lines = out.partition("\n\n")[0].splitlines()
    header = next(line for line in lines if line.startswith("block"))
    assert header.split()[:2] == ["block", "size"]
    shown = [line for line in lines if line.startswith(("gc r16 ", "se r16 ", "nl "))]
    assert len(shown) == 9
    assert shown[0].split()[:3] == ["gc", "r16", "28x28"]
    assert "56x56" not in out


def test_sorting_orders_a_pivot_and_the_csv_beside_it(folder, capsys):
    arguments = ("--rows", "size", "--sort", "-height", "--where", "block != 'nl'")
    _, out, _ = ran("report", "results/new.jsonl", *arguments, "--csv", "a.csv", capsys=capsys)
    sizes = [line.split()[0] for line in out.splitlines() if re.match(r"\d+x\d+ ", line)]
    assert sizes == ["28x28", "14x14", "7x7"]
    written = list(csv.DictReader(io.StringIO((folder / "a.csv").read_text())))
    assert [row["height"] for row in written] == [*["28"] * 2, *["14"] * 2, *["7"] * 2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--where", "latncy_us < 1"], ["--where", "'latncy_us' is no column", "'latency_us'"]),
        (["--where", "status == 1"], ["--where", "compares text with a number"]),
        (["--where", "relative"], ["--where", "is no condition"]),
        (["--where", "height > 99"], ["--where 'height > 99' leaves no case of the run"]),
        (["--where", "__import__('os')"], ["--where", "is no condition"]),
        (["--sort", "-latency"], ["--sort 'latency' is no column", "'latency_us'"]),
        (["--sort", "block,,"], ["--sort '' is no column"]),
    ],
)
def test_a_wrong_selection_or_order_is_one_clear_line(arguments, words, folder, capsys):
    assert_refused(ran("report", "results/new.jsonl", *arguments, capsys=capsys), *words)


def test_csv_and_json_read_back_are_the_rows(folder, capsys):
    stored = store.open_run(folder / "results/new.jsonl", pytest.fail)
    rows = list(tables.rows(stored))
    back = [
        {
            name: None if cell == "" else kind(cell) if kind is str else float(cell)
            for (name, cell), kind in zip(row.items(), tables.KINDS.values(), strict=True)
        }
        for row in csv_rows(capsys=capsys)
    ]
    assert back == rows
    _, out, _ = ran("report", "results/new.jsonl", "--format", "json", capsys=capsys)
    read = json.loads(out)
    assert read["rows"] == rows
    assert [each["block"] for each in read["findings"]["growth"]][:2] == ["gc r16", "gc r16"]


def test_every_report_says_shape_device_versions_floor_and_day(folder, capsys):
    first = next(tables.rows(store.open_run(folder / "results/new.jsonl", pytest.fail)))
    words = [first["device_name"], first["torch_version"], first["gcbench_version"]]
    for name in (entry.name for entry in PIVOTS):
        for more in ([], ["--rows", "size"], ["--sort", "block"]):
            arguments = ("report", "results/new.jsonl", "--format", name, *more)
            _, out, _ = ran(*arguments, capsys=capsys)
            plain = out.replace("{}", "")
            for word in (*words, "2026-11-23", "256", "7"):
                assert word in plain, (name, more, word)
            assert "aa_lo" in plain or "A/A" in plain, (name, more)


@pytest.mark.parametrize("name", [entry.name for entry in FORMATS])
@pytest.mark.parametrize("schema", [1, 2, 3])
def test_runs_of_every_schema_are_reported_sorted_and_selected(name, schema, capsys):
    run = str(DATA / f"run-schema{schema}.jsonl")
    more = ("--format", name, "--where", "status == 'ok'", "--sort", "-latency_us")
    code, out, err = ran("report", run, *more, capsys=capsys)
    assert (code, err) == (0, "")
    assert out.index("nl") < out.rindex("se")


@pytest.mark.parametrize("name", [entry.name for entry in PIVOTS])
def test_runs_of_nothing_or_of_failures_alone_are_reported_in_every_format(name, folder, capsys):
    kept(folder / "none.jsonl")
    kept(folder / "failed.jsonl", comparison(GC, SE, statuses=("oom", "crashed")))
    for more in (["--sort", "-latency_us"], ["--where", "height > 1"], ["--rows", "size"]):
        assert ran("report", "none.jsonl", "--format", name, *more, capsys=capsys)[0] == 0
        code, out, err = ran("report", "failed.jsonl", "--format", name, *more, capsys=capsys)
        assert (code, err) == (0, "")
        assert "oom" in out
        assert "crashed" in out
