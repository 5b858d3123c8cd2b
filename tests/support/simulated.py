"""gcbench, workers included, on a GPU that exists only in numbers and shows the figures of a card.

    python tests/support/simulated.py bench gc --device cuda:0      # any command of gcbench

Time is that of `FakeGpu`, memory and properties are those of `FakeCuda`. Blocks are built, counted
and copied on the CPU, yet never called: a call takes the host and the device as long as it would.
"""

import atexit
import copy
import random
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import torch
from fake_cuda import FakeCuda
from fake_gpu import FakeGpu
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gcbench.engines import inline, probe, worker_process
from gcbench.measure import runtimes, workload
from gcbench.measure.peaks import measuring
from gcbench.measure.runtimes import compiled
from gcbench.measure.timing import gpu as timing_gpu
from gcbench.measure.timing import launch, replicates
from gcbench.measure.timing.clocks import CpuClock
from gcbench.measure.timing.cuda import CudaClock

ROOT = Path(__file__).resolve().parents[2]
CARD = "Simulated GPU"
CLOCKS = {"mhz": lambda batch: 1980.0, "idle_mhz": 345.0}
# loading the first kernel, beginning late on an idle device, a pair of events
OVERHEADS = {"lazy_ns": 20_000_000, "late_ns": 5_000, "pair_ns": 3_000}
# one kernel: what the host takes to launch it, and what the device takes at least
LAUNCH_NS, KERNEL_NS = 4_000, 1_500
BYTES_PER_NS, FLOP_PER_NS = 3_000.0, 800_000.0
# a call of a block: the host's time, and the device's, which grows with the input
HOST_NS, BLOCK_NS, INPUT_BYTES_PER_NS, NOISE = 100_000, 26_000, 500.0, 0.002
# a replay of a graph: the host's time, and the device's share of what launching takes it
REPLAY_NS, REPLAYED = 5_000, 0.7
COMPILING_NS = 2_000_000_000
# a worker does this before it begins
WORKER = "from gcbench.engines.worker_main import main\n"
HERE = str(ROOT / "tests" / "support")
INSTALLING = f"sys.path.insert(0, {HERE!r})\nimport simulated\nsimulated.install()\n"

# what stays open until this process ends
_OPEN = ExitStack()
atexit.register(_OPEN.close)


def block_ns(input_bytes):
    """What the device takes for a call of a block."""
    return BLOCK_NS + input_bytes / INPUT_BYTES_PER_NS


class Through(torch.autograd.Function):
    """The input as it is; its gradient takes the device as long as the call did."""

    @staticmethod
    def forward(context, x, spend):
        context.spend = spend
        return x.view_as(x)

    @staticmethod
    def backward(context, gradient):
        context.spend(gradient)
        return gradient, None


class Timed(TorchDispatchMode):
    """Operators on simulated tensors take the host and the device their time."""

    def __init__(self, gpu):
        super().__init__()
        self._gpu = gpu

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.namespace == "aten" and not func.is_view and "empty" not in func.__name__:
            self._gpu.host_ns += LAUNCH_NS
            self._gpu.do(max(KERNEL_NS, _device_ns(func.overloadpacket, args, result)))
        return result


def _device_ns(operator, given, made):
    if operator is torch.ops.aten.mm:
        return 2 * made.numel() * given[0].shape[1] / FLOP_PER_NS
    if operator is torch.ops.aten.convolution:
        return 2 * made.numel() * given[1][0].numel() / FLOP_PER_NS
    tensors = [each for each in tree_leaves((given, made)) if isinstance(each, torch.Tensor)]
    # what is changed in place is read and made
    touched = {each.untyped_storage()._cdata: each.nbytes for each in tensors}
    return sum(touched.values()) / BYTES_PER_NS


class Graph:
    """What recording gives."""

    def __init__(self, simulation, work):
        self._simulation, self._work = simulation, work

    def replay(self):
        self._simulation.spend(REPLAY_NS, REPLAYED * block_ns(self._work.x.nbytes))


