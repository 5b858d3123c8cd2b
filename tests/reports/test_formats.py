"""Every format, with rows that hold anything, alone and as a pivot."""

import csv
import io
import json
import re
from dataclasses import replace

import pytest
from hostile import HOSTILE
from pictures import ONE, costed
from runs import GC, NL, SE, comparison, manifest
from written import FORMATS, PIVOTS, coloured, coloured_pivot

from gcbench.records import Run
from gcbench.report.detail import Detail
from gcbench.report.pivot import pivot
from gcbench.results import tables


def run_of(text, status="ok"):
    """A run whose block, node and reason are this text."""
    block = replace(SE, name=text, spec=text)
    record = comparison(GC, block, NL, statuses=("ok", status, "ok"))
    spoilt = [replace(m, reason=text) for m in record.measurements]
    return Run(manifest(node=text), (replace(record, measurements=tuple(spoilt)),))


def written(entries, name, what, run):
    return "".join(entries[name].load()(what, run.manifest))


def every_text(run):
    """The rows of a run, and a pivot of them, in every format."""
    rows = list(tables.rows(run))
    for entry in FORMATS:
        yield entry.name, written(FORMATS, entry.name, rows, run)
        if entry.name in PIVOTS:
            yield entry.name, written(PIVOTS, entry.name, pivot(rows), run)


@pytest.mark.parametrize("status", ["ok", "error"])
@pytest.mark.parametrize("text", HOSTILE)
def test_no_format_carries_what_steers_a_terminal_or_breaks_a_line(text, status):
    plain = run_of("plain", status)
    for (name, made), (_, usual) in zip(
        every_text(run_of(text, status)), every_text(plain), strict=True
    ):
        assert made.replace("\n", "").isprintable()
        assert made.count("\n") == usual.count("\n"), name


@pytest.mark.parametrize("text", HOSTILE)
def test_no_cell_of_a_csv_is_run_as_a_formula(text):
    run = run_of(text)
    rows = list(tables.rows(run))
    for made in (
        written(FORMATS, "csv", rows, run),
        written(PIVOTS, "csv", pivot(rows), run),
        written(PIVOTS, "csv", pivot(rows, ["block"], "size"), run),
    ):
        for cell in (cell for line in csv.reader(io.StringIO(made)) for cell in line):
            assert not cell.startswith(tuple("=+-@\t\r\n")) or re.fullmatch(r"-?[0-9.e+-]+|-", cell)


def test_numbers_stay_numbers_in_a_csv():
    run = run_of("x")
    row = next(tables.rows(run)) | {"relative": -0.5, "macs": -3}
    [line] = csv.DictReader(io.StringIO(written(FORMATS, "csv", [row], run)))
    assert (line["relative"], line["macs"]) == ("-0.5", "-3")


@pytest.mark.parametrize("text", HOSTILE)
def test_no_cell_of_markdown_ends_early_or_is_more_than_text(text):
    run = run_of(text)
    made = written(FORMATS, "markdown", tables.rows(run), run)
    lines = [line for line in made.splitlines() if line.startswith("|")]
    cells = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in lines}
    assert len(cells) == 1
    assert not re.search(r"(?<!\\)(?:\\\\)*[<>`*\[\]]", made)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_terminal_shows_the_text_itself_and_takes_no_markup_from_it(text):
    run = run_of(text)
    rows = list(tables.rows(run))
    for lines in (coloured(rows, manifest(), 400), coloured_pivot(pivot(rows), 400)):
        shown = "\n".join(line.plain for line in lines)
        assert shown.replace("\n", "").isprintable()
        if text.isprintable():
            assert text in shown


