"""A GPU that is none, where an engine looks for one."""

import contextlib
from types import SimpleNamespace
from typing import ClassVar

import pytest
import simulated
import torch
from fake_gpu import FakeGpu

from gcbench import engines
from gcbench.engines import device_lock
from gcbench.measure import environment
from gcbench.measure.timing import launch
from gcbench.records import DeviceState

DEVICE_NS, HOST_NS = 400_000, 60_000


MODULES = """
import torch
from torch import nn

class Greedy(nn.Module):
    def __init__(self, channels):
        super().__init__()
    def forward(self, x):
        if x.device.type == "meta" or x.shape[0] == 0:
            return x + 1
        Greedy.held = self
        self.buffer = torch.zeros(1_000_000)
        Greedy.seen(self.buffer)
        raise torch.OutOfMemoryError("CUDA out of memory")
    seen = staticmethod(lambda buffer: None)

class Waits(nn.Module):
    def __init__(self, channels):
        super().__init__()
    def forward(self, x):
        Waits.synchronize()
        return x + 1
    synchronize = staticmethod(lambda: None)
"""


class Graph:
    """What recording gives: replaying takes the device as long, and the host next to nothing."""

    replayed: ClassVar[list] = []

    def __init__(self, gpu):
        self._gpu = gpu

    def replay(self):
        self.replayed.append(self)
        self._gpu.host_ns += 5_000
        self._gpu.do(DEVICE_NS / 2)


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    fake = FakeGpu(states=lambda batch: DeviceState(told_mhz=990.0, temperature_c=50.0))

    def applied(module, x):
        out = module(x)
        fake.host_ns += HOST_NS
        fake.do(DEVICE_NS)
        if isinstance(out, torch.Tensor) and out.requires_grad:
            out.register_hook(lambda gradient: fake.do(DEVICE_NS) and None)
        return out

    def copied(x):
        fake.host_ns += 10_000
        fake.do(DEVICE_NS / 10)

    calls = SimpleNamespace(
        called=applied,
        copied=copied,
        recorded=lambda work: (Graph(fake), None),
        flush=lambda size, device: lambda: fake.do(1.5 * size),
    )
    simulated.divert(monkeypatch.setattr, fake, calls)
    # the device exists in this process alone
    monkeypatch.setattr(engines, "_may_break", lambda comparison: False)
    monkeypatch.setattr(environment, "resolve_device", lambda named: named)
    monkeypatch.setattr(environment, "on_device", lambda device: contextlib.nullcontext())
    for module in (environment, device_lock):
        monkeypatch.setattr(module, "device_id", lambda device: "cuda-fake")
    monkeypatch.setattr(environment, "free_bytes", lambda device: 2**33)
    monkeypatch.setattr(environment, "last_level_cache_bytes", lambda device: 2**16)
    fake.given_back = []
    monkeypatch.setattr(launch, "ENERGY_NS", 20_000_000)
    fake.answers = True
    monkeypatch.setattr(
        environment, "give_back", lambda device: fake.given_back.append(device) or fake.answers
    )
    (tmp_path / "on_gpu.py").write_text(MODULES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "on_gpu", raising=False)
    return fake
