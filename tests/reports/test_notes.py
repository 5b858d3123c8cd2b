"""Notes below tables: one line for each cause, the worst first, and as many as are asked for."""

import itertools
import re
import sys
from dataclasses import replace

import pytest
from commands import assert_refused, ran
from runs import GC, NL, SE, comparison, kept, manifest
from written import FORMATS, PIVOTS

from gcbench.records import Disturbance, Run
from gcbench.report.detail import Detail, told
from gcbench.report.layout import laid_out
from gcbench.report.notes import CAUSES, Seen, lines, of_flags
from gcbench.report.pivot import pivot
from gcbench.results import tables
from gcbench.stats.machine_flags import BUSY, FLAG_WORDS, OF_BLOCKS

SIGNS = next(cause.flags for cause in CAUSES if cause.name == "busy")
# a second in which the process had a tenth of a core, was put off it, and others had theirs
DISTURBED = Disturbance(10**9, 10**8, 10**9, 10**4, 10**9)
LOADED = {"load_1min": 5.3, "usable_cores": 2}


def disturbed(record):
    """The same comparison, timed on a busy machine."""
    return replace(
        record,
        timings=tuple(
            replace(
                timing,
                replicates=tuple(replace(r, disturbance=DISTURBED) for r in timing.replicates),
            )
            for timing in record.timings
        ),
    )


def apart(record):
    """The same comparison, whose copies of one thing differ, so that it is untrusted."""

    def doubled(timing, samples):
        pairs = zip(timing.arms, samples, strict=True)
        return tuple(tuple((1 + (a.role == "aa")) * ns for ns in row) for a, row in pairs)

    return replace(
        record,
        timings=tuple(
            replace(
                timing,
                replicates=tuple(
                    replace(each, samples_ns=doubled(timing, each.samples_ns))
                    for each in timing.replicates
                ),
            )
            for timing in record.timings
        ),
    )


def few(record, number=2):
    """The same comparison with too few replicates for an interval, when time was up."""
    return replace(
        record,
        timings=tuple(
            replace(timing, replicates=timing.replicates[:number], stopped_by="time")
            for timing in record.timings
        ),
    )


def test_several_flags_of_a_busy_machine_are_one_line():
    for number in range(1, len(SIGNS) + 1):
        for flags in itertools.combinations(SIGNS, number):
            (line,) = lines(of_flags([flags, flags]))
            assert line.startswith("machine busy (")
            inflated = "may be inflated" if flags == ("load",) else "latencies inflated"
            assert inflated in line


def test_every_flag_of_a_busy_machine_is_a_sign_of_it():
    assert set(BUSY) <= set(SIGNS)
    assert set(SIGNS) <= set(FLAG_WORDS)


def test_no_flag_is_silent_and_none_is_told_twice():
    for flag in FLAG_WORDS:
        told = list(lines(of_flags([[flag]]), columns=("bound",)))
        # what a block does is told with the block
        assert len(told) == (flag not in ("counters_disagree", *OF_BLOCKS)), flag
    assert list(lines(of_flags([["far_out=3"]]))) == []
    assert list(lines(of_flags([["graphs=2"]]))) == ["graph breaks: compiled in 2 parts (graphs=2)"]
    # one that is new to the notes
    assert list(lines(of_flags([["brand_new"]]))) == ["brand_new"]


def test_causes_have_names_of_their_own_and_the_worst_comes_first():
    names = [cause.name for cause in CAUSES]
    assert len(set(names)) == len(names)
    flags = [flag for cause in CAUSES for flag in cause.flags]
    assert len(set(flags)) == len(flags)
    assert {name for cause in CAUSES for name in cause.explains} <= set(names)
    seen = of_flags([flags])
    told = list(lines(seen, columns=("bound",)))
    there = [cause for cause in CAUSES if cause.flags and not cause.explained(CAUSES)]
    assert told == [cause.line(seen) for cause in there]
    assert told[0].startswith("machine busy")


