"""What is read back: every schema, damaged files, retried cases, the newest run."""

import json
import os
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from runs import DATA, GC, NL, SE, comparison, kept, manifest

import gcbench
from gcbench import store
from gcbench.errors import RunError
from gcbench.records import (
    SCHEMA,
    Arm,
    ComparisonRecord,
    Disturbance,
    Measurement,
    Peaks,
    Replicate,
    Run,
    Timing,
)
from gcbench.results import tables
from gcbench.spec.cases import Case

THREE = [comparison(GC, SE, size=(size, size)) for size in (7, 14, 28)]
REFERENCE = (DATA / f"run-schema{SCHEMA}.jsonl").read_bytes()


@pytest.mark.parametrize("schema", range(1, SCHEMA + 1))
def test_every_schema_that_ever_was_is_read(schema):
    run = store.load(DATA / f"run-schema{schema}.jsonl")
    assert run.manifest.schema == schema
    rows = list(tables.rows(run))
    assert [row["block"] for row in rows] == ["gc", "se", "snl", "nl"]
    assert [row["verdict"] for row in rows] == ["baseline", "faster", "unresolved", "slower"]
    assert [row["relative"] < 1 for row in rows] == [False, True, True, False]
    assert [row["samples"] for row in rows] == [24, 24, 24, 8]
    assert all(row["copies"] > 1 for row in rows)


def test_a_newer_schema_is_refused_by_name(tmp_path):
    path = kept(tmp_path / "a.jsonl", schema=SCHEMA + 1)
    with pytest.raises(RunError, match=rf"has schema {SCHEMA + 1}, and this gcbench reads 1 to"):
        store.load(path)


def test_fields_of_a_later_version_are_passed_over(tmp_path):
    path = kept(tmp_path / "a.jsonl", *THREE)
    text = path.read_text().replace('"precision":', '"fancy":{"a":[1]},"precision":')
    path.write_text(text.replace('"status":', '"mood":"good","status":'))
    assert list(store.load(path).comparisons) == THREE


def test_fields_of_a_later_version_that_are_missing_have_their_defaults(tmp_path):
    path = kept(tmp_path / "a.jsonl", *THREE)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines[1:]:
        for name in ("pair", "peaks"):
            line.pop(name, None)
        for measurement in line["measurements"]:
            del measurement["flags"], measurement["reason"]
    lines[0].pop("sweep")
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert store.load(path) == Run(manifest(), tuple(THREE))


TEXT = st.text(max_size=20)
COUNT = st.integers(1, 2**40)
# numbers without end are no run's
FLOAT = st.floats(-1e59, 1e59)
RATES = st.dictionaries(TEXT, FLOAT, max_size=2)
PEAKS = st.builds(
    Peaks,
    product_flops_per_s=RATES,
    convolution_flops_per_s=RATES,
    sustained_flops_per_s=RATES,
    copies=st.just(()),
    launch_us=FLOAT,
)
# cells of a user's own: what gcbench's hold has rules
OWN = TEXT.map("own {}".format)
CELLS = st.dictionaries(OWN, st.one_of(st.none(), st.integers(), TEXT), max_size=3)


