"""Fresh processes: each measures anew, and what one of them meets is not lost."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from gcbench import engines
from gcbench.measure import environment
from gcbench.results import tables
from gcbench.spec.cases import Axes, Effort

SMALL = Axes(device="cpu", channels=16, size=(6, 5), ratio=4, threads=1)
THREE = Effort(precision=0.5, max_time_s=0.9, processes=3)

MODULES = """
import os
import time
from pathlib import Path
import torch
from torch import nn

class Notes(nn.Module):
    def __init__(self, channels):
        super().__init__()
        with Path("pids").open("a") as file:
            file.write(f"{os.getpid()}\\n")
        print("this is not the answer", flush=True)
        os.write(1, b"nor is this\\n")
    def forward(self, x):
        return x + 1

class SecondTime(nn.Module):
    def __init__(self, channels):
        super().__init__()
    def forward(self, x):
        if x.device.type == "meta":
            return x + 1
        if not self.training and len(set(Path("pids").read_text().split())) >= 3:
            raise RuntimeError("not again")
        return x + 1

class Forks(nn.Module):
    def __init__(self, channels):
        super().__init__()
    def forward(self, x):
        if x.device.type != "meta":
            if os.fork() == 0:
                time.sleep(300)  # with the pipe open
            os._exit(7)
        return x + 1

class Interrupts(nn.Module):
    def __init__(self, channels):
        super().__init__()
    def forward(self, x):
        if x.device.type != "meta":
            raise KeyboardInterrupt
        return x + 1

class Tells(nn.Module):
    def __init__(self, channels):
        super().__init__()
    def forward(self, x):
        if x.device.type != "meta":
            backends = torch.backends
            switches = backends.cuda.matmul.fp32_precision, backends.cudnn.conv.fp32_precision
            raise RuntimeError(f"{switches} {backends.cudnn.benchmark}")
        return x + 1

class Dies(nn.Module):
    def __init__(self, channels):
        super().__init__()
    def forward(self, x):
        if x.device.type != "meta":
            os._exit(7)
        return x + 1
"""


@pytest.fixture
def modules(tmp_path, monkeypatch):
    (tmp_path / "fresh_blocks.py").write_text(MODULES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def measured(names, effort=THREE, **more):
    return engines.run([engines.compare(names, SMALL)], effort, **more)


@pytest.mark.slow
def test_three_processes_measure_one_comparison_and_their_replicates_are_put_together(modules):
    seen = []
    run = measured(["se", "fresh_blocks:Notes"], on_progress=seen.append)
    [record] = run.comparisons
    assert len(record.timings) == 3
    # the three, and a fork of each and of this one, in which the blocks run on the meta device
    pids = set((modules / "pids").read_text().split())
    assert len(pids) == 3 + 4
    assert str(os.getpid()) not in pids
    table = tables.frame(run)
    assert table["status"].tolist() == ["ok", "ok"]
    assert table["processes"].tolist() == [3, 3]
    assert table["replicates"].tolist() == [sum(len(t.replicates) for t in record.timings)] * 2
    elapsed = [step.elapsed_s for step in seen]
    assert elapsed == sorted(elapsed)
    assert {step.budget_s for step in seen} == {0.9}


@pytest.mark.slow
def test_a_case_that_fails_in_one_process_is_not_ok(modules):
    (modules / "pids").write_text("1\n")
    table = tables.frame(measured(["se", "fresh_blocks:SecondTime", "fresh_blocks:Notes"]))
    status = table.set_index("spec")["status"]
    assert status["se"] == status["fresh_blocks:Notes"] == "ok"
    assert status["fresh_blocks:SecondTime"] == "error"
    failed = table[table["status"] == "error"].iloc[0]
    assert "not again" in failed["reason"]
    assert failed[["latency_us", "relative", "verdict"]].isna().all()


@pytest.mark.slow
def test_a_case_that_ends_its_process_is_told_with_how_and_the_others_go_on(modules):
    table = tables.frame(measured(["se", "fresh_blocks:Dies"]))
    assert table["status"].tolist() == ["ok", "crashed"]
    assert table["reason"][1] == "its process ended with exit code 7"
    assert table["processes"].tolist()[0] == 3
    assert table["latency_us"].notna().tolist() == [True, False]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("block", "status", "words"),
    [
        ("Forks", "crashed", "its process ended with exit code 7"),
        ("Interrupts", "error", "it broke off with KeyboardInterrupt (fresh_blocks.py:43)"),
    ],
)
def test_what_a_block_leaves_behind_or_raises_holds_nothing_up(
    modules, block, status, words, capfd
):
    table = tables.frame(measured(["se", f"fresh_blocks:{block}"]))
    assert table["status"].tolist() == ["ok", status]
    assert table["reason"][1] == words
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("switch", ["on", "off"])
def test_switches_of_torch_are_the_same_in_every_process(modules, switch, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", switch == "on")
    with environment.tf32(switch):
        table = tables.frame(measured(["fresh_blocks:Tells"]))
    wanted = "tf32" if switch == "on" else "ieee"
    [reason] = table["reason"]
    assert reason.startswith(f"RuntimeError: {(wanted, wanted)} {switch == 'on'} (")


@pytest.mark.slow
def test_an_interrupt_leaves_no_process_behind():
    command = [sys.executable, "-m", "gcbench", "bench", "se", "-s", "8", "--rigorous"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        children = []
        deadline = time.monotonic() + 60
        while not children and time.monotonic() < deadline:
            time.sleep(0.1)
            told = subprocess.run(
                ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True
            )
            children = told.stdout.split()
        assert children
        time.sleep(1)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 130
        assert b"Traceback" not in process.stderr.read()
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(int(child), 0)
