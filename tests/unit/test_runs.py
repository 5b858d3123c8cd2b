"""What is stored of a run, what is read back, and the table that it makes."""

import io
import re

import pandas as pd
import pytest
from runs import DATA
from written import FORMATS

import gcbench
from gcbench import engines, store
from gcbench.errors import RunError
from gcbench.metrics import METRICS
from gcbench.results import tables
from gcbench.spec.cases import Axes, Effort


@pytest.fixture(scope="module")
def run():
    comparison = engines.compare(["gc", "se", "gc"], Axes(channels=16, size=(6, 5), ratio=4))
    return engines.run([comparison], Effort(0.5, 0.3))


def test_a_run_is_read_back_as_it_was(run, tmp_path):
    path = tmp_path / "a.jsonl"
    store.save(run, path)
    assert store.load(path) == run
    pd.testing.assert_frame_equal(gcbench.load(path), tables.frame(run))


def test_a_run_is_never_overwritten(run, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("precious")
    with pytest.raises(RunError, match="cannot write the run"):
        store.save(run, path)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("content", ["", "{}", "not json", '{"schema": 1}\n'])
def test_what_is_no_run_is_named(content, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    with pytest.raises(RunError, match=r"a\.jsonl line 1 is not a manifest"):
        store.load(path)


def test_a_damaged_line_is_named_by_its_number(run, tmp_path):
    path = tmp_path / "a.jsonl"
    store.save(run, path)
    path.write_bytes(path.read_bytes()[:-40] + b"\n")
    with pytest.raises(RunError, match="line 2 is not a comparison"):
        store.load(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(RunError, match="line 2 is not finished"):
        store.load(path)


def test_a_missing_run_is_named(tmp_path):
    with pytest.raises(RunError, match=r"cannot read the run .*nothing"):
        store.load(tmp_path / "nothing")


def test_the_columns_are_the_contract_and_every_metric_is_among_them(run):
    table = tables.frame(run)
    assert tuple(table.columns) == tables.COLUMNS
    # those of a published version: more may follow, at the end
    first = (DATA / "columns.csv").read_text().strip().split(",")
    assert tables.COLUMNS[: len(first)] == tuple(first)
    assert {column for metric in METRICS for column in metric.columns} <= set(table.columns)


def test_derived_cells_follow_from_the_samples(run):
    table, record = tables.frame(run), run.comparisons[0]
    first = table.iloc[0]
    arm = next(
        i for i, arm in enumerate(record.timings[0].arms) if arm.case == 0 and arm.role == "case"
    )
    samples = [r.samples_ns[arm] for r in record.timings[0].replicates]
    calls = record.timings[0].arms[arm].calls
    assert first["samples"] == sum(map(len, samples))
    assert first["latency_us_min"] == pytest.approx(min(map(min, samples)) / calls / 1e3, rel=1e-12)
    assert first["flops"] == 2 * first["macs"]
    assert (first["relative"], first["verdict"]) == (1.0, "baseline")
    assert first["key"] == table["baseline"].unique().item()


def rendered(run, name, **changes):
    """The rows of a run in a format; the second row with changes."""
    first, second, *others = tables.rows(run)
    return "".join(FORMATS[name].load()([first, second | changes, *others], run.manifest))


def test_the_csv_reads_back_to_the_same_numbers(run):
    table = tables.frame(run)
    again = pd.read_csv(io.StringIO(rendered(run, "csv")))
    assert tuple(again.columns) == tables.COLUMNS
    for column in ("latency_us", "relative", "macs", "params", "peak_memory_bytes"):
        assert again[column].tolist() == table[column].tolist()


def test_the_csv_of_rows_is_that_of_the_table(run):
    assert rendered(run, "csv") == tables.frame(run).to_csv(index=False, lineterminator="\n")


def test_whole_numbers_stay_whole_beside_missing_cells(run):
    lines = rendered(run, "csv", macs=None).splitlines()
    macs = next(tables.rows(run))["macs"]
    assert f",{macs}," in lines[1]
    assert f",{macs}," not in lines[2]


def test_the_terminal_table_says_what_it_rests_on(run):
    text = rendered(run, "table")
    for words in ("1x16x6x5", "float32", "infer", "A/A", "gc r4 #2", "baseline"):
        assert words in text
    assert "nan" not in text.lower()
    assert all(line == line.rstrip() for line in text.splitlines())


def test_every_format_renders_every_kind_of_row(run):
    blank = ["latency_us", "relative", "relative_lo", "relative_hi", "copies", "verdict"]
    failed = {"status": "oom", "reason": "needs 8 TiB, and 1 GiB are free on cpu"}
    for entry in FORMATS:
        text = rendered(run, entry.name, **failed, **dict.fromkeys(blank))
        assert "needs 8 TiB" in text
        assert not re.search(r"\b(inf|Infinity)\b", text)


def test_a_missing_interval_is_said_in_words(run):
    missing = {"verdict": "unresolved", "relative_lo": None, "relative_hi": None}
    assert "no interval" in rendered(run, "table", **missing)
