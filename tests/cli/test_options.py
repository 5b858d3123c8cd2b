"""Options: declared once, and the same whichever way they are said."""

import inspect
import os
import subprocess
import sys
import typing
from pathlib import Path

import pytest
from commands import assert_refused, ran

from gcbench.cli.commands import COMMANDS, loaded
from gcbench.errors import UsageError
from gcbench.options import config, defaults
from gcbench.options.table import KEYS, OPTIONS, of
from gcbench.spec.grid import Sweep

# a text for every option that a file may say, of a value that is not its default
TEXTS = {
    "blocks": "se",
    "where": "height < 9",
    "baseline": "se",
    "pair": "dtype=float32,float64",
    "static": "true",
    "allow_nondeterministic": "true",
    "seed": "7",
    "counter": "formula",
    "batch": "2,4",
    "channels": "16..64x2",
    "size": "7,5x9",
    "shape": "2x3x4x5",
    "stages": "resnet18",
    "ratio": "2,8",
    "dtype": "float64",
    "device": "cpu",
    "layout": "channels_last",
    "mode": "train",
    "runtime": "compile",
    "cache": "cold",
    "threads": "1,auto",
    "regime": "sustained",
    "tf32": "off",
    "heap": "default",
    "precision": "7%",
    "max_time": "1500ms",
    "processes": "2",
    "budget": "1h",
    "engine": "inline",
    "timeout": "5s",
    "memory_limit": "1GiB",
    "on_oom": "stop",
    "per_device": "true",
    "cpus_per_comparison": "3",
}
# what goes with the engine of a cluster alone
CLUSTERED = ("per_device", "cpus_per_comparison")
BENCH, SWEEP = of("bench"), of("sweep")


def said(options, folder, line=None, environment=None):
    given = {name: ((f"--{name}", text),) for name, text in (line or {}).items()}
    return defaults.said(options, given, environment or {}, folder)


def toml(named, prefix=""):
    """The lines of a file that says texts by the names of options."""
    lines = [f"[{prefix.rstrip('.')}]"] if prefix else []
    for table in dict.fromkeys(KEYS[name].table for name in KEYS):
        lines += [f"[{prefix}{table}]"] if table else []
        for name in named:
            if KEYS[name].table == table:
                value = named[name] if KEYS[name].kind == "flag" else repr(named[name])
                lines.append(f"{name} = {value}")
    return "\n".join(lines)


def test_every_option_of_a_plan_has_a_text_here():
    assert list(TEXTS) == list(KEYS)


@pytest.mark.parametrize("name", TEXTS)
def test_an_option_says_the_same_on_the_line_in_the_environment_in_a_file_and_in_a_project(
    name, tmp_path
):
    more = {"engine": "ray"} if name in CLUSTERED else {}
    named = {name: TEXTS[name], **more}
    (tmp_path / "plan.toml").write_text(toml(named))
    inside = tmp_path / "project" / "inside"
    inside.mkdir(parents=True)
    (inside.parent / "pyproject.toml").write_text(toml(named, "tool.gcbench."))
    option = KEYS[name]
    for command in option.commands:
        if command not in ("bench", "sweep"):
            continue
        options = of(command)
        line = said(options, tmp_path, named)
        made = line.plan()
        assert made != Sweep()
        assert made.origins[name] == f"--{name}"
        if option.variable:
            variables = {f"GCBENCH_{each.upper()}": text for each, text in named.items()}
            by_variable = said(options, tmp_path, environment=variables).plan()
            assert by_variable == made
            assert by_variable.origins[name] == f"GCBENCH_{name.upper()}"
        file = said(options, tmp_path, {"file": str(tmp_path / "plan.toml")}).plan()
        assert file == made
        key = f"{option.table}.{name}" if option.table else name
        assert file.origins[name] == f"{tmp_path}/plan.toml: {key}"
        project = said(options, inside).plan()
        assert project == made
        assert project.origins[name] == f"../pyproject.toml: tool.gcbench.{key}"
        dumped = config.to_toml(made)
        assert config.make(config.from_toml(dumped, "x.toml")) == made
        assert config.to_toml(config.make(config.from_toml(dumped, "x.toml"))) == dumped


