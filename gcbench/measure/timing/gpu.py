"""What the CUDA clock needs of a GPU: events, a finite wait, and how the part is.

All that touches torch and the driver is here, behind a protocol that a fake can keep.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, NamedTuple, Protocol

from gcbench.measure import environment
from gcbench.records import DeviceState

# a wait shorter than this is not told from the cost of starting it
_CALIBRATE_MS = 1.0
# two readings of a settled clock agree within this share; a clock that never settles is read so
# often
_AGREE, _READINGS = 0.2, 20
# a kernel that finds the device idle begins late: this long spin goes before the first mark
_SPIN_NS = 20_000
# no device passes so many units in a calibrating wait: a larger number means that it does not wait
_MOST_UNITS = 10**10
# what one unit of the fallback wait copies
_FALLBACK_BYTES = 2**20
# what torch says where a call waits for the device
_SYNCED = "called a synchronizing CUDA operation"
# reasons of NVML for a lower clock that are not somebody's choice, by bit
_THROTTLE = {
    0x04: "power_cap",
    0x08: "hardware",
    0x20: "software_thermal",
    0x40: "hardware_thermal",
    0x80: "power_brake",
}


class Kernel(NamedTuple):
    """One thing that the device did for a call: a kernel, a copy, a fill."""

    name: str
    device_ns: float


class Event(Protocol):
    """A mark in a stream."""

    def record(self) -> None:
        """Put the mark behind what is queued."""

    def query(self) -> bool:
        """Tell whether the device has passed the mark."""

    def elapsed_time(self, end: Any) -> float:
        """Milliseconds from this mark to a later one, both passed."""


class Gpu(Protocol):
    """A device with a queue."""

    def current(self) -> AbstractContextManager[None]:
        """Make this the current device inside."""

    def event(self) -> Event:
        """Make a mark that keeps time."""

    def synchronize(self) -> None:
        """Wait until the queue is empty."""

    def cycles(self, number: int) -> None:
        """Queue a wait of so many clock cycles. Raises AttributeError where that cannot be had."""

    def copies(self, number: int) -> None:
        """Queue so many copies of a fixed small buffer, to pass time where `cycles` is missing."""

    def told(self) -> DeviceState:
        """What the driver tells of clock, temperature, power and throttling."""

    def energy(self) -> float | None:
        """Millijoules that the part has used since some moment; None where it does not tell."""

    def syncs(self, call: Callable[[], object]) -> bool:
        """Call, and tell whether torch saw the host wait for the device inside."""

    def kernels(self, call: Callable[[], object]) -> Sequence[Kernel]:
        """Call, and tell what the device did for it. Raises where the profiler cannot tell."""


class Wait(NamedTuple):
    """A wait that was queued: `units` of it between two events."""

    start: Event
    end: Event
    units: int

    @property
    def over(self) -> bool:
        """Whether the device has finished waiting."""
        return self.end.query()

    @property
    def units_per_us(self) -> float:
        """How fast the device passed it: megahertz where a unit is a clock cycle."""
        return self.units / max(1e3 * self.start.elapsed_time(self.end), 1e-9)


class Waiter:
    """Queues waits of a given time on a GPU, each finite whatever happens on the host.

    A wait is so many clock cycles of the part, so how long it takes shows the clock; where cycles
    cannot be had (torch keeps that function private), it is a train of small copies, and
    `in_cycles` is false. What a unit takes is learnt anew from each wait, since clocks move.
    """

    def __init__(self, gpu: Gpu) -> None:
        """Find out what can be waited with, and how long a unit of it takes."""
        self._gpu = gpu
        self._queue: Callable[[int], None] = gpu.cycles
        self._units_per_ns = 0.0
        self.in_cycles = self._calibrate()
        if not self.in_cycles:
            self._queue = gpu.copies
            self._calibrate()

    def wait(self, ns: float) -> Wait:
        """Queue a wait of so many nanoseconds."""
        return self._queued(self._units(ns))

    def learn(self, wait: Wait) -> None:
        """Take the speed of a wait that the device has passed for that of the next ones."""
        self._units_per_ns = wait.units_per_us / 1e3

    def _units(self, ns: float) -> int:
        return max(1, math.ceil(ns * self._units_per_ns))

    def _queued(self, units: int) -> Wait:
        wait = Wait(self._gpu.event(), self._gpu.event(), units)
        # on an idle device the mark would pass at once, and the wait begin after a launch's delay
        self._queue(self._units(_SPIN_NS))
        wait.start.record()
        self._queue(units)
        wait.end.record()
        return wait

    def _calibrate(self) -> bool:
        """Learn how many units pass in a nanosecond; tell whether units pass time at all.

        The first launch loads the kernel and is not read; a part that was idle raises its clock, so
        a reading counts once the next one agrees.
        """
        try:
            self._queue(1)
        except (AttributeError, TypeError):
            return False
        self._gpu.synchronize()
        units, readings = 1, 0
        while units < _MOST_UNITS and readings < _READINGS:
            before = self._units_per_ns
            wait = self._queued(units)
            self._gpu.synchronize()
            if wait.start.elapsed_time(wait.end) < _CALIBRATE_MS:
                units *= 4
                continue
            readings += 1
            self.learn(wait)
            if readings > 1 and abs(self._units_per_ns - before) <= _AGREE * before:
                break
        return readings > 0


class TorchGpu:
    """A CUDA device as torch and NVML show it, on torch's current stream."""

    def __init__(self, device: str) -> None:
        """Take a device by its name, such as cuda:1."""
        import torch

        self._torch = torch
        self._device = torch.device(device)
        self._nvml = _nvml_of(str(torch.cuda.get_device_properties(device).uuid))
        self._buffers: Any = None

    def current(self) -> AbstractContextManager[None]:
        """Make this the current device inside."""
        current: AbstractContextManager[None] = self._torch.cuda.device(self._device)
        return current

    def event(self) -> Event:
        """Make a mark that keeps time."""
        event: Event = self._torch.cuda.Event(enable_timing=True)
        return event

    def synchronize(self) -> None:
        """Wait until all streams of the device are empty."""
        self._torch.cuda.synchronize(self._device)

    def cycles(self, number: int) -> None:
        """Queue a wait of so many clock cycles, by a function that torch keeps private."""
        self._torch.cuda._sleep(number)

    def copies(self, number: int) -> None:
        """Queue so many copies of one small buffer to another."""
        if self._buffers is None:
            new = self._torch.empty
            self._buffers = tuple(
                new(_FALLBACK_BYTES, dtype=self._torch.uint8, device=self._device) for _ in range(2)
            )
        target, source = self._buffers
        for _ in range(number):
            target.copy_(source)

    def told(self) -> DeviceState:
        """What NVML tells; nothing where it is missing or fails."""
        return DeviceState() if self._nvml is None else self._nvml.state()

    def energy(self) -> float | None:
        """NVML's count of millijoules since the driver was loaded; None where it has none."""
        return None if self._nvml is None else self._nvml.energy()

    def syncs(self, call: Callable[[], object]) -> bool:
        """Call in torch's mode that warns of synchronisation; see `Gpu`."""
        cuda = self._torch.cuda
        before = cuda.get_sync_debug_mode()
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            cuda.set_sync_debug_mode("warn")
            try:
                call()
            finally:
                cuda.set_sync_debug_mode(before)
        # to turn the mode on has a warning of its own
        return any(_SYNCED in str(warning.message) for warning in told)

    def kernels(self, call: Callable[[], object]) -> Sequence[Kernel]:
        """Call under torch's profiler, which asks CUPTI; see `Gpu`."""
        from torch._C._autograd import DeviceType
        from torch.profiler import ProfilerActivity, profile

        self.synchronize()
        with profile(
            activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], acc_events=True
        ) as profiler:
            call()
            self.synchronize()
        return [
            Kernel(event.name, 1e3 * event.time_range.elapsed_us())
            for event in profiler.events()
            if event.device_type == DeviceType.CUDA and not event.is_user_annotation
        ]


