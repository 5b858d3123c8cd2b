"""What the CUDA clock needs of a GPU: events, a finite wait, and how the part is.

All that touches torch and the driver is here, behind a protocol that a fake can keep.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any, NamedTuple, Protocol

from gcbench.records import DeviceState

# a wait shorter than this is not told from the cost of starting it
_CALIBRATE_MS = 1.0
# no device passes so many units in a calibrating wait: a larger number means that it does not wait
_MOST_UNITS = 10**10
# what one unit of the fallback wait copies
_FALLBACK_BYTES = 2**20
# reasons of NVML for a lower clock that are not somebody's choice, by bit
_THROTTLE = {
    0x04: "power_cap",
    0x08: "hardware",
    0x20: "software_thermal",
    0x40: "hardware_thermal",
    0x80: "power_brake",
}


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
    `in_cycles` is false.
    """

    def __init__(self, gpu: Gpu) -> None:
        """Find out what can be waited with, and how long a unit of it takes."""
        self._gpu = gpu
        self._queue: Callable[[int], None] = gpu.cycles
        self.in_cycles = True
        units_per_ns = self._calibrated()
        if units_per_ns is None:
            self._queue, self.in_cycles = gpu.copies, False
            units_per_ns = self._calibrated()
        self._units_per_ns = units_per_ns or 1.0

    def wait(self, ns: float) -> Wait:
        """Queue a wait of so many nanoseconds."""
        return self._queued(max(1, math.ceil(ns * self._units_per_ns)))

    def _queued(self, units: int) -> Wait:
        wait = Wait(self._gpu.event(), self._gpu.event(), units)
        wait.start.record()
        self._queue(units)
        wait.end.record()
        return wait

    def _calibrated(self) -> float | None:
        """Units that pass in a nanosecond; None where units do not pass time."""
        units = 1
        while units < _MOST_UNITS:
            try:
                wait = self._queued(units)
            except (AttributeError, TypeError):
                return None
            self._gpu.synchronize()
            if wait.start.elapsed_time(wait.end) >= _CALIBRATE_MS:
                return wait.units_per_us / 1e3
            units *= 4
        return None


class TorchGpu:
    """A CUDA device as torch and NVML show it, on torch's current stream."""

    def __init__(self, device: str) -> None:
        """Take a device by its name, such as cuda:1."""
        import torch

        self._torch = torch
        self._device = torch.device(device)
        self._nvml = _nvml_reader(str(torch.cuda.get_device_properties(device).uuid))
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
        return self._nvml()


def _nvml_reader(uuid: str) -> Callable[[], DeviceState]:
    """Make what reads NVML's state of a device; it reads nothing where NVML cannot be had."""
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    except Exception:  # not installed, no driver, or no right to look: an optional reading
        return DeviceState
    return lambda: _nvml_state(pynvml, handle)


def _nvml_state(nvml: Any, handle: Any) -> DeviceState:
    """Read what NVML tells of a device; each reading that fails or makes no sense is None."""

    def reading(name: str, *arguments: Any, scale: float = 1.0) -> float | None:
        with suppress(Exception):  # virtual GPUs refuse some readings, each in its own way
            value = float(getattr(nvml, name)(handle, *arguments)) / scale
            return value if value > 0 else None
        return None

    reasons = reading("nvmlDeviceGetCurrentClocksThrottleReasons")
    return DeviceState(
        told_mhz=reading("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
        temperature_c=reading("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
        power_w=reading("nvmlDeviceGetPowerUsage", scale=1e3),
        throttle=tuple(name for bit, name in _THROTTLE.items() if int(reasons or 0) & bit),
    )
