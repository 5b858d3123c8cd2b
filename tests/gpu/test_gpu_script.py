"""The first run on a GPU: its table, its limits, what it leaves, and all of it in a rehearsal."""

import json
import os
import re
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "gpu.py"
sys.path.insert(0, str(SCRIPT.parent))

import gpu  # noqa: E402
import gpu_steps  # noqa: E402
from gpu_table import CARDS, STEPS, Reading, Step, judged  # noqa: E402

H100, H200, OTHER = "NVIDIA H100 80GB HBM3", "NVIDIA H200", "NVIDIA L4"
STEP = Step("peaks", 1, {"copy_tb_per_s": (2.8, 3.2), "capture": "refused"})


def test_without_a_gpu_it_says_so_and_runs_nothing(tmp_path):
    hidden = {"CUDA_VISIBLE_DEVICES": "", "PATH": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--out", str(tmp_path / "out")],
        env=hidden,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "no CUDA device that torch can use: nothing was run\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("card", "name", "value", "inside"),
    [
        (H100, "copy_tb_per_s", 3.0, True),
        (H100, "copy_tb_per_s", 4.3, False),
        (H200, "copy_tb_per_s", 4.3, True),
        (H200, "copy_tb_per_s", 3.0, False),
        (H100, "copy_tb_per_s", None, False),
        (H200, "capture", "refused", True),
        (H100, "capture", "recorded", False),
        (H100, "what_nobody_expects", 1.0, None),
        (OTHER, "copy_tb_per_s", 3.0, None),
        (OTHER, "capture", "recorded", None),
    ],
)
def test_a_value_is_held_against_what_its_card_should_show(card, name, value, inside):
    [reading] = judged(STEP, card, [(name, value)])
    assert reading.inside is inside
    said = {True: ": inside", False: ": OUTSIDE", None: "no expectation"}[inside]
    assert str(reading).endswith(said)


def test_a_card_that_is_read_is_the_one_that_the_next_values_are_held_against():
    readings = list(judged(STEP, "", [("copy_tb_per_s", 3.0), ("card", H100), ("capture", "no")]))
    assert [reading.inside for reading in readings] == [None, None, False]


def test_every_step_is_a_function_with_a_title_and_together_they_take_eight_minutes_at_most():
    assert len({step.name for step in STEPS}) == len(STEPS)
    assert all(gpu_steps.title(step.name).endswith(".") for step in STEPS)
    assert sum(step.limit_s for step in STEPS) <= gpu.BUDGET_S == 480
    # what another card shows otherwise is something that is read
    expected = {name for step in STEPS for name in step.expected}
    assert all(others.keys() <= expected for others in CARDS.values())


class Steps:
    """Steps that take a given time of a clock, and note the limits that they were given."""

    def __init__(self, monkeypatch, **takes_s):
        self.takes_s, self.now_s, self.limits_s = takes_s, 0.0, {}
        monkeypatch.setattr(gpu, "STEPS", [Step(name, 100) for name in takes_s])
        monkeypatch.setattr(gpu.gpu_steps, "title", lambda name: name)
        monkeypatch.setattr(gpu.time, "monotonic", lambda: self.now_s)
        monkeypatch.setattr(gpu, "alone", self.alone)

    def alone(self, step, limit_s, *more):
        self.limits_s[step.name] = limit_s
        self.now_s += min(self.takes_s[step.name], limit_s)
        failed = "ended" if self.takes_s[step.name] > limit_s else None
        return gpu.Outcome(step.name, [Reading("read", 1.0, (2.0, 3.0))], failed=failed)


def test_a_step_gets_what_earlier_ones_left_and_twice_its_limit_at_most(monkeypatch, tmp_path):
    steps = Steps(monkeypatch, quick=10, slow=150, hangs=1000, last=10)
    assert gpu.every_step(Namespace(out=tmp_path, rehearse=False), tmp_path) == 1
    assert steps.limits_s == {"quick": 100, "slow": 190, "hangs": 140, "last": 100}
    report = json.loads((tmp_path / "report.json").read_text())
    assert [step["failed"] for step in report] == [None, None, "ended", None]
    text = (tmp_path / "report.txt").read_text()
    assert "outside what was expected: quick: read, slow: read, hangs: read, last: read" in text
    assert "failed: hangs; 310 s" in text


