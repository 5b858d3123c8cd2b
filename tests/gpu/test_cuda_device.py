"""What only a GPU can show: events, graphs, memory and waits on the device itself."""

import random
import sys

import pytest
import torch

from gcbench import engines
from gcbench.engines import trials
from gcbench.measure import environment
from gcbench.measure.timing.clocks import Sample
from gcbench.measure.timing.cuda import CudaClock
from gcbench.measure.timing.gpu import TorchGpu, Waiter
from gcbench.measure.timing.launch import energy_mj, queueing
from gcbench.measure.workload import Replayed, Workload
from gcbench.results import tables
from gcbench.spec.cases import Axes, Effort

LACKS_CUDA = not torch.cuda.is_available()
SHORT = Effort(precision=0.5, max_time_s=1.0)

MODULES = """
import torch
from torch import nn

class Greedy(nn.Module):
    def __init__(self, channels):
        super().__init__()
    def forward(self, x):
        if x.is_cuda:
            kept = [torch.empty(2**30, dtype=torch.uint8, device=x.device)]
            while True:
                kept.append(torch.empty(2**32, dtype=torch.uint8, device=x.device))
        return x + 1

class Queries(nn.Module):
    def __init__(self, channels):
        super().__init__()
    def forward(self, x):
        if x.is_cuda:
            torch.cuda.current_stream().query()
        return x * 2

class Peeks(nn.Module):
    def __init__(self, channels):
        super().__init__()
    def forward(self, x):
        return x * 2 if x.sum().item() > 0 else x * 3
"""


def on_gpu(test):
    return pytest.mark.cuda(pytest.mark.skipif(LACKS_CUDA, reason="needs a CUDA device")(test))


@pytest.fixture(autouse=True)
def gradients():
    """What a preparation does to the gradient mode ends with a test."""
    with torch.enable_grad():
        yield


@pytest.fixture(autouse=True)
def in_this_process(request, monkeypatch):
    """Measure here, which is quicker, where a test does not bring blocks that may break it."""
    if "modules" not in request.fixturenames:
        monkeypatch.setattr(engines, "_may_break", lambda comparison: False)