def test_the_line_goes_before_variables_those_before_a_file_and_that_before_a_project(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        "[tool.gcbench]\nseed = 1\n[tool.gcbench.axes]\nbatch = 1\nchannels = 1\nsize = 1"
    )
    (tmp_path / "plan.toml").write_text("[axes]\nbatch = 2\nchannels = 2\nsize = 2")
    file = {"file": str(tmp_path / "plan.toml")}
    variables = {"GCBENCH_BATCH": "3", "GCBENCH_CHANNELS": "3", "GCBENCH_RATIO": ""}
    made = said(SWEEP, tmp_path, {"batch": "4", **file}, variables).plan()
    assert (made.batch, made.channels, made.size, made.seed) == ((4,), (3,), ((2, 2),), 1)
    assert made.ratio == Sweep().ratio
    assert made.origins == {
        "batch": "--batch",
        "channels": "GCBENCH_CHANNELS",
        "size": f"{tmp_path}/plan.toml: axes.size",
        "seed": "pyproject.toml: tool.gcbench.seed",
    }


def test_what_is_said_with_more_weight_takes_the_place_of_what_it_excludes(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        "[tool.gcbench]\nbaseline = 'se'\n[tool.gcbench.axes]\nsize = 7\nbatch = 2\n"
        "[tool.gcbench.effort]\nprecision = 0.3\nmax_time = 9"
    )
    made = said(BENCH, tmp_path, {"shape": "1x2x3x4", "pair": "dtype", "quick": "true"}).plan()
    assert (made.shape, made.size, made.batch) == (((1, 2, 3, 4),), ((56, 56),), (1,))
    assert (made.pair, made.baseline) == ("dtype", None)
    assert (made.precision, made.max_time_s) == (0.05, 2.0)
    made = said(BENCH, tmp_path, {"precision": "1%"}, {"GCBENCH_QUICK": "1"}).plan()
    assert (made.precision, made.max_time_s) == (0.01, 2.0)
    assert made.origins["max_time"] == "GCBENCH_QUICK"
    made = said(BENCH, tmp_path, {}, {"GCBENCH_QUICK": "0"}).plan()
    assert made.max_time_s == 9
    quiet = said(BENCH, tmp_path, {"verbose": "true"}, {"GCBENCH_QUIET": "1"})
    assert (quiet.value("verbose"), quiet.value("quiet")) == (True, False)
    both = {"GCBENCH_QUICK": "1", "GCBENCH_RIGOROUS": "true"}
    with pytest.raises(UsageError, match="GCBENCH_QUICK and GCBENCH_RIGOROUS ask"):
        said(BENCH, tmp_path, {}, both)