class Nvml:
    """NVML's readings of one device; each that fails or makes no sense is None."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        """Read through the module `pynvml`, of the device of a handle."""
        self._nvml, self._handle = nvml, handle

    def state(self) -> DeviceState:
        """Clock, temperature, power, and the reasons for a clock that is held down."""
        nvml = self._nvml
        reasons = self._reading("nvmlDeviceGetCurrentClocksThrottleReasons")
        return DeviceState(
            told_mhz=self._reading("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
            temperature_c=self._reading("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
            power_w=self._reading("nvmlDeviceGetPowerUsage", scale=1e3),
            throttle=tuple(name for bit, name in _THROTTLE.items() if int(reasons or 0) & bit),
        )

    def energy(self) -> float | None:
        """Millijoules since the driver was loaded."""
        return self._reading("nvmlDeviceGetTotalEnergyConsumption")

    def _reading(self, name: str, *arguments: Any, scale: float = 1.0) -> float | None:
        with suppress(Exception):  # virtual GPUs refuse some readings, each in its own way
            value = float(getattr(self._nvml, name)(self._handle, *arguments)) / scale
            return value if value > 0 else None
        return None


def _nvml_of(uuid: str) -> Nvml | None:
    """NVML's readings of a device; None where they cannot be had."""
    found = environment.nvml_of(uuid)
    return None if found is None else Nvml(*found)
