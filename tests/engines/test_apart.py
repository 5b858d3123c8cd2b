"""Arms in workers of their own, for real: one for each heap, and rows for what fails there."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest
from runs import manifest

from gcbench import engines
from gcbench.engines import apart
from gcbench.engines.apart import Apart, Seat
from gcbench.engines.attempts import Bounds
from gcbench.engines.isolated import Isolated
from gcbench.engines.jobs import Job, Listener
from gcbench.errors import LimitError, UsageError
from gcbench.measure import heap
from gcbench.results import tables
from gcbench.spec import grid
from gcbench.spec.cases import Axes, Effort, parse_pair

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs glibc"),
]

SMALL = Axes(device="cpu", channels=16, size=(6, 5), ratio=4, threads=1)
HEAPS = parse_pair("--pair", "heap", SMALL)
BRIEF = Effort(precision=0.5, max_time_s=0.3)
# no precision ends it before a block was called often enough, however busy the machine is
CALLED_OFTEN = Effort(precision=1e-9, max_time_s=3.0)

MODULES = """
import os
import sys
import time
from pathlib import Path
import torch
from torch import nn

class Real(nn.Module):
    # does what it does on a real device only, and notes each call in a file of its process
    def __init__(self, channels):
        super().__init__()
    def forward(self, x):
        if x.device.type != "meta":
            path = Path(f"calls-{os.getpid()}")
            path.open("a").write(".")
            if path.stat().st_size > 40:
                self.later()
        return x + 1
    def later(self):
        pass

class Ends(Real):
    def later(self):
        os._exit(9)

class EndsSteady(Real):
    # in the process whose heap was settled, which it cannot see: the first one to write
    def later(self):
        try:
            Path("ended").touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), 9)

class Hangs(Real):
    def later(self):
        time.sleep(600)

class Raises(Real):
    def later(self):
        raise RuntimeError("no more")

class Leaves(Real):
    def later(self):
        raise KeyboardInterrupt

class Hoards(Real):
    def later(self):
        self.hoard = torch.ones(25 * 2**30)

class Large(nn.Module):
    # more than glibc ever keeps by default, anew in each call
    def __init__(self, channels):
        super().__init__()
    def forward(self, x):
        if x.device.type != "meta":
            torch.ones(12_000_000)
        return x + 1