@st.composite
def comparisons(draw):
    """A comparison whose parts fit together, and nothing else is sane."""
    sizes = dict.fromkeys(("batch", "channels", "height", "width"), st.integers(1, 2**40))
    case = st.builds(Case, block=TEXT, spec=TEXT, **sizes)
    cases = draw(st.lists(case, min_size=1, max_size=3))
    position = st.integers(0, len(cases) - 1)
    calls = st.integers(1, 99)
    arms = [Arm("case", case, case, draw(calls)) for case in range(len(cases))]
    arms += [Arm("aa", case, case, draw(calls)) for case in range(len(cases))]
    arms += [Arm("copy", case, 9 + case, draw(calls)) for case in range(len(cases))]
    rounds = st.lists(COUNT, min_size=2, max_size=2).map(tuple)
    rows = st.tuples(*[rounds] * len(arms))
    replicate = st.builds(Replicate, rows, st.builds(Disturbance), exposed=st.just(()))
    timing = st.builds(Timing, st.just(tuple(arms)), st.lists(replicate, max_size=3).map(tuple))
    return ComparisonRecord(
        tuple(draw(st.builds(Measurement, case=st.just(c), metrics=CELLS)) for c in cases),
        tuple(draw(position) for _ in cases),
        draw(FLOAT),
        tuple(draw(st.lists(timing, max_size=2))),
        draw(st.none() | TEXT),
        tuple(draw(st.lists(PEAKS, max_size=1))),
    )


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(comparisons(), max_size=3))
def test_every_record_is_read_back_as_it_was(tmp_path, records):
    path = tmp_path / "a.jsonl"
    path.unlink(missing_ok=True)
    run = Run(manifest(sweep='blocks = ["gc"]\n'), tuple(records))
    store.save(run, path)
    assert store.load(path) == run
    assert store.open_run(path, pytest.fail).outlines == run.outlines


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, len(REFERENCE) - 1), st.binary(min_size=0, max_size=3))
def test_damage_anywhere_is_told_and_is_never_a_traceback(tmp_path, place, junk):
    path = tmp_path / "a.jsonl"
    path.write_bytes(REFERENCE[:place] + junk + REFERENCE[place + 1 :])
    told = []
    try:
        run = store.open_run(path, told.append)
    except RunError as error:
        told.append(str(error))
    else:
        assert all(row["status"] for row in tables.rows(run))
    assert all(f"{path} line " in word for word in told)


def test_a_damaged_line_is_named_and_the_others_are_read(tmp_path):
    path = kept(tmp_path / "a.jsonl", *THREE)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"samples_ns", b"samples_ms", 1)
    path.write_bytes(b"".join(lines))
    told = []
    assert list(store.records(path, told.append)) == [THREE[0], THREE[2]]
    [word] = told
    assert word.startswith(f"{path} line 3 is not a comparison of a gcbench run: ")
    told.clear()
    sizes = [row["height"] for row in tables.rows(store.open_run(path, told.append))]
    assert sizes == [7, 7, 28, 28]
    assert len(told) == 1
    with pytest.warns(UserWarning, match="line 3 is not a comparison") as caught:
        gcbench.load(path)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        '{"x":' + "[" * 100_000,
        "{}",
        "\0" * 50,
        "\xff",
        '{"measurements":[],"precision":"x"}',
        "null",
        "",
    ],
)
def test_a_line_of_anything_is_left_out(line, tmp_path):
    path = kept(tmp_path / "a.jsonl", *THREE)
    with path.open("ab") as file:
        file.write(line.encode("latin-1") + b"\n")
    told = []
    assert list(store.records(path, told.append)) == THREE
    assert set(store.statuses(path)) == {m.case.key for r in THREE for m in r.measurements}
    assert len(told) == 1
    assert "line 5 is not a comparison" in told[0]


def of_no_height(record):
    return replace(
        record,
        measurements=tuple(replace(m, case=replace(m.case, height=0)) for m in record.measurements),
    )


@pytest.mark.parametrize("odd", [replace(THREE[0], baselines=(0, 7)), of_no_height(THREE[0])])
def test_a_comparison_whose_parts_do_not_fit_is_left_out(odd, tmp_path):
    path = kept(tmp_path / "a.jsonl", odd, THREE[1])
    told = []
    assert list(store.records(path, told.append)) == [THREE[1]]
    assert "line 2 is not a comparison of a gcbench run: its parts do not fit together" in told[0]


@pytest.mark.parametrize("make", ["folder", "fifo", "device"])
def test_what_is_no_file_is_no_run(make, tmp_path):
    path = tmp_path / "a"
    if make == "folder":
        path.mkdir()
    elif make == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(RunError, match="that is a folder" if make == "folder" else "no regular"):
        store.load(path)


