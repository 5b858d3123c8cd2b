"""What a process meets while a sample runs: page faults, and threads without a core."""

import mmap
import subprocess
import sys
from pathlib import Path

import pytest

from gcbench.measure.cores import Totals, tell_of_busy_cores
from gcbench.measure.timing.clocks import CpuClock, Sample
from gcbench.measure.timing.watching import Met, watching

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells it")
PAGES = 500
# this process and another one share a core for a while; what the watch says of it
SHARED = """
import os, subprocess, sys, time
from gcbench.measure.timing.watching import watching
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
endless = subprocess.Popen([sys.executable, "-c", "while True: pass"])
with watching() as watch:
    before, end = watch(), time.process_time() + 0.2
    while time.process_time() < end:
        pass
    print(watch().since(before).waiting_ns)
endless.kill()
endless.wait()
"""


class Touching:
    """A call that writes to pages which it never had before."""

    repeatable, cold, queueing, turns = True, False, "fits", 1

    def prepare(self):
        self.memory = mmap.mmap(-1, PAGES * mmap.PAGESIZE)

    def call(self):
        for page in range(PAGES):
            self.memory[page * mmap.PAGESIZE] = 1


@linux
def test_a_sample_knows_its_page_faults():
    reading = CpuClock().time([[Sample(Touching(), 1)], [Sample(Touching(), 1)]])
    assert [len(mets) for mets in reading.met] == [1, 1]
    for [met] in reading.met:
        # huge pages would take fewer
        assert PAGES / 600 <= met.faults <= PAGES + 50


@linux
def test_a_thread_that_shares_its_core_waits_about_as_long_as_it_runs():
    done = subprocess.run(
        [sys.executable, "-c", SHARED], capture_output=True, text=True, check=True
    )
    if done.stdout.strip() == "None":
        pytest.skip("this kernel does not tell")
    assert int(done.stdout) > 0.02e9


def test_what_is_not_known_before_is_not_known_after():
    assert Met(5, None).since(Met(2, None)) == Met(3, None)
    assert Met(5, 70).since(Met(2, 50)) == Met(3, 20)


@linux
def test_watching_leaves_no_file_open():
    def held():
        return len(list(Path("/proc/self/fd").iterdir()))

    with watching() as watch:
        watch()
    before = held()
    for _ in range(5):
        with watching() as watch:
            watch()
    assert held() == before


class Cores:
    """A machine some of whose cores are idle, and some of which this process has."""

    def __init__(self, idle, own=0.0):
        self.idle, self.own, self.ns = idle, own, 0

    def read(self):
        idle_ns = None if self.idle is None else round(self.idle * self.ns)
        return Totals(self.ns, idle_ns, round(self.own * self.ns))

    def sleep(self, seconds):
        self.ns += round(1e9 * seconds)

    def told(self, threads, monkeypatch, usable=4):
        said = []
        monkeypatch.setattr("gcbench.measure.environment.usable_cores", lambda: usable)
        monkeypatch.setattr("gcbench.measure.cores._begun", None)
        tell_of_busy_cores(threads, said.append, self.read, self.sleep)
        return said


@pytest.mark.parametrize(
    ("idle", "own", "threads", "advice"),
    [
        (4.0, 0.0, 4, None),
        (3.0, 1.0, 4, None),
        (3.0, 0.0, 4, "--threads 3"),
        (1.1, 0.0, 2, "--threads 1"),
        (0.2, 0.9, 2, "--threads 1"),
        (1.0, 0.0, 1, None),
        (2.0, 0.0, 2, None),
        (0.1, 0.0, 1, "close them"),
        (4.0, 0.0, 8, None),
        (None, 0.0, 2, None),
    ],
)
def test_fewer_free_cores_than_threads_are_told_before_anything_is_measured(
    monkeypatch, idle, own, threads, advice
):
    said = Cores(idle, own).told(threads, monkeypatch)
    assert len(said) == (advice is not None)
    assert all(advice in text and f"{threads} thread" in text for text in said)


def test_what_was_looked_at_while_torch_was_loaded_is_not_waited_for_again(monkeypatch):
    machine, waited = Cores(2.0), []
    monkeypatch.setattr("gcbench.measure.environment.usable_cores", lambda: 2)
    monkeypatch.setattr("gcbench.measure.cores._begun", machine.read())
    machine.sleep(2.0)
    tell_of_busy_cores(2, waited.append, machine.read, waited.append)
    assert waited == [0.0]