def test_what_there_is_no_time_for_is_skipped_in_words(monkeypatch, tmp_path):
    steps = Steps(monkeypatch, **dict.fromkeys("abcd", 100), late=200, never=1)
    assert gpu.every_step(Namespace(out=tmp_path, rehearse=False), tmp_path) == 1
    assert steps.limits_s["late"] == 80
    assert "never" not in steps.limits_s
    assert "never: skipped: the eight minutes are used up" in (tmp_path / "report.txt").read_text()


def test_a_run_in_which_every_step_is_done_exits_with_0(monkeypatch, tmp_path):
    Steps(monkeypatch, one=1, other=2)
    assert gpu.every_step(Namespace(out=tmp_path, rehearse=False), tmp_path) == 0


HANGS = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


def test_a_step_that_hangs_is_ended_with_all_that_it_started_and_what_it_said_is_kept(tmp_path):
    text = tmp_path / "report.txt"
    text.write_text("before\n")
    command = [sys.executable, "-c", HANGS]
    # so long that the child is there
    assert gpu.run(command, 5.0, text, dict(os.environ)) is None
    before, child = text.read_text().split()
    assert before == "before"
    for _ in range(100):
        if not Path(f"/proc/{child}").exists():
            break
        time.sleep(0.05)
    assert not Path(f"/proc/{child}").exists()


def test_what_a_step_read_before_it_failed_is_kept(monkeypatch, tmp_path):
    def run(command, limit_s, text, env):
        (tmp_path / "peaks.values").write_text('["copy_tb_per_s", 3.0]\n')
        return 3

    monkeypatch.setattr(gpu, "run", run)
    asked = Namespace(device="cuda:0", out=tmp_path, rehearse=False)
    report = gpu.Report(tmp_path)
    report.outcomes.append(gpu.Outcome("versions", [Reading("card", H100)]))
    outcome = gpu.alone(STEP, 1.0, asked, report, tmp_path)
    assert outcome.failed == "failed with exit code 3"
    assert [reading.inside for reading in outcome.readings] == [True]


@pytest.mark.slow
def test_a_rehearsal_goes_through_every_step_and_leaves_only_what_it_was_asked_for(tmp_path):
    out, temporary = tmp_path / "out", tmp_path / "temporary"
    temporary.mkdir()
    mark = f"GCBENCH_REHEARSED={tmp_path}"
    name, _, value = mark.partition("=")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--rehearse", "--out", str(out)],
        env={**os.environ, "TMPDIR": str(temporary), name: value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    steps = json.loads((out / "report.json").read_text())
    assert [(step["step"], step["failed"]) for step in steps] == [(s.name, None) for s in STEPS]
    for step, found in zip(STEPS, steps, strict=True):
        inside = {reading["name"]: reading["inside"] for reading in found["readings"]}
        assert {name for name, held in inside.items() if held} == step.expected.keys()
        assert False not in inside.values()
    read = {r["name"]: r["value"] for step in steps for r in step["readings"]}
    # the wait before them and a mark are in the queue, too
    assert read["launches_until_full"] == 1023
    # the first wait loads its kernel; two processes meet the same noise
    assert read["first_cycles_per_ns"] < read["warm_cycles_per_ns"] / 10
    assert read["second_by_first"] == 1.0
    assert read["tests_run"] > 20
    text = (out / "report.txt").read_text()
    assert all(f" {step.name}," in text for step in STEPS)
    assert "failed: nothing" in text
    files = list(out.iterdir())
    assert len(files) <= 8
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", file.name) for file in files)
    assert all(file.is_file() and file.stat().st_size < 2**24 for file in files)
    assert list(temporary.iterdir()) == []
    assert not [
        process.name
        for process in Path("/proc").iterdir()
        if process.name.isdigit() and mark.encode() in _environment(process)
    ]


def _environment(process):
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""
