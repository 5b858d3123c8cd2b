"""What the steps of the first run on a GPU do; `gpu_table.py` has their order and expectations.

A step prints what a person wants to see and yields what it read, by name. It is done in a process
of its own, so what it does to CUDA ends with it.
"""

import os
import shlex
import statistics
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpu_table import Value

if TYPE_CHECKING:
    from gpu_machine import Call, Machine

    from gcbench.records import Peaks

ROOT = Path(__file__).resolve().parent.parent
CUDA_TESTS = ("tests/gpu/test_timing_cuda_fake.py", "tests/gpu/test_cuda_device.py")
UNTRUSTED = 5

Read = Iterator[tuple[str, Value]]
Row = Mapping[str, Any]
Done = subprocess.CompletedProcess[str]

# waits are of 4^k cycles, for these k: up to some 8 ms; a part comes to rest in a second
POWERS = (4, 6, 8, 10, 12)
IDLE_S, WARM_CYCLES, MARK_CYCLES = 1.0, 10**8, 10**6
PAIRS, LAUNCHES, BLOCKED_NS = 200, 2000, 1_000_000
FLUSHED_ROUNDS = 40
AT_MOST_ONE_IS_OTHER = (
    "mode == 'infer' and dtype == 'float32' or mode == 'infer' and layout == 'contiguous' "
    "or dtype == 'float32' and layout == 'contiguous'"
)
# the fast blocks, one of each way through their kernels
FAST_BLOCKS = (
    *("gc", "gc:fusion=both", "gc:pooling=avg", "gc:bottleneck=false", "se", "snl", "nl"),
)
# several parts an image, and the last of them cut short
FAST_SHAPE, FAST_ERROR = (2, 200, 47, 53), 1e-4
# nl at this shape takes more than a millisecond
LONG_SHAPE = (8, 256, 56, 56)


@dataclass(frozen=True)
class Setting:
    """Where a step runs, and where it leaves runs: those in `out` are kept, under a label."""

    device: str
    out: Path
    scratch: Path
    label: str
    rehearse: bool = False

    def machine(self) -> "Machine":
        if self.rehearse:
            sys.path.insert(0, str(ROOT / "tests" / "support"))
            import simulated

            return simulated.machine(self.device)
        import gpu_machine

        return gpu_machine.Machine(self.device)

    def kept(self, what: str) -> Path:
        return self.out / f"{what}-{self.label}.jsonl"

    def gcbench(self, *words: str, allowed: tuple[int, ...] = (0,)) -> Done:
        """Run a command of gcbench on the device; raises where it exits otherwise than allowed."""
        door = (
            [str(ROOT / "tests" / "support" / "simulated.py")]
            if self.rehearse
            else ["-m", "gcbench"]
        )
        command = [*words, "--device", self.device]
        print(f"\n$ gcbench {shlex.join(command)}", flush=True)
        done = subprocess.run(
            [sys.executable, *door, *command], stdout=subprocess.PIPE, text=True, check=False
        )
        print(done.stdout, flush=True)
        if done.returncode not in allowed:
            raise SystemExit(f"gcbench {words[0]} exited with {done.returncode}")
        return done

    def rows(self, run: Path, *words: str) -> list[Row]:
        """The rows of the run that a command of gcbench leaves there."""
        from gcbench import store
        from gcbench.results import tables

        self.gcbench(*words, "-o", str(run))
        return list(tables.rows(store.load(run)))


def has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def of(name: str) -> Callable[[Setting], Read]:
    """The step of a name."""
    step: Callable[[Setting], Read] = globals()[name]
    return step


def title(name: str) -> str:
    """What a step does, in a line."""
    return (of(name).__doc__ or "").splitlines()[0]


def versions(setting: Setting) -> Read:
    """Versions, tools, and the size of the L2 cache."""
    import torch

    machine = setting.machine()
    print(*machine.words(), sep="\n")
    yield "card", machine.card()
    yield "torch", str(torch.__version__)
    yield "l2_mib", machine.l2_bytes() / 2**20


def waits(setting: Setting) -> Read:
    """The first wait between two events, then waits of 4^k cycles, idle and warm."""
    machine = setting.machine()
    with machine.gpu.current():
        yield "first_cycles_per_ns", _cycles_per_ns(machine, MARK_CYCLES)
        print(f"{'cycles':>12}{'idle':>10}{'warm':>10}   cycles/ns")
        for power in POWERS:
            machine.gpu.synchronize()
            machine.sleep(IDLE_S)
            idle = _cycles_per_ns(machine, 4**power)
            machine.gpu.cycles(WARM_CYCLES)
            warm = _cycles_per_ns(machine, 4**power)
            print(f"{4**power:>12}{idle:>10.3f}{warm:>10.3f}")
    yield "idle_cycles_per_ns", idle
    yield "warm_cycles_per_ns", warm


def _cycles_per_ns(machine: "Machine", cycles: int) -> float:
    start, end = machine.gpu.event(), machine.gpu.event()
    start.record()
    machine.gpu.cycles(cycles)
    end.record()
    machine.gpu.synchronize()
    # the shortest may be read as no time at all
    return cycles / max(1e6 * start.elapsed_time(end), 1.0)


