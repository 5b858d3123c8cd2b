"""Hard ends: whatever becomes of streams, files, processes, limits, work is kept and said."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from commands import assert_refused, ran
from harmful import BRIEF, SMALL, gone, measured
from runs import comparison, kept

from gcbench import engines, errors, store
from gcbench.cli import faults
from gcbench.engines.inline import Inline
from gcbench.engines.isolated import Isolated
from gcbench.engines.jobs import Job
from gcbench.report.text import pasted
from gcbench.system.files import replace_whole

GCBENCH = [sys.executable, "-m", "gcbench"]
GRID = ["gc", "se", "-C", "8", "-s", "4,5,6,7", "-r", "4", "--max-time", "100ms", "--threads", "1"]

BLOCKS = """
import os, subprocess, time
import torch
from torch import nn

class Plain(nn.Module):
    def __init__(self, channels):
        super().__init__()
    def forward(self, x):
        return x + 1

class Unprintable(Plain):
    def forward(self, x):
        class E(Exception):
            def __str__(self):
                raise RuntimeError("no words")
        raise E

class Unnamed(Plain):
    def forward(self, x):
        class Meta(type):
            @property
            def __name__(cls):
                raise RuntimeError("no name")
        class E(Exception, metaclass=Meta):
            @property
            def __traceback__(self):
                raise RuntimeError("no trace")
            __class__ = property(lambda self: 1 / 0)
        raise E

class Patches(Plain):
    def __init__(self, channels):
        super().__init__(channels)
        torch.empty_like = None

class Slows(Plain):
    def __init__(self, channels):
        super().__init__(channels)
        torch.sigmoid = lambda x: time.sleep(1)

class Hidden(Plain):
    def forward(self, x):
        # nothing that anybody looks for: a private name, which others need
        from gcbench.measure import workload
        if not x.is_meta:
            workload.copy = None
        return x + 1

class Threads(Plain):
    def __init__(self, channels):
        super().__init__(channels)
        torch.set_num_threads(1)

class Nan(Plain):
    def forward(self, x):
        return x * float("nan")

class Random(Plain):
    def forward(self, x):
        return x + torch.rand(())

class Garbles(Plain):
    def forward(self, x):
        if not x.is_meta:
            for number in range(3, 64):
                try:
                    os.write(number, b"no answer\\n")
                except OSError:
                    pass
        return x + 1

class Sleeps(Plain):
    def __init__(self, channels):
        super().__init__(channels)
        slept = subprocess.Popen(["sleep", "600"], env={}, start_new_session=True)
        with open("slept", "a") as file:
            file.write(f"{slept.pid} ")

class KillsGuard(Plain):
    def forward(self, x):
        if not x.is_meta:
            left = subprocess.Popen(["sleep", "600"], start_new_session=True)
            with open("left", "a") as file:
                file.write(f"{left.pid} ")
            os.kill(os.getppid(), 9)
            time.sleep(600)
        return x + 1

class Prints(Plain):
    def forward(self, x):
        print("called " * 100)
        return x + 1

class Keyword(nn.Module):
    def __init__(self, *, dim, reduction=8):
        super().__init__()
        self.layer = nn.Conv2d(dim, dim // reduction, 1)
        self.back = nn.Conv2d(dim // reduction, dim, 1)
    def forward(self, x):
        return self.back(self.layer(x))

class Nameless(Plain):
    def __init__(self, *, wide, reduction=8):
        super().__init__(wide)

class Needy(Plain):
    def __init__(self, channels, heads, *, width):
        super().__init__(channels)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "hard_blocks.py").write_text(BLOCKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "hard_blocks", raising=False)
    return tmp_path


def shell(line, folder, **more):
    """Run a line of bash in which `gcbench` is this one; text in, text out."""
    gcbench = shlex.join(GCBENCH)
    line = re.sub(r"\bgcbench\b(?!/)", gcbench, line)
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, capture_output=True, text=True, check=False, **more
    )


def only(statuses):
    return sorted(statuses.values())


# streams


@pytest.mark.slow
def test_a_sweep_whose_reader_has_left_measures_all_of_it(folder):
    grid = shlex.join([*GRID, "-o", "z.jsonl"])
    done = shell(f"gcbench sweep {grid} 2>&1 | head -1; echo ${{PIPESTATUS[0]}}", folder)
    assert done.stdout.splitlines()[-1] == "0"
    assert only(store.statuses(folder / "z.jsonl")) == ["ok"] * 8


