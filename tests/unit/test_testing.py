"""What a user's test-suite gets: relative costs that fail on what is resolved alone."""

import json
import subprocess
import sys

import pandas as pd
import pytest
from torch import nn
from written import FORMATS

import gcbench
from gcbench import engines
from gcbench.errors import GcbenchError
from gcbench.results import tables
from gcbench.spec.cases import Axes, Effort
from gcbench.testing import assert_no_slower, judged

THAN = {"spec": "than", "status": "ok", "reason": None, "flags": None}


def row(relative, low, high, verdict, **more):
    return {
        "spec": "mine",
        "status": "ok",
        "reason": None,
        "flags": None,
        "relative": relative,
        "relative_lo": low,
        "relative_hi": high,
        "verdict": verdict,
        **more,
    }


@pytest.mark.parametrize(
    ("mine", "outcome", "words"),
    [
        (row(0.9, 0.88, 0.92, "faster"), "passed", "0.900 times"),
        (row(400.0, 300.0, 500.0, "slower", flags="drift contended"), "skipped", "was busy"),
        (row(1.0, 0.98, 1.02, "same"), "passed", "0.980 to 1.020"),
        (row(1.04, 1.03, 1.05, "slower"), "passed", "the limit is 1.05"),
        (row(1.0, 0.9, 1.04, "unresolved"), "passed", "1.040"),
        (row(1.2, 1.15, 1.25, "slower"), "failed", "slower: it takes 1.200 times"),
        (row(1.06, 1.04, 1.08, "slower"), "skipped", "unresolved: 1.060"),
        (row(1.2, 1.15, 1.25, "unresolved"), "skipped", "unresolved"),
        (row(1.2, 1.15, 1.25, "untrusted"), "skipped", "threads waited for a core"),
        (row(0.9, 0.88, 0.92, "untrusted"), "skipped", "untrusted"),
        (row(1.2, None, None, "unresolved"), "skipped", "too few replicates"),
        (row(1.2, None, None, "unresolved", flags="pressure"), "skipped", "long, no interval;"),
        (row(1.2, float("nan"), float("nan"), "unresolved"), "skipped", "too few replicates"),
        (
            row(None, None, None, None, status="oom", reason="needs 1 TiB"),
            "skipped",
            "oom, needs 1 TiB",
        ),
    ],
)
def test_only_what_is_resolved_fails(mine, outcome, words):
    found, said = judged(mine, THAN, 0.05)
    assert found == outcome
    assert words in said


def test_a_block_that_fails_is_an_error_and_no_matter_of_speed():
    broken = row(None, None, None, None, status="error", reason="RuntimeError: no such luck")
    with pytest.raises(GcbenchError, match="mine cannot be measured: RuntimeError: no such luck"):
        judged(broken, THAN, 0.05)


def measured(monkeypatch, mine):
    """Let gcbench measure what this says; returns what it was asked for."""
    asked = {}

    def bench(arms, shape, **more):
        asked.update(arms=arms, shape=shape, **more)
        return pd.DataFrame([THAN, mine], dtype=object)

    monkeypatch.setattr(gcbench, "bench", bench)
    return asked


def test_it_passes_fails_and_skips_as_pytest_has_it(monkeypatch):
    module = nn.Identity()
    asked = measured(monkeypatch, row(1.0, 0.98, 1.02, "same"))
    assert_no_slower(module, than="gc", by=0.1, shape=(1, 16, 6, 5), mode="train")
    assert asked["arms"] == {"than": "gc", "mine": module}
    assert (asked["shape"], asked["precision"], asked["mode"]) == ((1, 16, 6, 5), 0.05, "train")
    measured(monkeypatch, row(1.2, 1.15, 1.25, "slower"))
    with pytest.raises(AssertionError, match=r"slower: it takes 1\.200 times as long"):
        assert_no_slower(module, than="gc", shape=(1, 16, 6, 5))
    measured(monkeypatch, row(1.2, 1.0, 1.4, "unresolved"))
    with pytest.raises(pytest.skip.Exception, match=r"unresolved: 1\.200 times as long"):
        assert_no_slower(module, than="gc", shape=(1, 16, 6, 5))


def test_the_engine_behind_it_is_the_real_one():
    class Heavy(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(*(nn.Conv2d(16, 16, 3, padding=1) for _ in range(30)))

        def forward(self, x):
            return self.layers(x)

    # where the machine cannot tell, this is skipped, as a user's test would be
    with pytest.raises(AssertionError, match="slower"):
        assert_no_slower(
            Heavy(),
            than="se",
            by=1.0,
            shape=(1, 16, 32, 32),
            device="cpu",
            threads=1,
            max_time_s=2.0,
        )


# --- the format ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    names = ["se", "gc", "torch.nn:Flatten"]
    axes = Axes(channels=16, size=(6, 5), ratio=4, device="cpu")
    return engines.run([engines.compare(names, axes)], Effort(0.5, 0.4))


def written(run):
    return "".join(FORMATS["pytest-benchmark"].load()(tables.rows(run), run.manifest))


def test_pytest_benchmark_compares_what_the_format_writes(run, tmp_path):
    text = written(run)
    for number in ("0001", "0002"):
        (tmp_path / f"{number}_run.json").write_text(text)
    command = [sys.executable, "-m", "pytest_benchmark", "compare", "0001", "0002"]
    command[3:3] = ["--storage", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for words in ("se r4 (0001", "gc r4 (0001", "gc r4 (0002", "Median"):
        assert words in done.stdout


def test_the_format_holds_the_medians_in_seconds_and_tells_what_failed(run):
    saved = json.loads(written(run))
    rows = list(tables.rows(run))
    assert [row["status"] for row in rows] == ["ok", "ok", "error"]
    assert [b["name"] for b in saved["benchmarks"]] == ["se r4", "gc r4"]
    for benchmark, cells in zip(saved["benchmarks"], rows, strict=False):
        assert benchmark["stats"]["median"] == pytest.approx(cells["latency_us"] / 1e6)
        assert benchmark["stats"]["rounds"] == cells["samples"]
        assert benchmark["extra_info"]["macs"] == cells["macs"]
        assert benchmark["fullname"] == cells["key"]
    assert len({b["group"] for b in saved["benchmarks"]}) == 1
    [reason] = saved["not_measured"].values()
    assert reason.startswith("error: IndexError: Dimension out of range")