@pytest.fixture
def modules(tmp_path, monkeypatch):
    (tmp_path / "on_device.py").write_text(MODULES)
    monkeypatch.delitem(sys.modules, "on_device", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


def measured(names, **axes):
    axes = {"channels": 64, "size": (28, 28), "device": "cuda", **axes}
    return tables.frame(engines.run([engines.compare(names, Axes(**axes))], SHORT))


@on_gpu
def test_a_wait_lasts_about_as_long_as_it_is_asked_to():
    gpu = TorchGpu("cuda")
    with gpu.current():
        waiter = Waiter(gpu)
        wait = waiter.wait(10_000_000)
        gpu.synchronize()
    assert waiter.in_cycles
    # clocks move, so within a factor
    assert 3 < wait.start.elapsed_time(wait.end) < 30


@on_gpu
def test_a_full_queue_reads_less_for_small_kernels_than_an_idle_one():
    clock = CudaClock(TorchGpu("cuda"))
    block = torch.nn.ReLU()
    work = Workload(block, torch.randn(1, 8, 8, 8, device="cuda"))
    reading = clock.time([[Sample(work, 1)]] * 50)
    assert not reading.exposed
    idle = []
    for _ in range(50):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        work.call()
        end.record()
        torch.cuda.synchronize()
        idle.append(1e6 * start.elapsed_time(end))
    assert sorted(turns[0] for turns in reading.durations_ns)[25] < sorted(idle)[25]


@on_gpu
@pytest.mark.parametrize("mode", ["infer", "train", "backward"])
@pytest.mark.parametrize("cache", ["cold", "warm"])
def test_every_block_is_measured_with_host_and_graph_beside_it(mode, cache):
    table = measured(["gc", "se", "snl", "nl"], mode=mode, cache=cache)
    assert table["status"].tolist() == ["ok"] * 4, table["reason"].tolist()
    assert (table["host_us"] > 0).all()
    assert table["graph_us"].notna().all() == (mode != "backward"), table["reason"].tolist()
    assert table["bound"].notna().all()


@on_gpu
def test_a_graph_computes_what_the_block_computes():
    block = torch.nn.Conv2d(8, 8, 1).cuda()
    x = torch.randn(1, 8, 6, 6, device="cuda")
    replayed = Replayed(Workload(block, x))
    # other numbers in the same place: the graph has to compute them anew
    x.copy_(torch.randn(1, 8, 6, 6))
    replayed.settle()
    torch.cuda.synchronize()
    with torch.no_grad():
        torch.testing.assert_close(replayed.output, block(x))


@on_gpu
def test_a_graph_is_a_runtime_and_no_slower_than_launching_for_small_shapes():
    eager, graph = (measured(["gc"], runtime=runtime).iloc[0] for runtime in ("eager", "graph"))
    assert graph["status"] == "ok", graph["reason"]
    assert graph["latency_us"] < max(eager["host_us"], eager["latency_us"])


@on_gpu
def test_a_block_that_synchronises_is_found_out(modules):
    table = measured(["gc", "on_device:Peeks"]).set_index("spec")
    assert "syncs_inside" in str(table.loc["on_device:Peeks", "flags"])
    assert "syncs_inside" not in str(table.loc["gc", "flags"])
    clock = CudaClock(TorchGpu("cuda"))
    work = Workload(torch.nn.ReLU(), torch.randn(1, 8, 8, 8, device="cuda"))
    assert queueing(clock, work) == "fits"


class Many(torch.nn.Module):
    """More kernels than the driver's queue takes."""

    def forward(self, x):
        for _ in range(1_500):
            x = x + 1
        return x


@on_gpu
def test_a_call_of_more_kernels_than_the_queue_takes_is_timed_and_not_said_to_wait():
    clock = CudaClock(TorchGpu("cuda:0"))
    work = Workload(Many(), torch.randn(64, 256, 56, 56, device="cuda:0"))
    assert queueing(clock, work) == "fills"
    work.queueing = "fills"
    assert not clock.time([[Sample(work, 1)]] * 3).exposed


@on_gpu
def test_a_pair_of_events_costs_little_and_something():
    assert 100 < CudaClock(TorchGpu("cuda:0")).event_pair_ns < 10_000


@on_gpu
def test_the_profiler_tells_the_kernels_of_a_call():
    gpu = TorchGpu("cuda:0")
    x = torch.randn(64, 64, device="cuda:0")
    kernels = gpu.kernels(lambda: (x + 1).relu())
    assert len(kernels) == 2
    assert all(0 < kernel.device_ns < 1e6 for kernel in kernels)


@on_gpu
def test_energy_is_that_of_a_part_that_works():
    clock = CudaClock(TorchGpu("cuda:0"))
    if clock.gpu.energy() is None:
        pytest.skip("NVML tells of no energy here")
    block = torch.nn.Conv2d(256, 256, 3, padding=1).cuda()
    work = Workload(block, torch.randn(32, 256, 56, 56, device="cuda:0"))
    reading = clock.time([[Sample(work, 1)]] * 20)
    call_s = min(turns[0] for turns in reading.durations_ns) / 1e9
    # between an idle card and more than any draws
    assert 50 < energy_mj(clock, work) / 1e3 / call_s < 1_500


@on_gpu
def test_a_rebuild_moves():
    work = Workload(torch.nn.Conv2d(64, 64, 1).cuda(), torch.randn(1, 64, 56, 56, device="cuda:0"))
    rng, places = random.Random(0), []
    for _ in range(12):
        moved = work.elsewhere(rng)
        places.append((moved.x.data_ptr(), moved.module.weight.data_ptr()))
        assert moved.x.data_ptr() % 512 == 0
    inputs, weights = zip(*places, strict=True)
    assert len(set(inputs)) >= 8
    assert len(set(weights)) >= 8


@on_gpu
def test_a_broken_capture_ends_its_worker_and_leaves_a_row_with_the_reason(modules):
    table = measured(["gc", "on_device:Queries", "se"]).set_index("spec")
    assert table["status"].tolist() == ["ok"] * 3, table["reason"].tolist()
    assert "no CUDA graph could be recorded" in table.loc["on_device:Queries", "reason"]
    assert table.loc[["gc", "se"], "graph_us"].notna().all()


@on_gpu
def test_a_broken_capture_leaves_this_process_in_order():
    class Queries(torch.nn.Module):
        def forward(self, x):
            torch.cuda.current_stream().query()
            return x * 2

    x = torch.randn(1, 8, 6, 6, device="cuda:0")
    before = torch.cuda.current_stream()
    with pytest.raises(RuntimeError):
        Replayed(Workload(Queries(), x))
    assert torch.cuda.current_stream() == before
    torch.randn(4, device="cuda:0")
    held = torch.cuda.memory_allocated()
    del x
    assert torch.cuda.memory_allocated() < held


@on_gpu
def test_out_of_memory_is_a_row_and_leaves_none_behind(modules):
    measured(["gc"])
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    table = measured(["gc", "on_device:Greedy", "se"])
    assert table["status"].tolist() == ["ok", "oom", "ok"], table["reason"].tolist()
    assert torch.cuda.memory_allocated() <= before
    assert torch.cuda.memory_reserved() < 2**31


@on_gpu
def test_known_answers_and_copies_are_found():
    found = list(trials.run(Axes(device="cuda"), 1, 4.0, 0, wait=True, tell=print))
    assert sum(each.holds for each in found) >= len(found) - 1
    assert not any(each.false for each in found)


@on_gpu
def test_memory_is_that_of_the_allocator():
    row = measured(["nl"], size=(56, 56)).iloc[0]
    maps = 4 * (56 * 56) ** 2
    assert row["memory_source"] == "measured"
    assert row["peak_memory_bytes"] > 2 * maps


@on_gpu
def test_tf32_is_changed_only_inside_and_only_when_asked():
    before = torch.backends.cuda.matmul.fp32_precision
    a = torch.randn(1024, 1024, device="cuda")
    exact = a.double() @ a.double()
    errors = {}
    for switch in ("on", "off"):
        with environment.tf32(switch):
            errors[switch] = float(((a @ a).double() - exact).abs().max())
    assert errors["off"] < errors["on"] / 10
    assert torch.backends.cuda.matmul.fp32_precision == before


def test_tf32_is_put_back_and_recorded_and_never_touched_unasked():
    def flags():
        recorded = environment.manifest("env", seed=0).flags
        return recorded["cuda_matmul_allow_tf32"], recorded["cudnn_allow_tf32"]

    before = flags()
    for switch, expected in (("on", (True, True)), ("off", (False, False)), (None, before)):
        with environment.tf32(switch):
            assert flags() == expected
        assert flags() == before