"""


@pytest.fixture
def modules(tmp_path, monkeypatch):
    (tmp_path / "far_blocks.py").write_text(MODULES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def job_of(names, effort=BRIEF, **more):
    return Job(engines.compare(names, SMALL, pair=HEAPS), effort, **more)


def measured(names, timeout_s=60.0, **more):
    with Isolated(timeout_s) as isolated:
        return isolated.measure(job_of(names, **more))


def processes(folder):
    return {int(path.name.partition("-")[2]) for path in folder.glob("calls-*")}


def gone(pids, within_s=20.0):
    deadline = time.monotonic() + within_s
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_each_heap_has_a_process_and_so_have_second_copies_of_baselines(modules):
    record = measured(["far_blocks:Real", "se"])
    assert [m.status for m in record.measurements] == ["ok"] * 4
    assert len(processes(modules)) == 3
    assert os.getpid() not in processes(modules)
    assert gone(processes(modules))
    [timing] = record.timings
    assert sorted(arm.case for arm in timing.arms if arm.role == "case") == [0, 1, 2, 3]
    # a clone of the input depends on the heap too
    assert {arm.case for arm in timing.arms if arm.role == "copy"} == {0, 1}
    for replicate in timing.replicates:
        assert all(replicate.samples_ns)
        assert replicate.disturbance.cpu_ns > 0
    rows = list(tables.rows_of(record, manifest(heap="steady")))
    assert [row["heap"] for row in rows] == ["steady", "default"] * 2
    assert [row["pair"] for row in rows] == ["heap"] * 4
    assert [row["verdict"] for row in rows][::2] == ["baseline"] * 2
    assert rows[1]["relative"] > 0


def test_the_default_heap_pays_for_pages_and_the_steady_one_does_not(modules):
    record = measured(["far_blocks:Large"], effort=Effort(0.5, 1.5))
    steady, default = tables.rows_of(record, manifest(heap="steady"))
    assert steady["minor_faults"] < 100
    # 48 MB in pages of 4 KiB, or larger where the system makes them so
    assert default["minor_faults"] > 0
    assert "page_faults" in default["flags"] or default["minor_faults"] < 100


@pytest.mark.parametrize(
    ("block", "status", "reason"),
    [
        ("Ends", "crashed", "its process ended with exit code 9, while it was timed"),
        ("Raises", "error", "RuntimeError: no more (far_blocks.py:42)"),
        ("Leaves", "error", "KeyboardInterrupt (far_blocks.py:46)"),
        ("Hoards", "oom", None),
    ],
)
def test_what_fails_in_a_worker_is_a_row_and_the_others_are_timed(modules, block, status, reason):
    record = measured(["se", f"far_blocks:{block}"], effort=CALLED_OFTEN)
    statuses = [m.status for m in record.measurements]
    assert statuses[:2] == ["ok", "ok"]
    assert status in statuses[2:]
    assert set(statuses[2:]) <= {status, "ok"}
    failed = next(m for m in record.measurements if m.status != "ok")
    assert failed.reason == reason or reason is None
    [timing] = record.timings
    assert {0, 1} <= {arm.case for arm in timing.arms}
    assert gone(processes(modules))


def test_a_worker_that_is_killed_in_the_middle_costs_one_row(modules):
    record = measured(["far_blocks:EndsSteady", "se"], effort=CALLED_OFTEN)
    statuses = [m.status for m in record.measurements]
    assert sorted(statuses) == ["crashed", "ok", "ok", "ok"]
    assert statuses[2:] == ["ok", "ok"]
    reason = next(m.reason for m in record.measurements if m.status == "crashed")
    assert reason.startswith("its process ended with signal 9 (SIGKILL")
    assert gone(processes(modules))


def test_a_worker_that_hangs_is_ended_and_its_case_is_a_row(modules):
    record = measured(["se", "far_blocks:Hangs"], timeout_s=6.0)
    statuses = [m.status for m in record.measurements]
    assert statuses[:2] == ["ok", "ok"]
    assert "timeout" in statuses[2:]
    assert gone(processes(modules))


def test_what_all_arms_need_together_is_foreseen(modules):
    bounds = Bounds(memory_bytes=15_000)
    record = measured(["far_blocks:Real"], bounds=bounds)
    assert "oom" in [m.status for m in record.measurements]
    assert not record.timings


def test_workers_live_on_for_the_next_comparison(modules):
    with Isolated(60.0) as isolated:
        first = isolated.measure(job_of(["se"]))
        hands = dict(isolated._apart._hands)
        second = isolated.measure(job_of(["gc"]))
        assert isolated._apart._hands == hands
        assert set(hands) == {Seat("steady"), Seat("default"), Seat("steady", twins=True)}
    for record in (first, second):
        assert [m.status for m in record.measurements] == ["ok", "ok"]


@pytest.mark.slow
def test_a_worker_that_the_next_comparison_has_no_use_for_is_ended(modules):
    with Isolated(60.0) as isolated:
        whole = job_of(["se"])
        isolated.measure(whole)
        part = replace(whole, comparison=grid.part(whole.comparison, [0]))
        record = isolated.measure(part)
        assert [m.status for m in record.measurements] == ["ok"]
        [kept] = {seat.heap for seat in isolated._apart._hands}
        assert kept == part.comparison.cases[0].heap
        assert len(record.timings) == 1


def test_an_interrupt_keeps_what_was_timed_and_leaves_no_process(modules):
    seen = []

    def stop(step):
        seen.append(step.replicates)
        if step.replicates == 2:
            raise KeyboardInterrupt

    with Isolated(60.0) as isolated:
        job = job_of(["far_blocks:Real", "se"], effort=Effort(1e-6, 60.0), partial=True)
        record = isolated.measure(job, Listener(stop))
        assert record.interrupted
        assert len(record.timings[0].replicates) == 2
        assert gone(processes(modules))
        # and the next one begins anew
        assert isolated.measure(job_of(["se"])).measurements[0].status == "ok"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_however_the_one_who_asks_ends_no_worker_is_left(modules, how):
    script = """
        from gcbench import engines
        from gcbench.engines.isolated import Isolated
        from gcbench.engines.jobs import Job
        from gcbench.spec.cases import Effort
        from gcbench.spec.cases import Axes, parse_pair
        axes = Axes(device="cpu", channels=16, size=(6, 5), ratio=4, threads=1)
        comparison = engines.compare(
            ["far_blocks:Real"], axes, pair=parse_pair("--pair", "heap", axes)
        )
        with Isolated() as isolated:
            isolated.measure(Job(comparison, Effort(1e-6, 600.0)))
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 90
        while len(processes(modules)) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        pids = processes(modules)
        assert len(pids) == 3
        process.send_signal(how)
        process.wait(30)
    assert gone(pids)


def test_three_fresh_sets_of_processes_are_pooled(modules):
    record = measured(["far_blocks:Real"], effort=Effort(0.5, 0.9, processes=3))
    assert len(record.timings) == 3
    assert len(processes(modules)) == 9


def test_where_memory_is_short_no_worker_is_started(monkeypatch):
    monkeypatch.setattr(apart, "free_bytes", lambda device: 2**30)
    engine = Apart(60.0)
    with pytest.raises(LimitError, match=r"take 3 of about 400 MiB, and 1\.00 GiB of memory"):
        engine.measure(job_of(["se"]), Listener())
    assert not engine._hands


def test_a_heap_that_a_machine_lacks_is_one_sentence(monkeypatch):
    with pytest.raises(UsageError, match="--pair heap is of what a CPU runs"):
        heap.require_both("--pair heap", "cuda:0")
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: object())
    with pytest.raises(UsageError, match="--pair heap needs glibc"):
        engines.compare(["se"], SMALL, pair=HEAPS)
