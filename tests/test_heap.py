"""The state of the allocator: what a steady heap keeps, and what is said where there is none."""

import json
import subprocess
import sys

import pytest

from gcbench import heap

# the page faults of copies of 48 MB, more than glibc ever keeps by default, and what the heap says
FAULTS = """
import json, resource, sys
from gcbench import heap
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
    monkeypatch.setattr(heap, "_fault_in", lambda libc: 10_000)
    assert heap.settle("steady") == "default"


def test_a_heap_that_is_to_stay_as_it_is_is_not_touched(monkeypatch):
    monkeypatch.setattr(heap, "_now", "default")
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: pytest.fail("it was touched"))
    assert heap.settle("default") == "default"
