"""A GPU that exists only in numbers: the host's time and the device's, and a queue between them."""

from contextlib import contextmanager
from dataclasses import dataclass, field

from gcbench.records import DeviceState

MHZ = 1000.0


class FakeEvent:
    def __init__(self, gpu):
        self._gpu = gpu
        self.at_ns = None

    def record(self):
        self.at_ns = self._gpu.do(0)

    def query(self):
        return self.at_ns <= self._gpu.host_ns

    def elapsed_time(self, end):
        assert end.at_ns <= self._gpu.host_ns, "read before the device had passed the event"
        return (end.at_ns - self.at_ns) / 1e6


@dataclass
class FakeGpu:
    """The device does what is queued in order, each at the earliest when the host queued it.

    `mhz` gives the clock that a wait shows, by the number of the batch; `states` what the driver
    tells. `waited` are the nanoseconds of each wait after calibration.
    """

    mhz: object = lambda batch: MHZ
    states: object = lambda batch: DeviceState()
    has_cycles: bool = True
    cycles_pass: bool = True
    host_ns: float = 0.0
    free_ns: float = 0.0
    starved_ns: float = 0.0
    batches: int = 0
    slept: list = field(default_factory=list)
    waited: list = field(default_factory=list)
    in_copies: int = 0
    entered: int = 0

    def now(self):
        return round(self.host_ns)

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.host_ns += 1e9 * seconds

    def do(self, device_ns):
        """Queue work of so many nanoseconds; tell when it ends."""
        self.starved_ns += max(0.0, self.host_ns - self.free_ns)
        self.free_ns = max(self.free_ns, self.host_ns) + device_ns
        return self.free_ns

    @contextmanager
    def current(self):
        self.entered += 1
        yield

    def event(self):
        return FakeEvent(self)

    def synchronize(self):
        self.host_ns = max(self.host_ns, self.free_ns)

    def cycles(self, number):
        if not self.has_cycles:
            raise AttributeError("module 'torch.cuda' has no attribute '_sleep'")
        if self.cycles_pass:
            self._wait(1e3 * number / self.mhz(self.batches))

    def copies(self, number):
        self.in_copies += number
        self._wait(800.0 * number * MHZ / self.mhz(self.batches))

    def _wait(self, device_ns):
        self.waited.append(device_ns)
        self.starved_ns = 0.0 if self.free_ns <= self.host_ns else self.starved_ns
        self.do(device_ns)

    def told(self):
        self.batches += 1
        return self.states(self.batches - 1)


@dataclass
class FakeKernels:
    """A work of the fake GPU: so much host time to enqueue a call, and so much device time."""

    gpu: FakeGpu
    device_ns: float
    host_ns: float = 10_000.0
    preparation_ns: float = 0.0
    synchronises: bool = False
    repeatable: bool = True
    cold: bool = False
    syncs: bool = False
    fails_at: int = -1
    calls: int = 0

    def prepare(self):
        self.gpu.do(self.preparation_ns)

    def call(self):
        self.calls += 1
        if self.calls == self.fails_at:
            raise MemoryError("out of device memory")
        self.gpu.host_ns += self.host_ns / 2
        self.gpu.do(self.device_ns / 2)
        if self.synchronises:
            self.gpu.synchronize()
        self.gpu.host_ns += self.host_ns / 2
        self.gpu.do(self.device_ns / 2)

    def settle(self):
        self.prepare()
        self.call()