def event_pair(setting: Setting) -> Read:
    """An empty pair of events on a full queue."""
    machine = setting.machine()
    with machine.gpu.current():
        # lazy loading, and a wait long enough for the host to fill the queue behind it
        _cycles_per_ns(machine, MARK_CYCLES)
        pairs = [(machine.gpu.event(), machine.gpu.event()) for _ in range(PAIRS)]
        machine.gpu.cycles(20 * MARK_CYCLES)
        for start, end in pairs:
            start.record()
            end.record()
        first, _ = pairs[0]
        yield "queue_was_full", "no" if first.query() else "yes"
        machine.gpu.synchronize()
    taken = sorted(1e3 * start.elapsed_time(end) for start, end in pairs)
    print(f"  {PAIRS} pairs: {taken[0]:.2f} to {taken[-1]:.2f} us")
    yield "event_pair_us", statistics.median(taken)


def queue(setting: Setting) -> Read:
    """A wait, then 2000 tiny launches: where the host blocks."""
    machine = setting.machine()
    with machine.gpu.current():
        launch = machine.tiny()
        launch()
        _cycles_per_ns(machine, MARK_CYCLES)
        machine.gpu.cycles(WARM_CYCLES)
        moments = [machine.now()]
        for _ in range(LAUNCHES):
            launch()
            moments.append(machine.now())
        machine.gpu.synchronize()
    taken = [after - before for before, after in pairwise(moments)]
    blocked = [number for number, ns in enumerate(taken) if ns > BLOCKED_NS]
    print(f"  longest launch {max(taken) / 1e6:.2f} ms, median {statistics.median(taken):.0f} ns")
    yield "launches_until_full", blocked[0] if blocked else "never full"


def tests(setting: Setting) -> Read:
    """The two files of tests for CUDA."""
    found = setting.scratch / "tests.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts="]
    # plugins that happen to be there may warn, and those of the project need not be there
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    code = subprocess.run(
        [*command, f"--junitxml={found}", *CUDA_TESTS], cwd=ROOT, env=env, check=False
    ).returncode
    [suite] = ET.parse(found).getroot().iter("testsuite")
    failed = int(suite.attrib["failures"]) + int(suite.attrib["errors"])
    yield "tests_run", int(suite.attrib["tests"]) - int(suite.attrib["skipped"])
    yield "tests_failed", failed
    if code:
        raise SystemExit(f"pytest exited with {code}")


def peaks(setting: Setting) -> Read:
    """The ceilings of the device, which later steps hold their rows against."""
    import msgspec

    from gcbench.records import Peaks

    yield from _ceilings(msgspec.json.decode(setting.gcbench("peaks", "--json").stdout, type=Peaks))


def _ceilings(found: "Peaks") -> Read:
    yield "copy_tb_per_s", max(found.copies)[1] / 1e12
    for dtype, rate in found.product_flops_per_s.items():
        yield f"{dtype}_tflop_per_s", rate / 1e12
    yield "launch_us", found.launch_us


def flush(setting: Setting) -> Read:
    """A clone of 25.7 MB after flushes that write, that read, and that write and then read."""
    from gcbench.measure.timing.clocks import Sample

    machine = setting.machine()
    with machine.gpu.current():
        write, read = machine.write_flush(), machine.read_flush()
        flushes = {"no": (), "write": (write,), "read": (read,), "write_read": (write, read)}
        clone = machine.clone()
        turns = [Sample(Prepared(clone, before), 1) for before in flushes.values()]
        durations = machine.clock().time([turns] * FLUSHED_ROUNDS).durations_ns
    for name, taken in zip(flushes, zip(*durations, strict=True), strict=True):
        yield f"clone_after_{name}_us", statistics.median(taken) / 1e3


class Prepared:
    """A call, with others before it that are not timed."""

    repeatable, cold, queueing, turns = False, True, "fits", 1

    def __init__(self, call: "Call", before: "Sequence[Call]") -> None:
        self.call, self._before = call, before

    def prepare(self) -> None:
        for each in self._before:
            each()

    def settle(self) -> None:
        self.prepare()
        self.call()


def table(setting: Setting) -> Read:
    """All blocks at 1x256x56x56: the device's time, the host's, and a graph's."""
    rows = setting.rows(setting.kept("bench-1x256x56x56"), "bench", "-v")
    gc = _row(rows, block="gc")
    yield "gc_us", gc["latency_us"]
    yield "gc_host_us", gc["host_us"]
    yield "gc_graph_us", gc["graph_us"]
    yield "gc_bound", gc["bound"]


def cold(setting: Setting) -> Read:
    """The GC block at 8x256x56x56, cold and warm, with its energy and its kernels."""
    run = setting.kept("bench-8x256x56x56-cache")
    rows = setting.rows(run, "bench", "gc", "--quick", "-v", "--batch", "8", "--pair", "cache")
    cold, warm = (_row(rows, cache=cache) for cache in ("cold", "warm"))
    yield "cold_us", cold["latency_us"]
    yield "warm_us", warm["latency_us"]
    yield "floor_us", cold["floor_us"]
    yield "kernels", warm["kernels_per_call"]
    yield "warm_energy_mj", warm["energy_mj"]