@pytest.mark.parametrize("stream", ["2> >(true)", "2>/dev/full", "2>&-"])
def test_a_mistake_is_a_mistake_whatever_becomes_of_stderr(folder, stream):
    kept(folder / "a.jsonl", comparison())
    compare = "gcbench compare a.jsonl nope.jsonl --fail-on missing"
    for line in ("gcbench bench nosuchblock", compare, "gcbench report nope.jsonl"):
        assert shell(f"{line} {stream}; echo $?", folder).stdout == "2\n", line


@pytest.mark.parametrize("stream", ["2> >(true)", "2>/dev/full", "2>&-"])
def test_a_result_is_the_same_whatever_becomes_of_stderr(folder, stream):
    kept(folder / "a.jsonl", comparison())
    line = "gcbench report a.jsonl --format csv --csv b.csv"
    undisturbed = shell(line, folder)
    assert undisturbed.stderr == "gcbench: wrote b.csv\n"
    written = (folder / "b.csv").read_text()
    disturbed = shell(f"{line} {stream}", folder)
    assert (disturbed.returncode, disturbed.stdout) == (0, undisturbed.stdout)
    assert (folder / "b.csv").read_text() == written


def test_a_gate_that_is_met_exits_with_1_though_nobody_reads_on(folder):
    kept(folder / "a.jsonl", comparison())
    kept(folder / "b.jsonl", comparison(statuses=("ok", "error")))
    line = "gcbench compare a.jsonl b.jsonl --fail-on failed --format json"
    assert shell(f"{line} | true; echo ${{PIPESTATUS[0]}}", folder).stdout == "1\n"


def test_no_file_is_ever_opened_as_a_stream_that_was_closed(folder):
    kept(folder / "a.jsonl", comparison())
    done = shell("gcbench report a.jsonl --csv b.csv <&- >&- 2>&-; echo $?", folder)
    assert done.stdout == "0\n"
    assert (folder / "b.csv").read_text().startswith("run,key,")


@pytest.mark.slow
def test_what_a_block_prints_to_nobody_is_dropped(folder):
    grid = "hard_blocks:Prints -C 8 -s 4 --max-time 100ms -o z.jsonl"
    assert shell(f"gcbench sweep {grid} 2>/dev/full >/dev/null; echo $?", folder).stdout == "0\n"
    assert only(store.statuses(folder / "z.jsonl")) == ["ok"]


@pytest.mark.slow
def test_a_full_stdout_does_not_lose_what_is_in_files(folder):
    line = "gcbench sweep gc -C 8 -s 4 -r 4 --max-time 100ms -o z.jsonl >/dev/full"
    done = shell(line, folder)
    assert done.returncode == 0
    assert "warning: cannot write to stdout: No space left on device" in done.stderr
    assert only(store.statuses(folder / "z.jsonl")) == ["ok"]


def test_bench_without_a_file_and_with_a_closed_stdout_measures_nothing(folder):
    done = shell("gcbench bench gc >&-", folder)
    assert done.returncode == 2
    assert done.stderr.startswith("gcbench: stdout is closed")


# a case ends only itself


@pytest.mark.slow
def test_exceptions_that_cannot_be_printed_are_rows(folder):
    names = ["gc", "hard_blocks:Unprintable", "hard_blocks:Unnamed", "se"]
    record = measured(names)
    assert [m.status for m in record.measurements] == ["ok", "error", "error", "ok"]
    assert re.fullmatch(r"E \(hard_blocks.py:\d+\)", record.measurements[1].reason)
    assert "without a name" in record.measurements[2].reason


@pytest.mark.parametrize("raised", [BaseException, KeyboardInterrupt, SystemExit])
def test_what_is_said_of_an_error_never_raises(raised):
    class EvilError(Exception):
        def __str__(self):
            raise raised

        def __repr__(self):
            raise raised

    assert errors.told(EvilError()) == "EvilError"
    assert errors.worded(EvilError()) == "EvilError"
    assert faults.report_error(EvilError()) == faults.INTERNAL