def test_json_has_every_digit_null_for_nothing_and_the_manifest_beside():
    run = Run(manifest(), (comparison(GC, SE, statuses=("ok", "oom")),))
    read = json.loads(written(FORMATS, "json", tables.rows(run), run))
    assert read["manifest"]["cpu"] == run.manifest.cpu
    assert read["rows"] == [json.loads(json.dumps(row)) for row in tables.rows(run)]
    assert [row["latency_us"] for row in read["rows"]] == [100.001, None]
    assert list(read["rows"][0]) == list(tables.COLUMNS)


def test_json_of_a_pivot_has_values_by_column():
    run = Run(manifest(), (comparison(GC, SE, statuses=("ok", "oom")),))
    made = pivot(tables.rows(run), ["size"], "block", "latency_us")
    read = json.loads(written(PIVOTS, "json", made, run))
    assert read["rows"] == [{"size": "56x56", "latency_us": {"gc r16": 100.001, "se r16": "oom"}}]


def test_a_run_without_a_comparison_is_an_empty_report_in_every_format():
    run = Run(manifest(), ())
    texts = [text for _, text in every_text(run)]
    assert texts[FORMATS_AT["csv"]] == ",".join(tables.COLUMNS) + "\n"
    assert json.loads(texts[FORMATS_AT["json"]])["rows"] == []
    assert texts[FORMATS_AT["table"]] == texts[FORMATS_AT["markdown"]] == ""


# those that have pivots come first
FORMATS_AT = {entry.name: 2 * number for number, entry in enumerate(PIVOTS)}


def test_a_run_of_failures_alone_tells_each_of_them():
    run = Run(manifest(), (comparison(GC, SE, NL, statuses=("oom", "timeout", "skipped")),))
    for name, text in every_text(run):
        for word in ("oom", "timeout", "skipped"):
            assert word in text, name


def test_a_narrow_terminal_gets_fewer_columns_and_a_word_never_cut_numbers():
    rows = list(tables.rows(Run(manifest(), (comparison(GC, SE, NL),))))
    lines = [line.plain for line in coloured(rows, manifest(), 70)]
    table = [line for line in lines if line.startswith(("block", "gc", "nl"))]
    assert all(len(line) <= 70 for line in table)
    assert "MACs" not in table[0]
    assert lines[-1].startswith("terminal too narrow: hid ")
    assert "300 µs" in table[-1]


def test_what_is_left_out_of_a_narrow_terminal_is_not_explained():
    rows = list(tables.rows(costed(ONE)))
    told = "\n".join(line.plain for line in coloured(rows, manifest(), 200, detail=Detail.ALL))
    assert re.search(r"^bound: .* else latency; floor: the share .*; ceilings: made$", told, re.M)
    for width in range(20, 150, 10):
        lines = [line.plain for line in coloured(rows, manifest(), width, detail=Detail.ALL)]
        header = next(line for line in lines if line.startswith("block"))
        told = "\n".join(lines)
        for column in ("bound", "floor"):
            explained = re.search(rf"(^|; ){column}: ", told, re.M)
            assert bool(explained) == (f" {column}" in header), (width, column)
        assert ("ceilings: " in told) == (" bound" in header)


def test_a_pivot_wider_than_the_terminal_goes_on_below():
    blocks = [replace(GC, spec=f"gc:width={n}") for n in range(9)]
    rows = list(tables.rows(Run(manifest(), (comparison(*blocks),))))
    lines = [line.plain for line in coloured_pivot(pivot(rows), 60)]
    banks = [line for line in lines if line.startswith("size")]
    assert len(banks) == 3
    assert all(len(line) <= 60 for line in banks)
    assert " ".join(banks).count("gc:width=") == 9
    assert len([line for line in lines if line.startswith("latency relative")]) == 1


def test_what_was_only_counted_has_no_columns_of_time():
    untimed = dict.fromkeys(["latency_us", "relative", "verdict", "copies"])
    run = Run(manifest(), (comparison(GC, SE),))
    rows = [row | untimed for row in tables.rows(run)]
    text = written(FORMATS, "table", rows, run)
    assert "params" in text
    assert "latency" not in text
    assert "vs gc" not in text