def test_a_run_that_is_gone_on_with_hears_nothing_of_what_stands_around_it(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.gcbench]\nnonsense = 1")
    around = {"GCBENCH_SIZE": "x", "GCBENCH_TIMEOUT": "x", "GCBENCH_NO_WAIT": "1"}
    found = said(SWEEP, tmp_path, {"resume": "run.jsonl", "budget": "1h"}, around)
    assert set(found.all) == {"resume", "budget", "no_wait"}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("[tool.gcbench.axes]\nsize = [7, 0]", "pyproject.toml: tool.gcbench.axes.size[1] takes"),
        ("[tool.gcbench.axes]\nsiez = 7", "pyproject.toml: tool.gcbench.axes.siez is unknown: did"),
        ("[tool.gcbench]\nsize = 7", "pyproject.toml: tool.gcbench.size is unknown: it belongs"),
        ("[tool]\ngcbench = 7", "pyproject.toml: tool.gcbench is a table, [tool.gcbench]"),
        ("[tool.gcbench", "pyproject.toml is not TOML"),
    ],
)
def test_a_mistake_in_a_project_is_one_clear_line(table, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("pyproject.toml").write_text(table)
    assert_refused(ran("bench", "gc", capsys=capsys), words)


def test_projects_without_a_table_are_passed_by(tmp_path):
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("[tool.gcbench.axes]\nsize = 7")
    (tmp_path / "a" / "pyproject.toml").write_text("[project]\nname = 'gcbench-user'")
    (inside / "pyproject.toml").write_text("[no TOML")
    made = said(BENCH, inside).plan()
    assert made.size == ((7, 7),)
    assert made.origins == {"size": "../../pyproject.toml: tool.gcbench.axes.size"}


def test_what_means_another_thing_in_a_command_is_not_said_for_it_from_outside(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        "[tool.gcbench.axes]\nsize = 7\nthreads = 1\n[tool.gcbench.effort]\nmax_time = '1ms'"
    )
    around = {"GCBENCH_SIZE": "7", "GCBENCH_MAX_TIME": "1ms"}
    from gcbench.cli.check import EACH_TIME
    from gcbench.cli.network_options import OWN

    images = said([*OWN, *of("network")], tmp_path, {}, around).plan()
    assert (images.size, images.threads) == (((224, 224),), (1,))
    check = said([EACH_TIME, *of("check")], tmp_path, {}, around)
    assert (check.value("max_time"), check.plan().threads) == (3.0, (1,))


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        (("GCBENCH_THREADS", "0"), "GCBENCH_THREADS takes a whole number from 1"),
        (("GCBENCH_DTYPE", "float23"), "GCBENCH_DTYPE 'float23' is unknown: did you mean"),
        (("GCBENCH_STATIC", "maybe"), "GCBENCH_STATIC takes true or false, not 'maybe'"),
        (("GCBENCH_STRICT", "maybe"), "GCBENCH_STRICT takes true or false, not 'maybe'"),
    ],
)
def test_a_mistake_in_a_variable_is_one_clear_line(variable, words, monkeypatch, capsys):
    monkeypatch.setenv(*variable)
    assert_refused(ran("bench", "gc", capsys=capsys), words)


def test_a_variable_that_is_like_a_known_one_is_told(monkeypatch, capsys):
    for name in ("GCBENCH_THREDS", "GCBENCH_WHEELS", "GCBENCH_X", "_GCBENCH_SIZES"):
        monkeypatch.setenv(name, "1")
    code, _, err = ran("bench", "gc", "--dump-file", "-", capsys=capsys)
    assert code == 0
    unknown = "gcbench: warning: GCBENCH_THREDS is unknown: did you mean GCBENCH_THREADS?"
    assert err.splitlines() == [unknown]


def test_a_file_that_says_what_bench_cannot_do_is_refused(tmp_path, capsys):
    (tmp_path / "plan.toml").write_text("[effort]\nbudget = '1h'")
    refused = ran("bench", "--file", str(tmp_path / "plan.toml"), capsys=capsys)
    assert_refused(refused, "plan.toml: effort.budget is for gcbench sweep: leave it out")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: each.name)
def test_a_commands_line_is_the_first_of_its_own_help(command):
    assert inspect.getdoc(command.load()).split("\n")[0] == command.summary


@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: each.name)
def test_a_command_wants_options_that_it_takes_and_no_two_have_one_flag(command):
    made = command.load()
    assert set(inspect.signature(made.__wrapped__).parameters) - {"said"} <= set(made.options)
    flags = [flag for each in loaded(command.name).params for flag in each.opts]
    assert len(set(flags)) == len(flags)
    known = {option.place for option in made.options.values() if not option.argument}
    assert known <= set(flags)


def test_no_command_of_the_table_is_unknown():
    known = {command.name for command in COMMANDS}
    assert {name for option in OPTIONS for name in option.commands} <= known
    assert typing.get_type_hints(COMMANDS["bench"].load())["size"]


