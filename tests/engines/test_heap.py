"""The state of the allocator: what a steady heap keeps, and what is said where there is none."""

import json
import subprocess
import sys

import pytest
from runs import manifest

from gcbench import store
from gcbench.measure import heap

# the page faults of copies of 48 MB, more than glibc ever keeps by default, and what the heap says
FAULTS = """
import json, resource, sys
from gcbench.measure import heap
heap.settle(sys.argv[1])
import torch
x, found = torch.zeros(12_000_000), []
for _ in range(20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    x.clone()
    found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
# the first ones may still find room that was never used
print(json.dumps([heap.now(), found[10:]]))
"""

glibc = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc has it")


def faults(wanted):
    command = [sys.executable, "-c", FAULTS, wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@glibc
def test_a_steady_heap_takes_no_page_faults_for_what_was_freed():
    now, found = faults("steady")
    assert now == "steady"
    assert max(found) < 100


@glibc
def test_the_default_heap_maps_a_large_buffer_anew_each_time():
    now, found = faults("default")
    assert now == "default"
    # pages are 4 KiB, or larger where the system makes them so
    assert min(found) > 0


HELD = """
import sys
from gcbench.measure import environment, heap
heap.settle("steady")
import torch

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

before = resident()
torch.ones(100_000_000)
held = resident() - before
environment.free_bytes("cpu")
print(heap.now(), held > 3e8, resident() - before < 1e8)
"""


@glibc
def test_what_a_steady_heap_holds_without_use_counts_as_free():
    command = [sys.executable, "-c", HELD]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["steady", "True", "True"]


def test_runs_of_two_heaps_do_not_compare():
    steady, default = manifest(heap="steady"), manifest()
    [mismatch] = store.mismatches(default, steady)
    assert mismatch == "heap: default then, steady now"


class Libc:
    """A C library without, or with, a heap that can be settled."""

    def __init__(self, answer=None):
        if answer is not None:
            self.gnu_get_libc_version = self.mallopt = lambda *each: answer


@pytest.mark.parametrize("answer", [None, 0])
def test_where_the_library_cannot_the_heap_stays_as_it_is(monkeypatch, answer):
    monkeypatch.setattr(heap, "_now", "default")
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: Libc(answer))
    assert heap.settle("steady") == heap.now() == "default"


def test_where_the_faults_go_on_the_heap_is_not_called_steady(monkeypatch):
    monkeypatch.setattr(heap, "_now", "default")
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: Libc(1))
    monkeypatch.setattr(heap, "_fault_in", lambda libc, size_bytes: 10_000)
    assert heap.settle("steady") == "default"


def test_a_heap_that_is_to_stay_as_it_is_is_not_touched(monkeypatch):
    monkeypatch.setattr(heap, "_now", "default")
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: pytest.fail("it was touched"))
    assert heap.settle("default") == "default"