class Simulation:
    """The device, and what calls on it take."""

    def __init__(self):
        self.gpu = FakeGpu(**CLOCKS, **OVERHEADS)
        self.cuda = FakeCuda(SimpleNamespace(setattr=_set), count=1)
        self.cuda.devices[0].name = CARD
        self.compiled = 0
        self._made = False
        self._noise = random.Random(0)

    def spend(self, host_ns, device_ns):
        self.gpu.host_ns += host_ns
        self.gpu.do(device_ns * self._noise.gauss(1.0, NOISE))

    def called(self, module, x):
        """Apply a module, as its output is not looked at: no call of it is made."""
        self.spend(HOST_NS, block_ns(x.nbytes))
        if not torch.is_grad_enabled():
            return x
        # a network's output is a loss, and its images need no gradient
        from_ = x if x.requires_grad else next(module.parameters())
        out = Through.apply(from_, lambda gradient: self.spend(HOST_NS, block_ns(x.nbytes)))
        return out if x.requires_grad else out.sum()

    def compiling(self):
        """Apply modules as what a compiler makes of that at the first call."""
        compiled = []

        def apply(module, x):
            if not compiled:
                self.gpu.host_ns += COMPILING_NS
                self.compiled += 1
                compiled.append(module)
            return self.called(module, x)

        return apply

    def copied(self, x):
        self.spend(LAUNCH_NS, 2 * x.nbytes / BYTES_PER_NS)

    def recorded(self, work):
        if type(work.module).__name__ == "AsksStream":
            raise RuntimeError("operation not permitted when stream is capturing")
        return Graph(self, work), None

    def flush(self, size_bytes, device):
        return lambda: self.gpu.do(3 * size_bytes / BYTES_PER_NS)

    @contextmanager
    def tensors(self):
        """Make tensors on the device inside, whose operators take its time."""
        with ExitStack() as opened:
            if not self._made:
                self._made = True
                opened.callback(setattr, self, "_made", False)
                opened.enter_context(self.cuda.tensors())
                opened.enter_context(Timed(self.gpu))
            yield


def divert(patch, gpu, calls):
    """Make the tensors of cases on the CPU, and let calls take the time of a GPU.

    `patch` sets an attribute; of `calls` it is what modules, copies, captures and flushes do.
    """
    make_workload, make_input = probe.make_workload, inline.make_input

    class Copy(workload.Copy):
        def call(self):
            calls.copied(self.x)

    def clock_of(device, regime="burst"):
        return CpuClock() if device == "cpu" else CudaClock(gpu, gpu.now, gpu.sleep, regime)

    patch(
        probe, "make_workload", lambda m, case, device, *more: make_workload(m, case, "cpu", *more)
    )
    patch(probe, "clock_of", clock_of)
    patch(probe, "cache_flush", calls.flush)
    patch(inline, "make_input", lambda case, device, seed: make_input(case, "cpu", seed))
    patch(inline, "clock_of", clock_of)
    patch(inline, "Copy", Copy)
    patch(runtimes.Runtime, "apply", lambda self: calls.called)
    patch(workload, "recorded", calls.recorded)


def install():
    """Make gcbench use the simulated GPU in this process, and in the workers that it starts."""
    simulation = Simulation()
    gpu, measure = simulation.gpu, measuring.measure
    divert(setattr, gpu, simulation)

    def measured(*given, **named):
        with simulation.tensors():
            return measure(*given, **named)

    measuring.measure, measuring._clock = measured, probe.clock_of
    measuring._random = _random
    # without noise few readings are as good as many, and nothing heats the device
    measuring.MOST_READINGS, measuring.SUSTAINED_S = 4, 0.3
    launch.ENERGY_NS, replicates.HEAT_NS = 20_000_000, 100_000_000
    probe.time = measuring.time = SimpleNamespace(
        perf_counter=lambda: gpu.host_ns / 1e9, perf_counter_ns=gpu.now
    )
    # no module is called: nothing of it need be looked at, be there twice, or be loaded before
    probe._require_block = lambda work, case, any_output: ()
    probe.eagerly = lambda module, x: x
    probe._as_called = lambda work, known, setting: known
    # and one count is enough
    probe.foretold = partial(_foretold, probe.foretold)
    workload.copy = SimpleNamespace(copy=copy.copy, deepcopy=lambda module: module)
    workload.elsewhere = lambda x, rng: x
    inline.load_all = lambda: None
    compiled.Compiled.apply = lambda self: simulation.compiling()
    runtimes.session = runtimes.settled = lambda cases: nullcontext()
    compiled._graphs = lambda: simulation.compiled
    timing_gpu.TorchGpu = lambda device: gpu
    worker_process._START = worker_process._START.replace(WORKER, INSTALLING + WORKER)
    return simulation


def machine(device):
    """The machine of `benchmarks/gpu.py` on the simulated GPU, from here on in this process."""
    simulation = install()
    _OPEN.enter_context(simulation.tensors())
    import gpu_machine

    found = gpu_machine.Machine(device)
    found.now, found.sleep = simulation.gpu.now, simulation.gpu.sleep
    found.fast_error = lambda spec, shape: 0.0
    found.do_bench_us = lambda spec, shape: block_ns(4 * torch.Size(shape).numel()) / 1e3
    return found


def _foretold(real, *given, witnesses):
    return real(*given)


def _random(shape, device, dtype, seed):
    return torch.empty(shape, device=device, dtype=getattr(torch, dtype))


def _set(target, name, value, raising=True):
    assert hasattr(target, name) or not raising, name
    setattr(target, name, value)


if __name__ == "__main__":
    install()
    from gcbench.cli.app import main

    main()