def test_samples_are_passed_over_where_only_the_statuses_are_asked(tmp_path):
    record = comparison(GC, SE, NL, statuses=("ok", "oom", "skipped"))
    path = kept(tmp_path / "a.jsonl", record)
    assert list(store.statuses(path).values()) == ["ok", "oom", "skipped"]
    # whatever stands there
    path.write_bytes(path.read_bytes().replace(b'"samples_ns":[[', b'"samples_ns":[["x",'))
    assert list(store.statuses(path).values()) == ["ok", "oom", "skipped"]


def test_a_retried_case_has_one_row_where_it_stood_from_its_newest_record(tmp_path):
    first = comparison(GC, SE, NL, statuses=("ok", "oom", "crashed"))
    other = comparison(GC, SE, size=(7, 7))
    retried = comparison(GC, SE, NL, statuses=("ok", "ok", "timeout"), factor=3)
    run = Run(manifest(), (first, other, retried))
    path = tmp_path / "a.jsonl"
    store.save(run, path)
    for source in (run, store.open_run(path, pytest.fail)):
        rows = list(tables.rows(source))
        assert [(row["block"], row["status"]) for row in rows] == [
            ("gc", "ok"),
            ("se", "ok"),
            ("nl", "timeout"),
            ("gc", "ok"),
            ("se", "ok"),
        ]
        assert [row["comparison"] for row in rows] == [1, 1, 1, 2, 2]
        # the first record's gc stays; se is divided by the gc that ran beside it
        assert rows[0]["latency_us"] == pytest.approx(100, rel=1e-3)
        assert rows[1]["latency_us"] == pytest.approx(600, rel=1e-3)
        assert rows[1]["relative"] == pytest.approx(2, rel=1e-3)
    assert list(store.statuses(path).values()) == ["ok", "ok", "timeout", "ok", "ok"]


def test_a_case_that_was_tried_keeps_its_row_where_it_is_skipped_later(tmp_path):
    first = comparison(GC, SE, NL, statuses=("ok", "oom", "skipped"))
    later = comparison(GC, SE, NL, statuses=("skipped", "skipped", "skipped"))
    path = tmp_path / "a.jsonl"
    store.save(Run(manifest(), (first, later)), path)
    assert list(store.statuses(path).values()) == ["ok", "oom", "skipped"]
    rows = list(tables.rows(store.open_run(path, pytest.fail)))
    assert [row["status"] for row in rows] == ["ok", "oom", "skipped"]


def test_what_ran_out_of_memory_is_known_by_node_until_it_is_tried_again(tmp_path):
    def out(*statuses, **more):
        made = comparison(GC, SE, NL, statuses=statuses)
        found = tuple(
            replace(m, needed_bytes=n) for n, m in zip((1, 2, 3), made.measurements, strict=True)
        )
        return replace(made, measurements=found, **more)

    there = manifest(node="there")
    larger = comparison(NL, size=(7, 7), statuses=("oom",))
    first, again = out("ok", "oom", "oom"), out("ok", "ok", "crashed")
    path = tmp_path / "a.jsonl"
    store.save(Run(manifest(node="here"), (first, replace(larger, machine=there))), path)
    found = store.shortages(path)
    assert [(m.case.spec, m.needed_bytes) for m in found["here"]] == [("se", 2), ("nl", 3)]
    assert [m.case.height for m in found["there"]] == [7]
    path = tmp_path / "b.jsonl"
    store.save(Run(manifest(node="here"), (first, again)), path)
    assert store.shortages(path) == {}


def test_a_record_is_read_once_for_all_that_ran_out_of_memory_in_it(tmp_path, monkeypatch):
    path, read, comparison_at = tmp_path / "a.jsonl", [], store.Stored.comparison
    both = comparison(GC, SE, statuses=("oom", "oom"))
    store.save(Run(manifest(node="here"), (comparison(NL), both)), path)

    def reading(stored, position):
        read.append(position)
        return comparison_at(stored, position)

    monkeypatch.setattr(store.Stored, "comparison", reading)
    assert [m.case.spec for m in store.shortages(path)["here"]] == ["gc", "se"]
    assert read == [1]