def check(setting: Setting) -> Read:
    """Can timings be believed? Every trial of `gcbench check`, once."""
    done = setting.gcbench("check", "--repeat", "1", "--max-time", "2s", allowed=(0, UNTRUSTED))
    yield "trusted", "no" if done.returncode else "yes"


def twice(setting: Setting) -> Read:
    """The GC block against itself, in two processes one after the other."""
    found = {}
    for which in ("first", "second"):
        rows = setting.rows(setting.scratch / f"{which}.jsonl", "bench", "gc", "gc", "--quick")
        yield f"{which}_aa", rows[1]["relative"]
        found[which] = rows[0]["latency_us"]
    yield "second_by_first", found["second"] / found["first"]


def compiled(setting: Setting) -> Read:
    """The GC block compiled twice: the second does not find what the first has loaded."""
    run = setting.scratch / "compiled.jsonl"
    rows = setting.rows(run, "bench", "gc", "gc", "--runtime", "compile", "--quick")
    first, second = (row["compile_ms"] for row in rows)
    yield "first_compile_ms", first
    yield "second_by_first_compile", second / first


def variants(setting: Setting) -> Read:
    """In training, in bfloat16, and channels_last, each beside what is usual."""
    words = ["sweep", "gc", "se", "--channels", "256", "--size", "56", "--quick"]
    words += ["--mode", "infer,train", "--dtype", "float32,bfloat16"]
    words += ["--layout", "contiguous,channels_last", "--where", AT_MOST_ONE_IS_OTHER]
    rows = setting.rows(setting.kept("sweep-variants"), *words)
    for axis, value in (("mode", "train"), ("dtype", "bfloat16"), ("layout", "channels_last")):
        yield f"gc_{value}_us", _row(rows, block="gc", **{axis: value})["latency_us"]


def fast(setting: Setting) -> Read:
    """The fast ways on CUDA against the references: outputs first, then times."""
    machine = setting.machine()
    worst = {spec: machine.fast_error(spec, FAST_SHAPE) for spec in FAST_BLOCKS}
    for spec, error in worst.items():
        print(f"  {spec}: {error:.2e} of the largest output beside the reference in float64")
    yield "kernels_are_equal", "yes" if max(worst.values()) < FAST_ERROR else "no"
    specs = [spec for block in ("gc", "se", "snl") for spec in (block, f"{block}:impl=fast")]
    rows = setting.rows(setting.kept("fast"), "bench", *specs, "--quick")
    for block in ("gc", "se", "snl"):
        plain, quick = (_row(rows, spec=spec) for spec in (block, f"{block}:impl=fast"))
        yield f"{block}_fast_by_reference", quick["latency_us"] / plain["latency_us"]


def sustained(setting: Setting) -> Read:
    """GC and NL on a device that is kept busy, beside their latencies in bursts."""
    words = ("bench", "gc", "nl", "--batch", "8", "--quick", "--cache", "warm")
    found = {}
    for regime in ("burst", "sustained"):
        run = setting.scratch / f"{regime}.jsonl"
        found[regime] = setting.rows(run, *words, "--regime", regime)
    for block in ("gc", "nl"):
        burst, lasting = (_row(found[regime], block=block)["latency_us"] for regime in found)
        yield f"{block}_sustained_by_burst", lasting / burst


def capture(setting: Setting) -> Read:
    """A block whose capture fails, then the ceilings in the same process."""
    machine = setting.machine()
    yield "capture", machine.capture()
    yield from _ceilings(machine.ceilings())


def do_bench(setting: Setting) -> Read:
    """A block of more than a millisecond, beside Triton's do_bench."""
    batch, channels, side, _ = LONG_SHAPE
    words = ["nl", "--batch", str(batch), "--channels", str(channels), "--size", str(side)]
    rows = setting.rows(setting.scratch / "long.jsonl", "bench", *words, "--cache", "cold")
    theirs_us = setting.machine().do_bench_us("nl", LONG_SHAPE)
    yield "gcbench_us", rows[0]["latency_us"]
    yield "do_bench_us", theirs_us
    yield "by_do_bench", rows[0]["latency_us"] / theirs_us


def networks(setting: Setting) -> Read:
    """A ResNet-50 with GC blocks, in inference and in training."""
    words = ["network", "resnet50", "--insert", "gc@+all", "--quick"]
    syncs = 0
    for mode in ("infer", "train"):
        rows = setting.rows(setting.kept(f"network-{mode}"), *words, "--mode", mode)
        syncs += sum("syncs_inside" in (row["flags"] or "") for row in rows)
        yield f"{mode}_by_plain", rows[1]["relative"]
    yield "cases_that_sync", syncs


def _row(rows: list[Row], **cells: str) -> Row:
    return next(row for row in rows if cells.items() <= row.items())