def test_a_busy_machine_says_how_busy_what_that_spoils_and_what_to_do():
    run = Run(manifest(**LOADED), (apart(disturbed(comparison(GC, SE))),))
    rows = list(tables.rows(run))
    (line,) = laid_out(rows, run.manifest).notes
    assert line == (
        "machine busy (load 5.3 on 2 cores): latencies inflated, 1 of 2 rows untrusted; "
        "close other programs or use --threads 1"
    )
    one = [{**row, "threads": 1} for row in rows]
    assert laid_out(one, run.manifest).notes[0].endswith("; close other programs")
    # the load of another machine is not known
    elsewhere = laid_out(rows, manifest(node="another", **LOADED)).notes
    assert elsewhere[0].startswith("machine busy (tasks waited for cores): ")


def test_where_only_some_rows_are_busy_it_says_how_many():
    (line,) = lines(of_flags([["pressure"], ["steal"], []]))
    assert line.startswith("machine busy in 2 of 3 rows (tasks waited for cores): ")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"few": 1, "stopped_by": "time", "replicates": "2 replicates"}, ["hit --max-time after"]),
        ({"unresolved": 2, "replicates": "12 replicates"}, ["2 of 3 rows unresolved after 12"]),
        ({"unresolved": 2, "few": 1}, ["too few for an interval"]),
        ({"stopped_by": "interrupt", "few": 1}, ["interrupted after"]),
        ({}, []),
    ],
)
def test_what_ended_the_measurement_is_told_where_a_row_lacks_its_verdict(changes, told):
    found = list(lines(Seen([set()] * 3, **changes)))
    assert [words in line for words, line in zip(told, found, strict=True)] == [True] * len(told)


def test_a_quiet_table_that_is_resolved_has_no_note():
    run = Run(manifest(), (comparison(GC, SE),))
    assert laid_out(list(tables.rows(run)), run.manifest).notes == []


@pytest.fixture
def busy(tmp_path, monkeypatch):
    """A folder with the run of gc and se on a busy machine, and one with a failure."""
    monkeypatch.chdir(tmp_path)
    kept(tmp_path / "busy.jsonl", few(apart(disturbed(comparison(GC, SE)))), **LOADED)
    kept(tmp_path / "failed.jsonl", comparison(GC, SE, NL, statuses=("ok", "oom", "oom")))
    return tmp_path


def below(out):
    """The lines below the last table."""
    lines = re.sub("\x1b\\[[0-9;]*m", "", out).splitlines()
    last = max(number for number, line in enumerate(lines) if line.startswith(("gc r16", "se r16")))
    return lines[last + 1 :]


@pytest.mark.parametrize("load", [None, 5.3, 112.4])
@pytest.mark.parametrize("spoilt", [few, apart])
def test_a_busy_machine_takes_at_most_three_lines_of_a_terminal(
    load, spoilt, busy, capsys, monkeypatch
):
    record = spoilt(disturbed(comparison(GC, SE)))
    kept(busy / "a.jsonl", record, **LOADED | {"load_1min": load})
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = ran("report", "a.jsonl", capsys=capsys)
    assert (code, err) == (0, "")
    said = below(out)
    assert len(said) <= 3
    why = f"load {load} on 2 cores" if load else "tasks waited for cores"
    assert said[0].startswith(f"machine busy ({why})")
    assert sum("busy" in line for line in said) == 1


@pytest.mark.parametrize("name", [entry.name for entry in FORMATS])
def test_each_format_has_as_many_notes_as_are_asked_for(name, busy, capsys):
    def count(*more):
        code, out, _ = ran("report", "busy.jsonl", "--format", name, *more, capsys=capsys)
        assert code == 0
        return out.count("machine busy"), len(out.splitlines())

    usual, quiet, verbose = count(), count("-q"), count("-v")
    if name in ("csv", "json", "pytest-benchmark"):
        assert usual == quiet == verbose
        return
    assert usual[0] == (name == "table")
    assert (quiet[0], verbose[0]) == (0, 1)
    assert quiet[1] <= usual[1] < verbose[1]


