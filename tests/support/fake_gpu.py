"""A GPU that exists only in numbers: the host's time and the device's, and a queue between them."""

from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field

from gcbench.measure.timing.gpu import Kernel
from gcbench.records import DeviceState

MHZ = 1000.0


class FakeEvent:
    def __init__(self, gpu):
        self._gpu = gpu
        self.at_ns = None

    def record(self):
        self.at_ns = self._gpu.mark()

    def query(self):
        return self.at_ns <= self._gpu.host_ns

    def elapsed_time(self, end):
        assert end.at_ns <= self._gpu.host_ns, "read before the device had passed the event"
        return (end.at_ns - self.at_ns) / 1e6


@dataclass
class FakeGpu:
    """The device does what is queued in order, each at the earliest when the host queued it.

    `mhz` gives the clock that a wait shows, by the number of the batch; `states` what the driver
    tells. `waited` are the nanoseconds of each wait after calibration. As on a real part:

    - `lazy_ns`: the host loads the wait's kernel when it is first launched.
    - `depth`: so many launches fit into the queue; the next one blocks the host.
    - `late_ns`: a kernel that finds the device idle begins so much later; a mark does not.
    - `pair_ns`: a mark itself takes the device half as long.
    - `idle_mhz`: the clock until the device has worked for `ramp_ns`.
    """

    mhz: object = lambda batch: MHZ
    states: object = lambda batch: DeviceState()
    has_cycles: bool = True
    cycles_pass: bool = True
    lazy_ns: float = 0.0
    depth: int = 1024
    late_ns: float = 0.0
    pair_ns: float = 0.0
    idle_mhz: float | None = None
    ramp_ns: float = 100_000_000.0
    host_ns: float = 0.0
    free_ns: float = 0.0
    starved_ns: float = 0.0
    busy_ns: float = 0.0
    energy_mj: float | None = 0.0
    power_w: float = 300.0
    batches: int = 0
    slept: list = field(default_factory=list)
    waited: list = field(default_factory=list)
    in_copies: int = 0
    entered: int = 0
    told_syncs: int | None = None
    launched: list = field(default_factory=list)
    pending: deque = field(default_factory=deque)

    def now(self):
        return round(self.host_ns)

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.host_ns += 1e9 * seconds

    def do(self, device_ns, launch=True):
        """Queue work of so many nanoseconds; tell when it ends."""
        while self.pending and self.pending[0] <= self.host_ns:
            self.pending.popleft()
        if len(self.pending) >= self.depth:
            self.host_ns = self.pending[len(self.pending) - self.depth]
        idle = self.free_ns <= self.host_ns
        self.starved_ns += max(0.0, self.host_ns - self.free_ns)
        late_ns = self.late_ns if idle and launch else 0.0
        self.free_ns = max(self.free_ns, self.host_ns) + late_ns + device_ns
        self.busy_ns += device_ns
        if self.energy_mj is not None:
            self.energy_mj += 1e-6 * device_ns * self.power_w
        self.pending.append(self.free_ns)
        if launch:
            self.launched.append(Kernel("fake", device_ns))
        return self.free_ns

    def mark(self):
        return self.do(self.pair_ns / 2, launch=False)

    @contextmanager
    def current(self):
        self.entered += 1
        yield

    def event(self):
        return FakeEvent(self)

    def synchronize(self):
        self.host_ns = max(self.host_ns, self.free_ns)

    def waits_for_device(self):
        """A module that waits for the device, as torch knows it."""
        if self.told_syncs is not None:
            self.told_syncs += 1
        self.synchronize()

    def cycles(self, number):
        if not self.has_cycles:
            raise AttributeError("module 'torch.cuda' has no attribute '_sleep'")
        self.host_ns, self.lazy_ns = self.host_ns + self.lazy_ns, 0.0
        if self.cycles_pass:
            self._wait(1e3 * number / self._clock())

    def copies(self, number):
        self.in_copies += number
        self._wait(800.0 * number * MHZ / self._clock())

    def _clock(self):
        if self.idle_mhz is not None and self.busy_ns < self.ramp_ns:
            return self.idle_mhz
        return self.mhz(self.batches)

    def _wait(self, device_ns):
        self.waited.append(device_ns)
        self.starved_ns = 0.0 if self.free_ns <= self.host_ns else self.starved_ns
        self.do(device_ns)

    def told(self):
        self.batches += 1
        return self.states(self.batches - 1)

    def energy(self):
        # a part works for what was queued by now, and tells of no more
        return self.energy_mj

    def syncs(self, call):
        self.told_syncs = 0
        call()
        found, self.told_syncs = self.told_syncs > 0, None
        return found

    def kernels(self, call):
        first = len(self.launched)
        call()
        return self.launched[first:]


@dataclass
class FakeKernels:
    """A work of the fake GPU: so much host time to enqueue a call, and so much device time.

    Both are shared evenly among its `kernels`. Half of them are queued when it `synchronises`, as
    torch can tell where it is `told`.
    """

    gpu: FakeGpu
    device_ns: float
    host_ns: float = 10_000.0
    preparation_ns: float = 0.0
    synchronises: bool = False
    told: bool = True
    kernels: int = 2
    repeatable: bool = True
    cold: bool = False
    queueing: str = "fits"
    turns: int = 1
    fails_at: int = -1
    calls: int = 0

    def prepare(self):
        self.gpu.do(self.preparation_ns)

    def call(self):
        self.calls += 1
        if self.calls == self.fails_at:
            raise MemoryError("out of device memory")
        for kernel in range(self.kernels):
            if self.synchronises and kernel == self.kernels // 2:
                (self.gpu.waits_for_device if self.told else self.gpu.synchronize)()
            self.gpu.host_ns += self.host_ns / self.kernels
            self.gpu.do(self.device_ns / self.kernels)

    def settle(self):
        self.prepare()
        self.call()