def test_help_loads_no_command_and_no_option():
    code = (
        "import sys\n"
        "from gcbench.cli.app import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit:\n    pass\n"
        "print(*(name for name in sys.modules if name.startswith('gcbench')), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert set(done.stderr.split()) <= {
        *(
            "gcbench",
            "gcbench.errors",
            "gcbench.registry",
            "gcbench.system",
            "gcbench.system.streams",
            "gcbench.cli",
        ),
        *("gcbench.cli.app", "gcbench.cli.commands", "gcbench.cli.faults", "gcbench.cli.signals"),
        *("gcbench.report", "gcbench.report.text"),
    }


def test_a_run_tells_where_its_values_came_from_and_older_runs_load(tmp_path, monkeypatch, capsys):
    from gcbench import store

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GCBENCH_CHANNELS", "16")
    Path("pyproject.toml").write_text("[tool.gcbench.axes]\nsize = [3, 4]\nratio = 2")
    for command in ("bench", "sweep"):
        run = Path(f"{command}.jsonl")
        code, _, err = ran(command, "gc", "--static", "-o", str(run), capsys=capsys)
        assert code == 0, err
        assert store.manifest(run).origins == {
            "blocks": "BLOCK",
            "static": "--static",
            "channels": "GCBENCH_CHANNELS",
            "size": "pyproject.toml: tool.gcbench.axes.size",
            "ratio": "pyproject.toml: tool.gcbench.axes.ratio",
        }
        shapes = [each.keys[0].split("|")[2] for each in store.load(run).outlines]
        assert shapes == ["1x16x3x3", "1x16x4x4"]
    monkeypatch.setenv("GCBENCH_CHANNELS", "64")
    code, _, err = ran("sweep", "--resume", "sweep.jsonl", "--retry", "error", capsys=capsys)
    assert code == 0, err
    assert "0 cases in 0 comparisons" in err
    assert (
        store.mismatches(store.manifest(Path("bench.jsonl")), store.manifest(Path("sweep.jsonl")))
        == []
    )
    old = min((Path(__file__).parents[2] / "results").glob("*.jsonl"))
    assert store.manifest(old).origins == {}


def test_bench_measures_every_point_of_its_axes_and_keeps_all_in_one_run(capsys, tmp_path):
    import csv

    path = tmp_path / "a.csv"
    grid = ["--size", "4,5x6", "--dtype", "float32,float64", "-C", "16", "-r", "2,4"]
    short = ["--precision", "50%", "--max-time", "100ms", "--csv", str(path)]
    code, out, err = ran("bench", "gc", "se", *grid, *short, capsys=capsys)
    assert code == 0, err
    assert [line.split(" ·")[0:2] for line in out.splitlines() if " · infer" in line] == [
        [f"1x16x{size}", f" {dtype}"] for dtype in ("float32", "float64") for size in ("4x4", "5x6")
    ]
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16
    assert [row["comparison"] for row in rows] == [str(n) for n in (1, 2, 3, 4) for _ in range(4)]
    assert [row["verdict"] for row in rows][::4] == ["baseline"] * 4
    assert [row["ratio"] for row in rows[:4]] == ["2", "4", "2", "4"]


def test_a_network_is_counted_at_every_point_of_its_axes(capsys):
    import csv

    asked = ["--insert", "gc@c5.last", "--size", "32,48x64", "--batch", "1,2", "--static"]
    code, out, err = ran("network", "resnet18", *asked, "--format", "csv", capsys=capsys)
    assert code == 0, err
    rows = list(csv.DictReader(out.splitlines()))
    assert [(row["batch"], row["height"], row["width"]) for row in rows[::2]] == [
        (batch, *size) for batch in ("1", "2") for size in (("32", "32"), ("48", "64"))
    ]
    assert [row["spec"] for row in rows] == ["plain", "gc@c5.last"] * 4
    macs = [int(row["macs"]) for row in rows[::2]]
    assert macs[2] == 2 * macs[0]


