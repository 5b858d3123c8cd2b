"""A case can end only itself: whatever kills, stops or fills its process is a row with a reason."""

import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from harmful import BRIEF, MODULES, SMALL, alive, gone, measured

from gcbench import engines
from gcbench.engines.attempts import Bounds
from gcbench.engines.isolated import Isolated
from gcbench.engines.jobs import Job, Listener
from gcbench.errors import GcbenchError
from gcbench.measure import heap
from gcbench.records import Measurement
from gcbench.spec import grid
from gcbench.spec.cases import Axes

# leave processes in sessions of their own, whose parents are gone
MODULES += """
class Daemon(Real):
    def harm(self):
        if not Path("daemons").exists():
            sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
            child = subprocess.Popen(sleep, start_new_session=True)
            read, write = os.pipe()
            if os.fork() == 0:
                os.setsid()
                forked = os.fork()
                if forked == 0:
                    time.sleep(600)
                os.write(write, str(forked).encode())
                os._exit(0)
            Path("daemons").write_text(f"{child.pid} {os.read(read, 99).decode()}")
"""


@pytest.fixture
def modules(tmp_path, monkeypatch):
    (tmp_path / "harmful_blocks.py").write_text(MODULES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.slow
def test_five_ways_to_fail_are_five_rows_and_the_others_are_measured(modules):
    bad = ["Segfaults", "Exits", "Loops", "Hoards", "Raises"]
    record = measured(["gc", *(f"harmful_blocks:{name}" for name in bad), "se"], timeout_s=8.0)
    found = {m.case.block.rpartition(":")[2]: (m.status, m.reason) for m in record.measurements}
    assert found["gc"] == found["se"] == ("ok", None)
    assert found["Segfaults"] == ("crashed", "its process ended with signal 11 (SIGSEGV)")
    assert found["Exits"] == ("crashed", "its process ended with exit code 1")
    assert found["Loops"][0] == "timeout"
    assert "took more than 8 s" in found["Loops"][1]
    assert found["Hoards"][0] == "oom"
    assert "allocate memory" in found["Hoards"][1]
    assert found["Raises"] == ("error", "RuntimeError: I never work (harmful_blocks.py:39)")
    [timing] = record.timings
    assert {arm.case for arm in timing.arms} == {0, 6}
    # what was counted before it failed is kept
    assert record.measurements[5].metrics["params"] == 0


@pytest.mark.slow
def test_a_case_that_dies_while_it_is_counted_is_blamed(modules):
    record = measured(["se", "harmful_blocks:Counted"])
    assert [m.status for m in record.measurements] == ["ok", "crashed"]
    assert record.measurements[1].reason == "its process ended with exit code 3"


@pytest.mark.slow
def test_a_case_that_dies_while_all_are_timed_is_found_by_timing_each_alone(modules):
    record = measured(["se", "harmful_blocks:Later", "gc"])
    assert [m.status for m in record.measurements] == ["ok", "crashed", "ok"]
    reason = record.measurements[1].reason
    assert reason.startswith("its process ended with exit code 9, when it was timed alone")
    # what was counted of it stays, and what it needs, for where a kill was for want of memory
    assert record.measurements[1].metrics["params"] == 0
    assert record.measurements[1].needed_bytes > 0


@pytest.mark.slow
def test_a_baseline_that_crashes_leaves_the_others_without_relatives(modules):
    record = measured(["harmful_blocks:Exits", "se"])
    assert [m.status for m in record.measurements] == ["crashed", "ok"]
    assert record.measurements[1].flags == ("baseline_failed",)
    assert record.baselines == (0, 0)


@pytest.mark.slow
def test_one_worker_measures_many_comparisons_and_known_cases_are_not_tried(modules):
    comparison = engines.compare(["se", "harmful_blocks:Exits"], SMALL)
    known = {1: Measurement(comparison.cases[1], "skipped", "known")}
    with Isolated(60.0) as isolated:
        first = isolated.measure(Job(comparison, BRIEF, known=known))
        worker = isolated._worker
        second = isolated.measure(Job(comparison, BRIEF, known=known))
        assert isolated._worker is worker
    for record in (first, second):
        assert [m.status for m in record.measurements] == ["ok", "skipped"]
        assert record.measurements[1].reason == "known"


@pytest.mark.slow
def test_nothing_of_a_case_goes_on_before_it_was_heard_which(modules):
    comparison = engines.compare(["harmful_blocks:Later", "se"], SMALL)

    def calls():
        return [path.read_text() for path in modules.glob("calls-*")]

    heard = []

    def slowly(trying):
        before = calls()
        time.sleep(0.5)
        heard.append((trying.case, calls() == before))

    with Isolated(60.0) as isolated:
        isolated.measure(Job(comparison, BRIEF), Listener(on_trying=slowly))
    # before it is counted, before it is called, and then the next
    assert heard[:3] == [(0, True), (0, True), (1, True)]
    assert all(stood_still for _, stood_still in heard)


@pytest.mark.slow
def test_a_worker_that_is_lost_between_two_comparisons_blames_nobody(modules):
    comparison = engines.compare(["se"], SMALL)
    with Isolated(60.0) as isolated:
        isolated.measure(Job(comparison, BRIEF))
        guard = psutil.Process(isolated._worker._process.pid)
        workers = guard.children(recursive=True)
        guard.kill()
        # it takes its worker along, in a moment of its own
        psutil.wait_procs(workers, timeout=30)
        again = isolated.measure(Job(comparison, BRIEF))
    assert [m.status for m in again.measurements] == ["ok"]


@pytest.mark.slow
def test_a_worker_that_cannot_start_is_an_error_and_no_row(modules):
    (modules / "fvcore").mkdir()
    (modules / "fvcore" / "__init__.py").write_text("import os; os._exit(6)")
    with pytest.raises(GcbenchError, match="ended with exit code 6"):
        measured(["se"])


@pytest.mark.slow
@pytest.mark.parametrize("settled", ["default", "steady"])
def test_a_limit_on_memory_is_met_by_the_case_that_needs_more(modules, monkeypatch, settled):
    # a heap that grows in large steps would use the limit up
    monkeypatch.setattr(heap, "_now", settled)
    comparison = engines.compare(
        ["se", "nl"], Axes(device="cpu", channels=8, size=(56, 56), ratio=4)
    )
    with Isolated(60.0) as isolated:
        tight = isolated.measure(Job(comparison, BRIEF, bounds=Bounds(memory_bytes=64 * 2**20)))
        # nothing is left of the limit for the next comparison
        wide = isolated.measure(Job(comparison, BRIEF))
    assert [m.status for m in tight.measurements] == ["ok", "oom"]
    assert "--memory-limit is 64.0 MiB" in tight.measurements[1].reason
    assert [m.status for m in wide.measurements] == ["ok", "ok"]


@pytest.mark.slow
def test_a_block_that_ran_out_of_memory_is_not_tried_where_it_needs_as_much(modules):
    comparison = engines.compare(["se", "nl"], SMALL)
    record = measured(["se", "nl"], bounds=Bounds(ran_out={"nl": 100}))
    assert [m.status for m in record.measurements] == ["ok", "skipped"]
    assert "nl ran out of memory at 100 B" in record.measurements[1].reason
    assert record.measurements[1].case == comparison.cases[1]
    assert record.measurements[1].metrics["params"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_however_the_parent_ends_nothing_that_was_started_is_left(modules, how):
    script = """
        from gcbench import engines
        from gcbench.engines.isolated import Isolated
        from gcbench.engines.jobs import Job
        from gcbench.spec.cases import Effort
        from gcbench.spec.cases import Axes
        axes = Axes(device="cpu", channels=16, size=(6, 5), ratio=4)
        with Isolated(600.0) as isolated:
            isolated.measure(
                Job(engines.compare(["harmful_blocks:Parent"], axes), Effort(0.5, 0.3))
            )
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 60
        while not (modules / "grandchild").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.1)
        worker, grandchild = (modules / "grandchild").read_text().split()
        assert alive(worker)
        assert alive(grandchild)
        process.send_signal(how)
        process.wait(30)
    assert gone([worker, grandchild])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_what_a_block_left_in_a_session_of_its_own_ends_with_its_worker(modules):
    record = measured(["se", "harmful_blocks:Daemon"])
    assert [m.status for m in record.measurements] == ["ok", "ok"]
    daemons = (modules / "daemons").read_text().split()
    assert len(daemons) == 2
    assert gone(daemons)


def test_ratios_that_leave_no_channel_are_told_before_anything_is_built():
    [case] = engines.compare(["se"], SMALL).cases
    assert grid.why_not(case) is None
    assert grid.why_not(replace(case, ratio=32)) == "ratio=32 leaves no channel of 16"
