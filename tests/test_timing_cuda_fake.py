"""What the CUDA clock does with events, seen by a torch that only takes notes."""

import gc
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from gcbench.timing.clocks import CudaClock, Sample, WorkError


class FakeCuda:
    """Notes what is enqueued, and passes device time for it."""

    def __init__(self):
        self.log = []
        self.at_ms = 0.0

    def event(self, *, enable_timing=False):
        assert enable_timing
        return FakeEvent(self)

    @contextmanager
    def device(self, name):
        self.log.append(f"enter {name}")
        yield
        self.log.append("leave")

    def synchronize(self):
        assert not gc.isenabled()
        self.log.append("synchronize")

    def note(self, what, ms):
        self.log.append(what)
        self.at_ms += ms


class FakeEvent:
    def __init__(self, cuda):
        self._cuda = cuda
        self._at_ms = None

    def record(self):
        self._cuda.log.append("event")
        self._at_ms = self._cuda.at_ms

    def elapsed_time(self, end):
        assert "synchronize" in self._cuda.log, "read before the device had finished"
        return end._at_ms - self._at_ms


class NotingWork:
    repeatable = True
    cold = False

    def __init__(self, cuda, name, ms):
        self._cuda, self._name, self._ms = cuda, name, ms

    def prepare(self):
        self._cuda.note(f"prepare {self._name}", 7.0)

    def call(self):
        assert not gc.isenabled()
        self._cuda.note(f"call {self._name}", self._ms)


@pytest.fixture
def cuda(monkeypatch):
    fake = FakeCuda()
    module = SimpleNamespace(Event=fake.event, device=fake.device, synchronize=fake.synchronize)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=module))
    return fake


def test_events_lie_around_the_calls_of_each_sample_and_nothing_else(cuda):
    batch = [Sample(NotingWork(cuda, "a", 1), 2), Sample(NotingWork(cuda, "b", 1), 1)]
    CudaClock("cuda:1").time(batch)
    expected = ["prepare a", "event", "call a", "call a", "event"]
    expected += ["prepare b", "event", "call b", "event"]
    assert [entry for entry in cuda.log if entry.split()[0] in ("prepare", "event", "call")] == (
        expected
    )


def test_a_batch_is_synchronised_once_on_its_device_after_the_last_event(cuda):
    CudaClock("cuda:1").time([Sample(NotingWork(cuda, "a", 1), 1) for _ in range(5)])
    assert cuda.log.count("synchronize") == 1
    last_event = len(cuda.log) - 1 - cuda.log[::-1].index("event")
    assert cuda.log.index("enter cuda:1") < cuda.log.index("event")
    assert last_event < cuda.log.index("synchronize") < cuda.log.index("leave")


def test_durations_are_whole_nanoseconds_without_the_preparation(cuda):
    batch = [Sample(NotingWork(cuda, "a", 1.5), 3), Sample(NotingWork(cuda, "b", 0.0005), 1)]
    durations = CudaClock("cuda").time(batch)
    assert durations == [4_500_000, 500]
    assert all(isinstance(duration, int) for duration in durations)


def test_the_collector_is_restored_when_a_call_raises(cuda):
    class Failing(NotingWork):
        def call(self):
            raise MemoryError("out of device memory")

    work = Failing(cuda, "a", 1)
    with pytest.raises(WorkError) as raised:
        CudaClock("cuda").time([Sample(work, 1)])
    assert raised.value.work is work
    assert isinstance(raised.value.__cause__, MemoryError)
    assert gc.isenabled()


def test_a_cuda_clock_names_the_longest_batch_it_wants():
    assert 0 < CudaClock("cuda").burst_ns <= 50_000_000
