"""Several GPUs: the same comparisons on each in turn, under its own lock, in rows of its own."""

import csv
import io
import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gcbench import engines, store
from gcbench.analysis import compare
from gcbench.cli.app import main
from gcbench.engines import device_lock, measuring, sweeps
from gcbench.measure import environment
from gcbench.spec.grid import Sweep

BOTH = ("--device", "cuda:0,cuda:1")
SMALL = ("-C", "16", "-r", "4", "--cache", "warm", "--max-time", "0.3s", "--precision", "50%")

NETWORK = """
from torch import nn

class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 16, 3, padding=1)

    def forward(self, x):
        return self.body(x).mean((2, 3))

def small():
    return Small()
"""


@pytest.fixture
def devices(gpu, monkeypatch, foreign_code_here):
    """Two devices; what is done with their locks, in order."""
    held = []
    for module in (environment, device_lock):
        monkeypatch.setattr(module, "device_id", lambda device: device.replace(":", "-"))
    manifest = environment.manifest

    def with_devices(run, seed):
        made = manifest(run, seed)
        return replace(made, devices=made.devices | {"cuda:0": "Made-up", "cuda:1": "Made-up"})

    monkeypatch.setattr(environment, "manifest", with_devices)

    @contextmanager
    def noted(device, wait, tell):
        held.append(f"{device} taken")
        with device_lock.alone_on(device, wait, tell) as free:
            yield free
        held.append(f"{device} free")

    for module in (engines, measuring):
        monkeypatch.setattr(module, "alone_on", noted)
    return held


def ran(*arguments):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return end.value.code or 0


def rows_of(*arguments, capsys):
    assert ran("report", *arguments, "--format", "csv") == 0
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


ONE_AFTER_THE_OTHER = ["cuda:0 taken", "cuda:0 free", "cuda:1 taken", "cuda:1 free"]


def test_bench_measures_on_each_device_in_turn(devices, capsys):
    assert ran("bench", "gc", "se", "-s", "6x5", *SMALL, *BOTH, "-o", "run.jsonl") == 0
    shown = capsys.readouterr().out
    assert "cuda:0: Made-up" in shown
    assert "cuda:1: Made-up" in shown
    assert devices == ONE_AFTER_THE_OTHER
    rows = rows_of("run.jsonl", capsys=capsys)
    assert [row["device"] for row in rows] == ["cuda:0"] * 2 + ["cuda:1"] * 2
    assert [row["status"] for row in rows] == ["ok"] * 4
    assert [row["key"] for row in rows[:2]] == [row["key"] for row in rows[2:]]
    assert [row["verdict"] for row in rows][::2] == ["baseline"] * 2
    assert len(store.statuses(Path("run.jsonl"))) == 4


def test_a_network_is_measured_on_each_device_in_turn(devices, capsys):
    Path("nets.py").write_text(NETWORK)
    asked = ("nets:small", "--insert", "se@body", "-s", "8", "--max-time", "0.1s", *BOTH)
    assert ran("network", *asked, "--cache", "warm", "--precision", "50%", "-o", "run.jsonl") == 0
    assert devices == ONE_AFTER_THE_OTHER
    capsys.readouterr()
    rows = rows_of("run.jsonl", capsys=capsys)
    assert [row["device"] for row in rows] == ["cuda:0"] * 2 + ["cuda:1"] * 2
    assert [row["spec"] for row in rows] == ["plain", "se@body"] * 2
    assert [row["status"] for row in rows] == ["ok"] * 4


def test_devices_of_two_kinds_are_a_sweep(devices, capsys):
    assert ran("bench", "gc", "--device", "cpu,cuda:0") == 2
    assert "takes devices of one kind" in capsys.readouterr().err


def test_a_device_named_twice_is_measured_once(devices):
    twice = Sweep(("gc",), device=("cuda:1", "cuda:1"), cache=("warm",))
    [only] = sweeps.comparisons(twice)
    assert (only.device, only.kind) == ("cuda:1", None)


def test_a_sweep_over_devices_goes_on_where_it_stopped_and_compares(devices, capsys):
    grid = ("sweep", "gc", "se", "-s", "5,6", *SMALL, *BOTH, "--engine", "inline")
    assert ran(*grid, "-o", "run.jsonl") == 0
    assert devices == ONE_AFTER_THE_OTHER
    lines = Path("run.jsonl").read_text().splitlines(keepends=True)
    assert [json.loads(line)["kind"] for line in lines[1:]] == ["cuda:0"] * 2 + ["cuda:1"] * 2
    Path("run.jsonl").write_text("".join(lines[:4]))
    devices.clear()
    capsys.readouterr()
    assert ran("sweep", "--resume", "run.jsonl") == 0
    assert devices == ["cuda:1 taken", "cuda:1 free"]
    assert "2 cases in 1 comparison into" in capsys.readouterr().err
    rows = rows_of("run.jsonl", capsys=capsys)
    assert [(row["device"], row["height"]) for row in rows[::2]] == [
        *(("cuda:0", "5"), ("cuda:0", "6")),
        *(("cuda:1", "5"), ("cuda:1", "6")),
    ]
    assert {row["status"] for row in rows} == {"ok"}
    assert ran("report", "run.jsonl", "--rows", "size", "--value", "latency_us") == 0
    # a place of a pivot never holds two cases
    pivot = capsys.readouterr().out
    assert "cuda:0" in pivot
    assert "cuda:1" in pivot
    found = compare.match_runs(*(store.load(Path("run.jsonl")) for _ in range(2)))
    assert len(found.pairs) == len(found.judged) == 8
    assert ran("sweep", "--resume", "run.jsonl") == 0
    assert devices == ["cuda:1 taken", "cuda:1 free"]
