"""gcbench compare: two stored runs as a person meets them, and what becomes of bad input."""

import csv
import io
import json
import re
import shutil
import sys
from dataclasses import replace

import pytest
from commands import assert_refused, ran
from importing import assert_light
from runs import DATA, GC, NL, SE, comparison, kept, manifest, swept

from gcbench.analysis.fail_on import KINDS
from gcbench.report import GENERAL as COMPARISON_FORMATS
from gcbench.report.comparison import MOST_SHOWN
from gcbench.spec.cases import Block

NAMES = [entry.name for entry in COMPARISON_FORMATS]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run, the same again on a slower machine, one in which gc is slower, and odd ones."""
    folder = tmp_path_factory.mktemp("runs")
    kept(folder / "a.jsonl", *swept(0))
    kept(folder / "b.jsonl", *swept(1, drift=1.2))
    kept(folder / "slow.jsonl", *swept(1, drift=1.2, slower={"gc": 1.1}))
    kept(folder / "empty.jsonl")
    failed = comparison(GC, SE, statuses=("oom", "timeout"), size=(7, 7))
    kept(folder / "failed.jsonl", failed)
    kept(folder / "paper.jsonl", replace(comparison(GC, size=(7, 7)), timings=()))
    return folder


@pytest.fixture
def folder(runs, tmp_path, monkeypatch):
    """A folder of its own to be in, with the runs."""
    shutil.copytree(runs, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compared(*arguments, capsys):
    return ran("compare", *arguments, capsys=capsys)


def test_a_slower_block_is_told_first_and_what_moved_together_above_it(folder, capsys):
    code, out, err = compared("a.jsonl", "slow.jsonl", capsys=capsys)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[2].startswith("batch 1 · 256 channels · float32 · cpu")
    assert lines[3] == "40 cases in both, 0 in A alone, 0 in B alone"
    assert re.match(r"B / A, geometric mean of 40 cells: 1\.2\d+ \(1\.2\d* to 1\.2\d*\)", lines[4])
    assert "plain copies of inputs: 1.2" in lines[4]
    assert lines[6].startswith("what else was measured moved together by +20 %")
    first = lines[9].split()
    assert (first[0], first[1], first[-2:]) == ("gc", "10", ["10", "slower"])
    assert [line.split()[0] for line in lines[9:13]] == ["gc", "se", "snl", "nl"]
    assert sum(line.endswith("slower") for line in lines[14:]) == 10


@pytest.mark.parametrize(
    ("a", "b", "conditions", "code"),
    [
        ("a", "slow", ["slower:3%"], 1),
        ("a", "slow", ["slower"], 1),
        ("a", "slow", ["slower:9.5%"], 0),  # beyond with the middle, not with the whole interval
        ("a", "slow", ["slower:20%"], 0),
        ("a", "slow", ["faster:3%"], 0),
        ("slow", "a", ["faster:3%"], 1),
        ("slow", "a", ["slower:3%"], 0),
        ("a", "b", ["slower:3%"], 0),
        ("a", "b", ["together:5%"], 1),
        ("a", "b", ["together:30%"], 0),
        ("b", "a", ["together:5%"], 0),
        ("a", "b", ["slower:3%,together:5%"], 1),
        ("a", "b", ["slower:3%", "together:5%"], 1),
        ("a", "b", ["missing,failed,counts"], 0),
        ("a", "failed", ["missing"], 1),
        ("failed", "a", ["missing"], 0),
        ("a", "failed", ["failed"], 1),
        ("failed", "a", ["failed"], 0),
        ("a", "paper", ["counts"], 0),
        ("b", "a", ["unresolved"], 1),
    ],
)
def test_fail_on_exits_with_one_where_its_condition_is_met(a, b, conditions, code, folder, capsys):
    options = [word for condition in conditions for word in ("--fail-on", condition)]
    found, out, err = compared(f"{a}.jsonl", f"{b}.jsonl", *options, capsys=capsys)
    nothing = "failed" in (a, b) and code == 0
    assert found == (4 if nothing else code)
    assert "B / A" in out or "failed" in (a, b) or "paper" in (a, b)
    assert (code == 1) == ("gcbench: --fail-on" in err)


def test_fail_on_names_the_block_and_the_cases(folder, capsys):
    _, _, err = compared("a.jsonl", "slow.jsonl", "--fail-on", "slower:3%", capsys=capsys)
    told = err.splitlines()[-1]
    assert told.startswith("gcbench: --fail-on slower:3%: gc, all its cells together; gc|ratio=16|")
    assert told.endswith("and 8 more")


def test_a_gate_that_could_not_have_seen_so_little_says_so(folder, capsys):
    kept(folder / "noisy.jsonl", *swept(2, layout=0.1, unlike=0.1))
    code, _, err = compared("a.jsonl", "noisy.jsonl", "--fail-on", "slower:3%", capsys=capsys)
    assert code == 0
    assert (
        "nothing met --fail-on slower:3%, but in 40 of 40 cells so little could not have been seen"
        in err
    )


def test_a_gate_that_measured_nothing_does_not_pass(folder, capsys):
    code, _, err = compared("paper.jsonl", "paper.jsonl", "--fail-on", "slower:3%", capsys=capsys)
    assert (code, err) == (4, "gcbench: no case was timed in both runs\n")
    assert compared("paper.jsonl", "paper.jsonl", capsys=capsys)[0] == 0


@pytest.mark.parametrize("other", ["empty", "failed"])
def test_where_nothing_can_be_compared_the_exit_code_is_4(other, folder, capsys):
    for pair in (("a", other), (other, "a"), (other, other)):
        code, out, err = compared(*(f"{name}.jsonl" for name in pair), capsys=capsys)
        assert (code, err) == (4, "gcbench: no case is ok in both runs\n")
        assert "in both" in out


def test_failures_are_told_with_status_and_reason(folder, capsys):
    _, out, _ = compared("a.jsonl", "failed.jsonl", "--where", "height == 7", capsys=capsys)
    rows = {line.split()[0]: line.split() for line in out.splitlines()}
    assert rows["gc"][-2:] == ["oom", "failed"]
    assert rows["se"][-2:] == ["timeout", "failed"]
    assert rows["nl"][-2:] == ["none", "missing"]
    assert "oom in B: gc r16 at 1x256x7x7: it was oom" in out


def test_counts_that_changed_are_told_exactly(folder, capsys):
    a, b = (
        replace(
            record,
            measurements=tuple(
                replace(
                    m, metrics={"params": params, "macs": 5, "peak_memory_bytes": 2**20 + params}
                )
                for m in record.measurements
            ),
        )
        for params, record in ((8753, comparison(GC)), (9009, comparison(GC)))
    )
    kept(folder / "one.jsonl", a)
    kept(folder / "two.jsonl", b)
    code, out, _ = compared("one.jsonl", "two.jsonl", "--fail-on", "counts", capsys=capsys)
    assert code == 1
    assert "gc r16 at 1x256x56x56: parameters 8,753 in A, 9,009 in B" in out
    assert "peak memory 1,057,329 bytes (1.01 MiB) in A, 1,057,585 bytes (1.01 MiB) in B" in out
    assert "MACs" not in out


def test_a_run_against_itself_is_said_to_be_one(folder, capsys):
    code, out, _ = compared("a.jsonl", "a.jsonl", "--fail-on", "slower,faster", capsys=capsys)
    assert code == 0
    assert "A and B are the same run" in out
    assert not re.search(r"\b(slower|faster)\b", out)


def test_other_machines_and_versions_are_named_and_refused(folder, capsys):
    other = {"cpu": "another", "versions": {"torch": "9.9"}}
    kept(folder / "other.jsonl", *swept(1), **other)
    result = compared("a.jsonl", "other.jsonl", capsys=capsys)
    torch = manifest().versions["torch"]
    assert_refused(
        result,
        "a.jsonl and other.jsonl were not measured alike",
        f"cpu: {manifest().cpu} in A, another in B",
        f"torch: {torch} in A, 9.9 in B",
        "--allow-mismatch",
    )
    code, out, _ = compared("a.jsonl", "other.jsonl", "--allow-mismatch", capsys=capsys)
    assert code == 0
    assert f"not alike: cpu: {manifest().cpu} in A, another in B" not in out.splitlines()[0]
    assert "another in B" in out


@pytest.mark.parametrize("old", [1, 2, 3])
def test_runs_of_every_schema_compare(old, folder, capsys):
    path = str(DATA / f"run-schema{old}.jsonl")
    newest = str(DATA / "run-schema3.jsonl")
    code, out, err = compared(path, newest, "--allow-mismatch", capsys=capsys)
    assert (code, err) == (0, "")
    assert "4 cases in both" in out


def test_damaged_lines_are_told_and_the_others_compared(folder, capsys):
    lines = (folder / "b.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "b.jsonl").write_bytes(b"".join([*lines[:2], b"junk\x1b[31m\n", *lines[3:]])[:-9])
    code, out, err = compared("a.jsonl", "b.jsonl", capsys=capsys)
    assert code == 0
    assert "32 cases in both, 8 in A alone" in out
    first, second = err.splitlines()
    assert first.startswith("gcbench: left out: b.jsonl line 3 is not a comparison")
    assert second == "gcbench: left out: b.jsonl line 11 is not finished"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.jsonl"], ["Missing argument", "B"]),
        (["a.jsonl", "none.jsonl"], ["cannot read the run none.jsonl: No such file"]),
        (["a.jsonl", "."], ["cannot read the run .: that is a folder"]),
        (["text", "a.jsonl"], ["text line 1 is not a manifest of a gcbench run"]),
        (["a.jsonl", "b.jsonl", "--fail-on", "slow"], ["'slow' is no condition", "'slower'"]),
        (["a.jsonl", "b.jsonl", "--fail-on", ""], ["--fail-on '' is no condition"]),
        (["a.jsonl", "b.jsonl", "--fail-on", "slower:3%,"], ["--fail-on '' is no condition"]),
        (["a.jsonl", "b.jsonl", "--fail-on", "slower:much"], ["--fail-on slower", "'much'"]),
        (["a.jsonl", "b.jsonl", "--fail-on", "slower:300%"], ["--fail-on slower", "'300%'"]),
        (["a.jsonl", "b.jsonl", "--fail-on", "missing:3%"], ["missing takes no share"]),
        (["a.jsonl", "b.jsonl", "--where", "verdict"], ["--where", "'verdict'"]),
        (["a.jsonl", "b.jsonl", "--format", "xml"], ["unknown format 'xml'", "markdown"]),
        (["a.jsonl", "b.jsonl", "-o", "b.jsonl"], ["B and --output name the same file"]),
        (["a.jsonl", "b.jsonl", "-o", "./a.jsonl"], ["A and --output name the same file"]),
        (["a.jsonl", "b.jsonl", "-o", "no/a.md"], ["--output no/a.md: there is no folder"]),
    ],
)
def test_bad_input_is_one_clear_line_and_harms_nothing(arguments, words, folder, capsys):
    (folder / "text").write_text("some text\n")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert_refused(compared(*arguments, capsys=capsys), *words)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("name", NAMES)
def test_every_format_is_the_same_on_stdout_and_in_a_file(name, folder, capsys):
    arguments = ("a.jsonl", "slow.jsonl", "--format", name)
    code, out, err = compared(*arguments, capsys=capsys)
    assert (code, err) == (0, "")
    assert compared(*arguments, "-o", "x.txt", capsys=capsys) == (0, "", "gcbench: wrote x.txt\n")
    assert (folder / "x.txt").read_bytes().decode() == out != ""


def test_csv_and_json_hold_every_case_with_all_digits(folder, capsys):
    _, out, _ = compared("a.jsonl", "slow.jsonl", "--format", "csv", capsys=capsys)
    rows = list(csv.DictReader(io.StringIO(out)))
    _, out, _ = compared("a.jsonl", "slow.jsonl", "--format", "json", capsys=capsys)
    told = json.loads(out)
    assert len(rows) == len(told["rows"]) == 40
    assert list(rows[0]) == list(told["rows"][0])
    for line, row in zip(rows, told["rows"], strict=True):
        assert line == {name: "" if cell is None else str(cell) for name, cell in row.items()}
        assert row["own"] == pytest.approx(row["b_over_a"] / row["beside"])
        assert row["b_over_a"] == pytest.approx(row["latency_us_b"] / row["latency_us_a"])
        assert row["own_lo"] < row["own"] < row["own_hi"]
    assert (told["a"]["run"], told["cells"], told["mismatches"]) == ("made", 40, [])
    assert told["blocks"][0]["verdict"] == "slower"
    assert rows[0]["ratio"] == "16"


def test_an_empty_comparison_has_the_columns_of_a_full_one(folder, capsys):
    _, full, _ = compared("a.jsonl", "b.jsonl", "--format", "csv", capsys=capsys)
    _, empty, _ = compared("empty.jsonl", "empty.jsonl", "--format", "csv", capsys=capsys)
    assert empty == full.splitlines(keepends=True)[0]


def test_of_very_many_cases_those_are_shown_of_which_something_is_told(folder, capsys):
    sizes = range(7, 8 + MOST_SHOWN // 4)
    kept(folder / "many.jsonl", *swept(0, sizes=sizes))
    kept(folder / "more.jsonl", *swept(1, sizes=sizes, slower={"gc": 1.2}))
    _, out, _ = compared("many.jsonl", "more.jsonl", capsys=capsys)
    shown = [line for line in out.splitlines() if re.match(r"(gc|se) r16|s?nl", line)]
    assert {line.split()[-1] for line in shown[2:]} == {"slower"}
    assert len(shown[2:]) == len(sizes)
    assert f"and {3 * len(sizes)} more cases: --format csv has every one" in out


@pytest.mark.parametrize("name", NAMES)
def test_text_from_outside_is_harmless(name, folder, capsys):
    evil = Block("=1+1|\x1b[31m<script>", "=1+1|\x1b[31m<script>", None, False)
    kept(folder / "evil.jsonl", comparison(evil, NL, statuses=("ok", "error")), run="x\x1b[0m")
    _, out, _ = compared("evil.jsonl", "evil.jsonl", "--format", name, capsys=capsys)
    assert "\x1b" not in out
    if name == "csv":
        assert list(csv.reader(io.StringIO(out)))[1][0].startswith("'=1+1")
    if name == "markdown":
        assert "<script>" not in out.replace("\\<script\\>", "")
        assert all(
            line.count("|") - line.count("\\|") == 9 for line in out.splitlines() if line[:1] == "|"
        )


@pytest.mark.parametrize("name", NAMES)
def test_comparing_imports_neither_torch_nor_pandas(name):
    run = str(DATA / "run-schema3.jsonl")
    assert assert_light("compare", run, run, "--format", name, scipy=True)[1] == []


def test_help_names_every_condition_and_the_exit_code(capsys):
    _, out, _ = compared("--help", capsys=capsys)
    words = " ".join(out.replace("│", " ").split())
    for kind in KINDS:
        assert kind.name in words
    _, out, _ = ran("--help", capsys=capsys)
    assert "1 a --fail-on condition is met" in " ".join(out.split())


def test_a_terminal_gets_the_tables_no_wider_than_it_is(folder, capsys, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    for width, others in ((120, True), (70, False)):
        monkeypatch.setenv("COLUMNS", str(width))
        _, out, _ = compared("a.jsonl", "slow.jsonl", capsys=capsys)
        lines = re.sub("\x1b\\[[0-9;]*m", "", out).splitlines()
        rows = [line for line in lines if re.match("(block|gc|se|snl|nl) ", line)]
        assert len(rows) == 46
        assert max(map(len, rows)) <= width
        assert all(("others" in row) == others for row in rows if "size" in row)
        assert any(line.startswith("terminal too narrow: hid ") for line in lines) == (not others)


@pytest.mark.parametrize("width", [40, 60])
def test_a_terminal_of_any_width_gets_every_ratio_and_no_line_of_a_table_is_broken(
    width, folder, capsys, monkeypatch
):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(width))
    _, out, _ = compared("a.jsonl", "slow.jsonl", capsys=capsys)
    lines = [line.rstrip() for line in re.sub("\x1b\\[[0-9;]*m", "", out).splitlines()]
    headers = " ".join(line for line in lines if line.startswith("block "))
    for name in ("B / A", "own", "95 % interval", "verdict"):
        assert headers.count(name) == 2
    assert len([line for line in lines if line.endswith("slower")]) == 11


def test_what_was_only_counted_is_told_without_columns_of_time(folder, capsys):
    paper = [replace(each, timings=()) for each in swept(0)]
    for name, sizes in (("few.jsonl", paper), ("many.jsonl", paper * 3)):
        kept(folder / name, *(resized(each, n) for n, each in enumerate(sizes, 7)))
    for name, said in (
        ("few.jsonl", "nothing was timed in both runs, and no count that both have differs"),
        ("many.jsonl", "120 cases, none of which differs by a verdict or a count: --format csv"),
    ):
        code, out, _ = compared(name, name, capsys=capsys)
        assert code == 0
        assert said in out
        assert "others" not in out
        assert "verdict  " not in out


def resized(record, size):
    """The same comparison at another size."""
    cases = (replace(each.case, height=size, width=size) for each in record.measurements)
    made = zip(record.measurements, cases, strict=True)
    return replace(record, measurements=tuple(replace(m, case=case) for m, case in made))


def test_a_condition_that_leaves_nothing_is_a_mistake_as_it_is_of_a_report(folder, capsys):
    result = compared("a.jsonl", "b.jsonl", "--where", "height == 99", capsys=capsys)
    assert_refused(result, "--where 'height == 99' leaves no case of either run")


def test_a_large_move_is_a_factor_and_a_small_one_a_share(folder, capsys):
    kept(folder / "far.jsonl", *swept(1, drift=16))
    assert "together by a factor of 16 (" in compared("a.jsonl", "far.jsonl", capsys=capsys)[1]
    assert "together by +20 % (" in compared("a.jsonl", "b.jsonl", capsys=capsys)[1]


def test_cells_that_no_block_counts_are_said_to_be_so(folder, capsys):
    few = [*swept(0)[:9], *swept(0, replicates=3)[9:]]
    kept(folder / "few.jsonl", *few)
    _, out, _ = compared("few.jsonl", "few.jsonl", capsys=capsys)
    assert re.search(r"^gc +9 ", out, re.M)
    assert "4 cells with too few replicates for an interval: in no block" in out


@pytest.mark.parametrize("replicates", [1, 3, 5])
@pytest.mark.parametrize("few", ["a", "b", "both"])
def test_runs_of_too_few_replicates_have_no_interval(few, replicates, folder, capsys):
    """Whatever the noise: one number of an interval that is not known would be read as one."""
    noise = {"layout": 1.5, "unlike": 1.5, "sizes": (7, 8)}
    for name, seed in (("a", 0), ("b", 1)):
        number = replicates if few in (name, "both") else 12
        kept(folder / f"few_{name}.jsonl", *swept(seed, replicates=number, **noise))
    code, out, err = compared("few_a.jsonl", "few_b.jsonl", capsys=capsys)
    assert (code, err) == (0, "")
    cells = [line for line in out.splitlines() if re.match(r"(gc|se) r16 |s?nl  ", line)]
    assert len(cells) == 8
    assert all("no interval" in line for line in cells)
    assert {line.split()[-1] for line in cells} <= {"unresolved", "untrusted"}
    copies = next(line for line in out.splitlines() if line.startswith("A/A "))
    assert [f"no interval in {letter}" in copies for letter in "AB"] == [
        few in (name, "both") for name in "ab"
    ]
    assert "8 cells with too few replicates for an interval" in out
    assert not re.search(r"\binf\b|\bnan\b|\d{5} to|0\.00000|to \d{5}", out)


def test_an_interval_of_two_values_far_apart_is_none(folder, capsys):
    """With one block beside it, and a clone that moved otherwise, a block is held against two."""
    alone = {"blocks": (GC, SE), "sizes": (7,)}
    kept(folder / "one.jsonl", *swept(0, **alone))
    kept(folder / "two.jsonl", *swept(1, unlike=1.0, **alone))
    arguments = ("one.jsonl", "two.jsonl", "--fail-on", "slower:3%")
    _, out, err = compared(*arguments, capsys=capsys)
    cells = [line for line in out.splitlines() if re.match(r"(gc|se) r16 ", line)]
    assert all("no interval" in line and "unknown" in line for line in cells)
    assert "half of the cells or more could tell nothing" in out
    assert err.strip().endswith("do not even tell any size")
    assert not re.search(r"\binf\b|\d{5} to|to \d{5}", out + err)
    _, out, _ = compared("one.jsonl", "two.jsonl", "--format", "json", capsys=capsys)
    for row in json.loads(out)["rows"]:
        assert (row["own_lo"], row["own_hi"], row["resolves"]) == (None, None, None)
        assert row["b_over_a_lo"] < row["b_over_a"] < row["b_over_a_hi"]