def test_count_takes_a_module_apart_at_every_point_of_its_axes(capsys):
    import csv
    import json

    asked = ["--ratio", "2,4", "--dtype", "float32,float64", "--depth", "0"]
    shapes = ["--shape", "1x16x5x5", "--shape", "2x8x3x4"]
    code, out, err = ran("count", "gc", *asked, *shapes, "--format", "csv", capsys=capsys)
    assert code == 0, err
    rows = list(csv.DictReader(out.splitlines()))
    assert [(row["target"], row["shape"], row["dtype"]) for row in rows] == [
        (f"gc r{ratio}", shape, dtype)
        for shape in ("1x16x5x5", "2x8x3x4")
        for dtype in ("float32", "float64")
        for ratio in (2, 4)
    ]
    alone = {}
    for row in rows:
        shape = ["--shape", row["shape"], "--ratio", row["target"][-1], "--dtype", row["dtype"]]
        _, out, _ = ran("count", "gc", *shape, "--depth", "0", "--format", "csv", capsys=capsys)
        [alone] = csv.DictReader(out.splitlines())
        assert alone.items() <= row.items()
    _, out, _ = ran("count", "nl", *asked, "--format", "json", capsys=capsys)
    # nl has no ratio
    assert [(each["target"], each["dtype"]) for each in json.loads(out)] == [
        ("nl", "float32"),
        ("nl", "float64"),
    ]


def test_check_asks_the_machine_at_every_number_of_threads(capsys, monkeypatch):
    import json

    from gcbench.engines import trials
    from gcbench.stats.calibration import Finding
    from gcbench.stats.intervals import Interval

    truth = Finding("calls", 1.05, Interval(1.05, 1.04, 1.06), "slower", 1e6, 0.02)
    lie = Finding("gc", 1.0, Interval(1.5, 1.4, 1.6), "slower", 1e6, 0.02)
    found = {1: [truth] * 5, 2: [lie] * 5}
    monkeypatch.setattr(trials, "run", lambda axes, *_, **__: found[axes.threads])
    code, out, _ = ran("check", "--threads", "1,2", "--json", capsys=capsys)
    assert code == 5
    told = [(each["threads"], each["trustworthy"]) for each in json.loads(out)]
    assert told == [(1, True), (2, False)]
    code, out, _ = ran("check", "--threads", "1,2", capsys=capsys)
    assert code == 5
    assert out.index("can be believed") < out.index("Not trustworthy")
    code, out, _ = ran("check", "--threads", "1", "--json", capsys=capsys)
    assert (code, json.loads(out)["trustworthy"]) == (0, True)


def test_ceilings_are_measured_at_every_number_of_threads(capsys, monkeypatch):
    import json
    from dataclasses import replace

    from made_up import PEAKS

    from gcbench import engines
    from gcbench.measure import environment

    def measured(axes, *_, **__):
        return replace(PEAKS, threads=axes.threads), environment.manifest("peaks", 0)

    monkeypatch.setattr(engines, "measure_peaks", measured)
    code, out, err = ran("peaks", "--threads", "1,2", "--format", "json", capsys=capsys)
    assert code == 0, err
    assert [each["threads"] for each in json.loads(out)] == [1, 2]


def test_a_project_that_is_no_text_is_refused_and_not_passed_over(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "pyproject.toml").write_text("[tool.gcbench.axes]\nsize = 8\n")
    (inner / "pyproject.toml").write_bytes(b"# caf\xe9\n[tool.gcbench.axes]\nsize = 9\n")
    with pytest.raises(UsageError, match=r"^pyproject.toml is no text: "):
        defaults.of_project(inner)
    # as editors on Windows write it
    (inner / "pyproject.toml").write_bytes(b"\xef\xbb\xbf[tool.gcbench.axes]\nsize = 9\n")
    assert defaults.of_project(inner)["size"][0][1] == "9"


def test_a_project_without_an_end_is_passed_over(tmp_path):
    os.mkfifo(tmp_path / "pyproject.toml")
    assert defaults.of_project(tmp_path) == {}
    (tmp_path / "pyproject.toml").unlink()
    (tmp_path / "pyproject.toml").symlink_to("/dev/zero")
    assert defaults.of_project(tmp_path) == {}