@pytest.mark.slow
def test_a_constructor_that_patches_torch_is_named_and_harms_nobody(folder):
    record = measured(["gc", "hard_blocks:Patches", "hard_blocks:Slows", "se"])
    found = {m.case.block: m for m in record.measurements}
    assert found["gc"].status == found["se"].status == "ok"
    assert "sets_back" in found["hard_blocks:Patches"].flags
    assert re.search(
        r"it replaces torch.empty_like \(hard_blocks.py:\d+\)", found["hard_blocks:Patches"].reason
    )
    assert "it replaces torch.sigmoid" in found["hard_blocks:Slows"].reason
    assert "sets_back" not in found["se"].flags


@pytest.mark.slow
def test_a_case_that_fails_for_anothers_doing_is_measured_without_that(folder):
    comparison_ = engines.compare(["hard_blocks:Hidden", "gc", "se"], SMALL)
    with Isolated(60.0) as isolated:
        first = isolated.measure(Job(comparison_, BRIEF))
        second = isolated.measure(Job(comparison_, BRIEF))
    for record in (first, second):
        assert [m.status for m in record.measurements] == ["error", "ok", "ok"]
        assert "hard_blocks.py" in record.measurements[0].reason


@pytest.mark.slow
def test_threads_that_a_constructor_sets_are_set_back_and_said(folder):
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        record = Inline().measure(
            Job(engines.compare(["gc", "hard_blocks:Threads"], replace(SMALL, threads=None)), BRIEF)
        )
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    gc, threads = record.measurements
    assert "sets_back" in threads.flags
    assert "it changes its process: threads (hard_blocks.py:" in threads.reason
    assert (gc.status, gc.flags) == ("ok", ())


def test_threads_that_gcbench_sets_are_not_said_of_a_block(folder):
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        # the first case of its process, which had two threads until then
        record = Inline().measure(Job(engines.compare(["hard_blocks:Plain"], SMALL), BRIEF))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    [plain] = record.measurements
    assert SMALL.threads == 1
    assert (plain.status, plain.flags, plain.reason) == ("ok", (), None)


def test_an_output_of_nan_is_flagged(folder):
    record = Inline().measure(Job(engines.compare(["gc", "hard_blocks:Nan"], SMALL), BRIEF))
    assert [m.flags for m in record.measurements] == [(), ("not_finite",)]


@pytest.mark.slow
def test_answers_that_are_none_are_a_crash_of_the_case(folder):
    record = measured(["gc", "hard_blocks:Garbles", "se"])
    assert [m.status for m in record.measurements] == ["ok", "crashed", "ok"]
    assert "what is no answer" in record.measurements[1].reason


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a child subreaper")
def test_what_a_block_starts_without_a_mark_ends_with_its_worker(folder):
    record = measured(["gc", "hard_blocks:Sleeps"])
    assert [m.status for m in record.measurements] == ["ok", "ok"]
    started = (folder / "slept").read_text().split()
    assert started
    assert gone(started)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs PR_SET_PDEATHSIG")
def test_a_block_that_ends_the_guard_of_its_worker_ends_itself_alone(folder):
    record = measured(["gc", "hard_blocks:KillsGuard", "se"])
    assert [m.status for m in record.measurements] == ["ok", "crashed", "ok"]
    # what it left descends from nobody of gcbench's any more, and is known by its mark
    left = (folder / "left").read_text().split()
    assert left
    assert gone(left)


# non-deterministic blocks


@pytest.mark.slow
def test_blocks_that_are_not_deterministic_are_timed_where_that_is_allowed(folder, capsys):
    line = ["bench", "gc", "hard_blocks:Random", "-C", "8", "-s", "4", "-r", "4", "--quick"]
    line += ["--max-time", "200ms", "--format", "json"]
    code, out, _ = ran(*line, capsys=capsys)
    refused = json.loads(out)["rows"][1]
    assert (code, refused["status"]) == (3, "error")
    assert "--allow-nondeterministic times it" in refused["reason"]
    code, out, _ = ran(*line, "--allow-nondeterministic", capsys=capsys)
    row = json.loads(out)["rows"][1]
    assert (code, row["status"]) == (0, "ok")
    assert "nondeterministic" in row["flags"]
    assert row["latency_us"] > 0


# files