@pytest.mark.parametrize("name", ["table", "markdown", "latex"])
def test_the_reason_of_a_failure_is_told_unless_it_is_unwanted(name, busy, capsys):
    for more, said in (((), True), (("-v",), True), (("-q",), False)):
        _, out, _ = ran("report", "failed.jsonl", "--format", name, *more, capsys=capsys)
        assert ("it was oom" in out) == said
    # one line for both
    assert ran("report", "failed.jsonl", capsys=capsys)[1].count("se r16, nl oom: it was oom") == 1


def test_marks_in_cells_are_explained_wherever_they_stand(busy, capsys):
    for name in ("table", "markdown", "latex"):
        arguments = ("report", "busy.jsonl", "--format", name, "--value", "relative")
        assert "too few replicates for an interval" in ran(*arguments, capsys=capsys)[1]
        assert "too few replicates for an interval" not in ran(*arguments, "-q", capsys=capsys)[1]


@pytest.mark.parametrize(
    "command",
    [
        *(["bench"], ["network", "resnet18"], ["sweep"], ["report"], ["paper"]),
        *(["attention", "resnet18"], ["compare", "busy.jsonl", "busy.jsonl"]),
    ],
)
def test_every_command_that_prints_measured_tables_takes_either_and_not_both(command, busy, capsys):
    assert_refused(ran(*command, "-q", "-v", capsys=capsys), "--verbose and --quiet ask for")


def test_two_runs_say_of_each_what_the_machine_did_in_a_line(busy, capsys):
    _, out, _ = ran("compare", "busy.jsonl", "busy.jsonl", capsys=capsys)
    told = [line for line in out.splitlines() if line.startswith(("A: machine", "B: machine"))]
    assert [line.partition(" (")[0] for line in told] == ["A: machine busy", "B: machine busy"]
    assert "unpaired:" not in out
    _, out, _ = ran("compare", "busy.jsonl", "busy.jsonl", "-v", capsys=capsys)
    assert "unpaired:" in out
    _, out, _ = ran("compare", "busy.jsonl", "busy.jsonl", "-q", capsys=capsys)
    assert "machine busy" not in out


def test_all_detail_has_the_words_of_every_flag_and_what_counted(busy, capsys):
    _, out, _ = ran("report", "busy.jsonl", "-v", capsys=capsys)
    for flag in ("steal", "low_cpu_share", "pressure", "preempted", "load"):
        assert FLAG_WORDS[flag] in out
    assert "hit --max-time after 2 replicates" in out
    assert "samples at 1x256x56x56" in out


def test_a_pivot_tells_every_flag_in_words_where_that_is_asked_for(busy, capsys):
    arguments = ("report", "busy.jsonl", "--value", "latency_us")
    assert FLAG_WORDS["steal"] not in ran(*arguments, capsys=capsys)[1]
    assert FLAG_WORDS["steal"] in ran(*arguments, "-v", capsys=capsys)[1]


def test_pivots_and_tables_take_the_same_details():
    run = Run(manifest(), (comparison(GC, SE),))
    rows = list(tables.rows(run))
    for detail in Detail:
        for entry in FORMATS:
            assert "".join(entry.load()(rows, run.manifest, detail=detail))
        for entry in PIVOTS:
            assert "".join(entry.load()(pivot(rows), run.manifest, detail=detail))


def test_notes_are_told_up_to_a_detail():
    kinds = (["cell"], ["cause"], ["rest"])
    assert [told(detail, *kinds) for detail in Detail] == [
        [],
        ["cell"],
        ["cell", "cause"],
        ["cell", "cause", "rest"],
    ]
