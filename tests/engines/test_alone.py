"""Two runs on one device wait for each other or say so; a dead one holds nothing up."""

import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gcbench import engines
from gcbench.engines.device_lock import alone_on
from gcbench.measure import environment
from gcbench.results import tables
from gcbench.spec.cases import Axes, Effort

HOLD = """
import sys
from gcbench.engines.device_lock import alone_on
with alone_on("cpu", True, print) as alone:
    print("held", alone, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder():
    """Another process that holds the CPU until its stdin is closed."""
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held True\n"
        yield process
        process.kill()


def test_a_device_that_nobody_measures_is_had_at_once_and_given_back():
    told = []
    for _ in range(2):
        with alone_on("cpu", True, told.append) as alone:
            assert alone
    assert told == []
    assert not list(Path(tempfile.gettempdir()).glob("gcbench-*.pid"))


def test_without_waiting_the_other_is_named_and_every_row_says_so(holder):
    told = []
    comparison = engines.compare(["se"], Axes(device="cpu", channels=16, size=(4, 4), ratio=4))
    run = engines.run([comparison], Effort(0.5, 0.1), wait=False, tell=told.append)
    assert len(told) == 1
    assert f"another gcbench measures on cpu (process {holder.pid})" in told[0]
    table = tables.frame(run)
    assert table["status"].tolist() == ["ok"]
    assert "not_alone" in table["flags"].iloc[0].split()


def test_waiting_ends_when_the_other_does(holder):
    told, entered = queue.Queue(), threading.Event()

    def wait():
        with alone_on("cpu", True, told.put) as alone:
            assert alone
            entered.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert "waiting for it" in told.get(timeout=20)
    assert not entered.is_set()
    holder.stdin.close()
    waiting.join(20)
    assert entered.is_set()


def test_a_process_that_is_killed_holds_nothing_up(holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    told = []
    with alone_on("cpu", True, told.append) as alone:
        assert alone
    assert told == []


def test_where_no_lock_can_be_had_it_is_said_and_measured_all_the_same(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file" / "nothing"))
    told = []
    with alone_on("cpu", True, told.append) as alone:
        assert alone
    assert "cannot lock" in told[0]


def test_what_a_link_points_to_is_left_alone():
    folder = Path(tempfile.gettempdir())
    precious = folder / "precious"
    precious.write_text("mine")
    (folder / "gcbench-cpu.pid").symlink_to(precious)
    with alone_on("cpu", True, print):
        pass
    assert precious.read_text() == "mine"
    precious.unlink()


def test_a_cuda_device_is_known_by_its_identity_and_not_by_its_index(monkeypatch):
    identities = {"cuda:0": "aaaa", "cuda:1": "bbbb"}
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda device: SimpleNamespace(uuid=identities[device]),
    )
    assert environment.device_id("cuda:1") == "cuda-bbbb"
    assert environment.device_id("cpu") == "cpu"