def test_nothing_is_written_through_a_link_or_left_behind(tmp_path, monkeypatch):
    target = tmp_path / "a.csv"
    replace_whole(target, [b"old"])
    precious = tmp_path / "precious"
    precious.write_text("precious")
    monkeypatch.setattr("secrets.token_hex", lambda size: "foreseen")
    (tmp_path / ".gcbench-foreseen.part").symlink_to(precious)
    with pytest.raises(FileExistsError):
        replace_whole(target, [b"new"])
    assert (target.read_text(), precious.read_text()) == ("old", "precious")


def test_a_failure_midway_leaves_the_old_file_and_no_other(tmp_path):
    def pieces():
        yield b"half"
        raise OSError(28, "No space left on device")

    target = tmp_path / "a.csv"
    target.write_text("old")
    with pytest.raises(OSError, match="No space"):
        replace_whole(target, pieces())
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert target.read_text() == "old"


def test_ceilings_that_cannot_be_kept_leave_no_file(tmp_path, monkeypatch):
    from made_up import PEAKS
    from runs import manifest

    from gcbench.measure.peaks import kept as kept_peaks

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("gcbench.system.files.os.fdopen", _full)
    said = []
    kept_peaks.keep(manifest(), PEAKS, "cpu", said.append)
    assert "No space left on device" in said[0]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def _full(descriptor, mode):
    os.close(descriptor)
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("name", ["a b.jsonl", "-a.jsonl", "a'b.jsonl", "$(touch no).jsonl"])
def test_a_path_can_be_pasted(tmp_path, name):
    (tmp_path / name).write_text("it")
    done = subprocess.run(
        ["bash", "-c", f"cat {pasted(name)}"], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.stdout == b"it"
    assert pasted("results/a-1.jsonl") == "results/a-1.jsonl"


@pytest.mark.parametrize("arguments", [["--csv", "-"], ["--format", "csv", "-o", "-"]])
def test_a_minus_is_stdout(folder, capsys, arguments):
    kept(folder / "a.jsonl", comparison())
    code, out, err = ran("report", "a.jsonl", *arguments, capsys=capsys)
    assert (code, err) == (0, "")
    assert out.startswith("run,key,")
    assert out.count("\n") == 3
    assert [path.name for path in folder.iterdir() if path.suffix != ".py"] == ["a.jsonl"]


def test_a_minus_is_stdout_of_a_run_and_of_toml_and_nothing_else_goes_there(folder, capsys):
    line = ["bench", "gc", "-C", "8", "-s", "4", "-r", "4", "--max-time", "100ms", "-o", "-"]
    code, out, _ = ran(*line, capsys=capsys)
    assert code == 0
    (folder / "again.jsonl").write_text(out)
    assert only(store.statuses(folder / "again.jsonl")) == ["ok"]
    code, out, _ = ran("sweep", "gc", "--dump-file", "-", capsys=capsys)
    assert (code, out) == (0, 'blocks = [\n    "gc",\n]\n')
    assert_refused(ran("bench", "-o", "-", "--csv", "-", capsys=capsys), "both write to stdout")
    assert_refused(ran("sweep", "gc", "-o", "-", capsys=capsys), "a sweep goes on from its run")


# interrupts


def stands_by(pid):
    """Whether a process hears of SIGTERM itself: Python does not, until gcbench says so."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)[1], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("after", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_a_report_in_one_line_at_most(folder, after, how):
    many = [comparison(size=(size, 4)) for size in range(4, 400)]
    kept(folder / "a.jsonl", *many)
    process = subprocess.Popen(
        [*GCBENCH, "report", "a.jsonl"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    )
    # before the interpreter runs any code of gcbench's, the signal ends it by itself
    while process.poll() is None and not stands_by(process.pid):
        time.sleep(0.005)
    time.sleep(after)
    process.send_signal(how)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert len(err.splitlines()) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["gcbench.cli.sweeping.store.create", "gcbench.cli.sweep.leave"])
def test_whenever_a_sweep_is_interrupted_the_line_that_goes_on_is_said(
    folder, capsys, monkeypatch, moment
):
    def interrupted(*arguments, **more):
        if moment.endswith("create"):
            real(*arguments, **more).close()
        raise KeyboardInterrupt

    real = store.create
    monkeypatch.setattr(moment, interrupted)
    line = ["sweep", "gc", "-C", "8", "-s", "4", "-r", "4", "--max-time", "100ms"]
    code, _, err = ran(*line, "-o", "a b.jsonl", capsys=capsys)
    assert code == 130
    assert err.splitlines()[-1] == (
        "gcbench: interrupted: what was measured is kept; go on with: "
        "gcbench sweep --resume 'a b.jsonl'"
    )


@pytest.mark.slow
def test_a_full_disk_ends_a_sweep_with_the_line_that_goes_on(folder, capsys, monkeypatch):
    real, calls = store.write._write, []

    def full(descriptor, line):
        calls.append(line)
        if len(calls) > 2:
            raise OSError(28, "No space left on device")
        real(descriptor, line)

    monkeypatch.setattr(store.write, "_write", full)
    code, _, err = ran("sweep", *GRID, "-o", "-a.jsonl".replace("-", "./-"), capsys=capsys)
    assert code == 2
    last = err.splitlines()[-1]
    assert "No space left on device" in last
    assert last.endswith("what was measured is kept; go on with: gcbench sweep --resume ./-a.jsonl")
    assert only(store.statuses(Path("-a.jsonl"))) == ["ok", "ok"]


# causes by their names


@pytest.mark.slow
def test_a_limit_on_open_files_is_named_and_the_sweep_goes_on(folder):
    line = "(ulimit -n 12; gcbench sweep gc -C 8 -s 4 -r 4 --max-time 100ms -o n.jsonl)"
    done = shell(line, folder)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert "Too many open files (the limit on open files, ulimit -n)" in last
    assert "stdout" not in last
    assert "go on with: gcbench sweep --resume n.jsonl" in last


@pytest.mark.parametrize(
    "source", ["raise RuntimeError('old driver')", "raise OSError(12, 'no memory')", "x = 1"]
)
def test_a_broken_torch_is_one_sentence(folder, source):
    (folder / "torch").mkdir()
    (folder / "torch" / "__init__.py").write_text(source)
    done = shell(f"PYTHONPATH={folder} gcbench bench gc", folder)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("gcbench: torch cannot be loaded: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed = " + 5000 * "9", "seed: that is no number with an end"),
        ("[axes]\nbatch = 0x" + 5000 * "f", "axes.batch: that is no number with an end"),
        ("[effort]\nmax_time = inf", "effort.max_time takes a time"),
        ("[effort]\nprecision = nan", "effort.precision takes a share"),
        ("seed = " + 4000 * "9", "seed takes a whole number"),
    ],
)
def test_numbers_without_end_in_toml_are_refused_by_their_key(folder, capsys, text, words):
    (folder / "a.toml").write_text(text)
    outcome = ran("sweep", "--file", "a.toml", capsys=capsys)
    assert_refused(outcome, words)
    assert len(outcome[2].splitlines()[-1]) < 500


@pytest.mark.parametrize("number", ["1e308", "-1e308", 300 * "9"])
@pytest.mark.parametrize("field", ['"macs":1000', '"precision":0.02', '"wall_ns":1000000000'])
def test_numbers_without_end_in_a_run_are_left_out_by_their_line(folder, capsys, field, number):
    path = kept(folder / "a.jsonl", comparison(), comparison(size=(7, 7)))
    lines = path.read_text().splitlines()
    assert field in lines[1]
    lines[1] = lines[1].replace(field, f"{field.partition(':')[0]}:{number}")
    path.write_text("\n".join(lines) + "\n")
    code, out, err = ran("report", "a.jsonl", "--format", "csv", capsys=capsys)
    assert code == 0
    assert "left out: a.jsonl line 2" in err
    assert len(out.splitlines()) == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["bench", "-s", 5000 * "9"],
        ["bench", 5000 * "g"],
        ["bench", "gc:ratio=" + 5000 * "9"],
        ["report", "a.jsonl", "--where", "block == '" + 900 * "x" + "' and"],
        ["report", 3000 * "x"],
        [5000 * "x"],
    ],
)
def test_no_more_than_200_characters_of_what_was_given_are_quoted(folder, capsys, arguments):
    code, _, err = ran(*arguments, capsys=capsys)
    assert code == 2
    assert max(map(len, err.splitlines()[-1].split("..."))) < 700
    assert not re.search(r"(.)\1{201}", err.replace("loading torch", ""))


# names


@pytest.mark.slow
@pytest.mark.parametrize("target", ["./hard_blocks.py:Plain", "{folder}/hard_blocks.py:Plain"])
def test_a_block_may_be_named_by_its_file(folder, capsys, target):
    target = target.format(folder=folder)
    line = ["-C", "8", "-s", "4", "-r", "4", "--max-time", "100ms"]
    assert ran("bench", "gc", target, *line, capsys=capsys)[0] == 0
    assert ran("sweep", "gc", target, *line, "-o", "a.jsonl", capsys=capsys)[0] == 0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("./none.py:X", ["there is no file ./none.py"]),
        ("./hard_blocks.py", ["name a class in that file, as in ./hard_blocks.py:MyBlock"]),
        ("hard_blocks.Plain", ["did you mean hard_blocks:Plain?"]),
        ("./hard_blocks.py:Plan", ["did you mean 'Plain'?"]),
        ("GC", ["did you mean 'gc'?"]),
        ("gca", ["did you mean 'gc'?"]),
        ("lcbam", ["did you mean 'cbam'?"]),
        ("contextblock", ["did you mean 'mmcv/ContextBlock'?"]),
        ("tim/gca", ["did you mean 'timm/gca'?"]),
        ("timm/gcaa", ["did you mean 'gca'"]),
        ("hard_blocks:Needy", ["needs heads and width", "hard_blocks:Needy:heads=VALUE:width="]),
        (
            "hard_blocks:Nameless",
            ["it takes only wide, reduction, by name", "channels, in_channels"],
        ),
    ],
)
def test_a_name_that_is_wrong_is_answered_with_the_right_one(folder, capsys, name, words):
    assert_refused(ran("bench", name, "-C", "8", capsys=capsys), *words)


def test_a_misspelt_name_is_answered_before_torch_is_loaded(folder):
    for command, name, meant in (
        ("bench", "contextblok", "mmcv/ContextBlock"),
        ("sweep", "contextblok", "mmcv/ContextBlock"),
        ("count", "gcc", "gc"),
        ("count", "resnet5", "resnet50"),
    ):
        code = (
            "import sys\nfrom gcbench.cli.app import main\n"
            f"try:\n    main([{command!r}, {name!r}])\n"
            "except SystemExit:\n    assert not {'torch', 'timm', 'mmcv'} & set(sys.modules)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        )
        assert f"did you mean '{meant}'?" in done.stderr


def test_channels_go_in_by_name_where_a_constructor_takes_nothing_else(folder):
    from gcbench import blocks

    assert blocks.build("hard_blocks:Keyword", 16).layer.in_channels == 16


def test_a_file_is_not_shipped_to_a_cluster(folder, capsys):
    outcome = ran("sweep", "./hard_blocks.py:Plain", "--engine", "ray", capsys=capsys)
    assert_refused(outcome, "'./hard_blocks.py:Plain' is a file: name it MODULE:CLASS")


@pytest.mark.parametrize(
    ("alias", "dtype"), [("fp16", "float16"), ("bf16", "bfloat16"), ("fp32", "float32")]
)
def test_dtypes_have_the_names_that_others_give_them(folder, capsys, alias, dtype):
    code, out, _ = ran(
        "sweep", "gc", "--static", "--dtype", alias, "-o", "a.jsonl", "--csv", "-", capsys=capsys
    )
    assert code == 0
    assert f",{dtype}," in out


# small ends


def test_columns_of_a_pivot_give_way_to_its_rows(folder, capsys):
    kept(folder / "a.jsonl", comparison(size=(7, 7)), comparison(size=(14, 14)))
    code, out, _ = ran("report", "a.jsonl", "--rows", "block", "--value", "macs", capsys=capsys)
    assert code == 0
    [header] = [line.split() for line in out.splitlines() if line.startswith("block")]
    assert header == ["block", "7x7", "14x14"]
    one = kept(folder / "b.jsonl", comparison(size=(7, 7)))
    assert ran("report", str(one), "--rows", "block,size", capsys=capsys)[0] == 0


@pytest.mark.parametrize(
    ("condition", "sizes"),
    [
        ("size == 7", {"7x7"}),
        ("size == '7x9'", {"7x9"}),
        ("size in (7, 14)", {"7x7", "14x14"}),
        ("size < 14", {"7x7"}),
        ("2 * size == 28", {"14x14"}),
        ("shape == '1x256x14x14'", {"14x14"}),
        ("N > 50", {"7x9", "14x14"}),
    ],
)
def test_conditions_know_size_shape_and_n(folder, capsys, condition, sizes):
    kept(folder / "a.jsonl", *(comparison(size=size) for size in ((7, 7), (7, 9), (14, 14))))
    line = ["report", "a.jsonl", "--where", condition, "--rows", "size", "--sort", "-size"]
    code, out, _ = ran(*line, capsys=capsys)
    assert code == 0
    assert set(re.findall(r"^\d+x\d+", out, re.MULTILINE)) == sizes
    static = ["sweep", "gc", "--static", "-s", "7,7x9,14", "--where", condition, "--csv", "-"]
    code, out, _ = ran(*static, "-o", "s.jsonl", capsys=capsys)
    assert code == 0
    assert len(out.splitlines()) == 1 + len(sizes)


def test_cases_that_only_the_second_run_has_are_new_in_one_line(folder, capsys):
    first = comparison(size=(7, 7))
    kept(folder / "a.jsonl", first)
    kept(folder / "b.jsonl", first, *(comparison(size=(size, 7)) for size in (8, 9)))
    code, out, _ = ran("compare", "a.jsonl", "b.jsonl", "--fail-on", "missing", capsys=capsys)
    assert code == 0
    assert "new: 4 cases that A has not: gc 2, se 2" in out
    assert "missing" not in out
    code, out, _ = ran("compare", "b.jsonl", "a.jsonl", "--fail-on", "missing", capsys=capsys)
    assert code == 1
    assert "missing" in out


def test_a_dry_run_speaks_no_keys(folder, capsys):
    line = ["sweep", "gc", "nl", "-s", "7..28x2", "--memory-limit", "1M", "--dry-run"]
    code, out, _ = ran(*line, capsys=capsys)
    assert code == 0
    assert "|" not in out
    assert "nl at 1x256x28x28" in out


@pytest.mark.parametrize("text", ["7..50x2", "2..100x3"])
def test_a_doubling_that_does_not_meet_its_end_names_the_nearest(folder, capsys, text):
    ends = {"7..50x2": "end it at 28 or 56", "2..100x3": "end it at 54 or 162"}
    assert_refused(ran("sweep", "gc", "-s", text, capsys=capsys), ends[text])


def test_ceilings_of_two_settings_in_turn_are_measured_once_each(tmp_path, monkeypatch):
    from made_up import PEAKS
    from runs import manifest

    from gcbench.measure.peaks import kept as kept_peaks

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    settings = [{}, {"OMP_NUM_THREADS": "1"}, {"MALLOC_ARENA_MAX": "1"}]
    machines = [manifest(variables=each) for each in settings]
    said = []
    for machine in machines:
        assert kept_peaks.find(machine, "cpu", "cpu", None, said.append) is None
        kept_peaks.keep(machine, PEAKS, "cpu", said.append)
    for machine in machines:
        assert kept_peaks.find(machine, "cpu", "cpu", None, said.append) is not None
    assert said == []


def test_flags_have_no_kind_in_help(folder, capsys):
    for command in ([], ["bench"], ["sweep"], ["report"], ["compare"], ["blocks"], ["env"]):
        _, out, _ = ran(*command, "--help", capsys=capsys)
        assert "<bool>" not in out
        assert "--help" in out


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("bash", {"COMP_WORDS": "gcbench bench timm/gc", "COMP_CWORD": "2"}),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "gcbench bench timm/gc"}),
        (
            "fish",
            {
                "_TYPER_COMPLETE_ARGS": "gcbench bench timm/gc",
                "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            },
        ),
    ],
)
def test_shells_complete_commands_and_blocks(folder, name, variables):
    done = subprocess.run(
        GCBENCH,
        env={**os.environ, **variables, "_GCBENCH_COMPLETE": f"complete_{name}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {"timm/gc", "timm/gca"} <= set(re.findall(r"timm/\w+", done.stdout))