def test_an_ok_row_is_never_replaced(tmp_path):
    good, bad = comparison(GC, SE), comparison(GC, SE, statuses=("ok", "oom"), factor=3)
    path = kept(tmp_path / "a.jsonl", good, bad, comparison(GC, SE, factor=5))
    rows = list(tables.rows(store.open_run(path, pytest.fail)))
    assert [round(row["latency_us"]) for row in rows] == [100, 200]


def test_the_newest_run_is_the_one_written_last_and_what_is_no_run_is_passed_over(tmp_path):
    with pytest.raises(RunError, match="there is no run in"):
        store.newest(tmp_path / "nothing")
    for number, name in enumerate(["b.jsonl", "a.jsonl", "c.jsonl", "d.txt"]):
        kept(tmp_path / name)
        os.utime(tmp_path / name, (number, number))
    (tmp_path / "c.jsonl").write_text("no run")
    assert store.newest(tmp_path) == tmp_path / "a.jsonl"
    os.utime(tmp_path / "b.jsonl", (9, 9))
    assert store.newest(tmp_path).name == "b.jsonl"


def test_a_runtime_that_one_session_lacks_sets_nothing_apart_and_another_version_does():
    with_it = manifest(runtimes={"onnxruntime": {"onnxruntime": "1.22", "threads": "N"}})
    assert store.mismatches(manifest(), with_it) == store.mismatches(with_it, manifest()) == []
    later = replace(with_it, runtimes={"onnxruntime": {"onnxruntime": "1.23", "threads": "N"}})
    assert store.mismatches(with_it, later) == [
        "runtime onnxruntime onnxruntime: 1.22 then, 1.23 now"
    ]


def test_what_sets_two_sessions_apart_is_said_in_words():
    old = manifest()
    assert store.mismatches(old, replace(old, started="later", load_1min=7.0, run="x")) == []
    new = replace(
        old,
        cpu="Other CPU",
        versions=old.versions | {"torch": "9.9"},
        devices={"cpu": "Other CPU", "cuda:0": "H100"},
        variables={"OMP_NUM_THREADS": "1"},
        gcbench_version="9",
    )
    assert store.mismatches(old, new) == [
        f"gcbench version: {old.gcbench_version} then, 9 now",
        f"torch: {old.versions['torch']} then, 9.9 now",
        f"cpu: {old.cpu} then, Other CPU now",
        f"device cpu: {old.cpu} then, Other CPU now",
        f"variable OPENBLAS_CORETYPE: {old.variables['OPENBLAS_CORETYPE']} then, none now",
        f"variable OPENBLAS_L2_SIZE: {old.variables['OPENBLAS_L2_SIZE']} then, none now",
        "device cuda:0: none then, H100 now",
        "variable OMP_NUM_THREADS: none then, 1 now",
    ]


@pytest.mark.parametrize(
    "cells",
    [
        {"macs": "many"},
        {"macs": -5},
        {"peak_memory_bytes": "1"},
        {"compile_ms": -0.5},
        {"macs_counter": 7},
        {"inserted": 3},
    ],
)
def test_counts_that_nothing_can_be_counted_to_are_damage(cells, tmp_path):
    damaged = comparison(GC, SE)
    first = replace(damaged.measurements[0], metrics=cells)
    damaged = replace(damaged, measurements=(first, *damaged.measurements[1:]))
    told = []
    run = store.open_run(kept(tmp_path / "a.jsonl", damaged, THREE[0]), told.append)
    assert [row["height"] for row in tables.rows(run)] == [7, 7]
    assert "line 2 is not a comparison of a gcbench run: its parts do not fit together" in told[0]
