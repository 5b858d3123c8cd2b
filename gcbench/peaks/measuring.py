"""Ceilings of a device, as measured: matrix products, copies, and the cost of a call.

The best of several readings stands, since what disturbs only delays.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from gcbench import environment
from gcbench.disturbance import disturbed, was_loaded
from gcbench.records import Manifest, Peaks, Queueing
from gcbench.spec import Layout
from gcbench.timing.clocks import Clock, CpuClock, Sample
from gcbench.timing.cuda import CudaClock
from gcbench.timing.gpu import TorchGpu
from gcbench.timing.usage import between, read_usage
from gcbench.workload import memory_format

Tell = Callable[[str], None]
Call = Callable[[], object]
# makes what is called from a device, a dtype and the side of a square matrix
Make = Callable[[str, str, int], Call]

# square matrices of these sides are multiplied, while one product takes no longer than this
CPU_SIDES, CUDA_SIDES = (256, 512, 1024, 2048), (1024, 2048, 4096, 8192)
LONGEST_PRODUCT_NS = 60_000_000
# time for the readings of one size, and their least and largest number
READING_NS, FEWEST, MOST = 120_000_000, 4, 200
# a rate lasts that is kept up this long, read from the last third of it
SUSTAINED_S = 3.0
# copies touch from this many bytes to so many times the last cache, in doublings
SMALLEST_COPY, CACHES = 2**18, 8
# and on CUDA to this many at least: smaller ones end before all of the memory is busy
LARGEST_CUDA_COPY = 2**30
UNKNOWN_CACHE_BYTES = 2**25
# how a map lies before a convolution, beside a contiguous column: whether as a square, the layout
ROADS: tuple[tuple[bool, Layout], ...] = (
    (True, "contiguous"),
    (False, "channels_last"),
    (True, "channels_last"),
)
LAUNCHES = 1000
_NO_MARKS = str.maketrans("", "", ":-")
# what a machine did meanwhile that leaves ceilings too low
BUSY = {"low_cpu_share", "pressure"}


class Do:
    """A call that needs no preparing."""

    repeatable, cold, turns = True, False, 1
    queueing: Queueing = "fits"

    def __init__(self, call: Call) -> None:
        """Do what `call` does."""
        self.call = call

    def prepare(self) -> None:
        """Nothing to prepare."""

    def settle(self) -> None:
        """Call once."""
        self.call()


def measure(
    manifest: Manifest,
    device: str,
    threads: int | None,
    dtypes: Sequence[str],
    sustained: bool = False,
    tell: Tell = lambda what: None,
) -> Peaks:
    """Measure the ceilings of a device, on a CPU at so many threads.

    `manifest` describes the machine as it was before; `tell` gets what is measured next.
    `sustained` adds, for each dtype, the rate that lasts. Takes some seconds; the rows of a busy
    machine are flagged.
    """
    before = read_usage()
    with environment.on_device(device), _set_up(threads):
        clock = _clock(device)
        products, convolutions, lasting = {}, {}, {}
        for dtype in dtypes:
            tell(f"products in {dtype}")
            products[dtype], side = _best_rate(clock, device, product, dtype)
            convolutions[dtype] = _best_convolution(clock, device, dtype)
            if sustained:
                tell(f"products in {dtype}, for {SUSTAINED_S:g} s")
                lasting[dtype] = _lasting(clock, device, dtype, side)
        tell("copies")
        copies = tuple(_copies(clock, device))
        launch_us = _launch_us(device)
    # that a host takes a few per cent for others does not show in the best of many readings
    flags = set(disturbed([between(before, read_usage())], on_cpu=device == "cpu")) & BUSY
    flags |= {"load"} if was_loaded(manifest) else set()
    return Peaks(
        name=f"{_slug(device, threads)}-{manifest.started[:19].translate(_NO_MARKS)}Z",
        device=device,
        device_name=manifest.device_name(device) or device,
        threads=threads,
        product_flops_per_s=products,
        convolution_flops_per_s=convolutions,
        sustained_flops_per_s=lasting,
        copies=copies,
        launch_us=launch_us,
        flags=tuple(sorted(flags)),
    )


def _slug(device: str, threads: int | None) -> str:
    return device.replace(":", "") + ("" if threads is None else f"-{threads}t")


def _clock(device: str) -> Clock:
    return CpuClock() if device == "cpu" else CudaClock(TorchGpu(device))


@contextmanager
def _set_up(threads: int | None) -> Iterator[None]:
    usual = torch.get_num_threads()
    with torch.set_grad_enabled(False):
        try:
            if threads is not None:
                torch.set_num_threads(threads)
            yield
        finally:
            torch.set_num_threads(usual)


def _best_ns(clock: Clock, call: Call) -> int:
    """The least time of a call, of as many readings as fit in the time for them."""
    sample = Sample(Do(call), 1)
    first_ns = [clock.time([[sample]]).durations_ns[0][0] for _ in range(2)][-1]
    readings = min(MOST, max(FEWEST, READING_NS // max(first_ns, 1)))
    return min(turns[0] for turns in clock.time([[sample]] * readings).durations_ns)


def _best_rate(clock: Clock, device: str, work: Make, dtype: str) -> tuple[float, int]:
    """The best rate of a product of squares, in FLOP/s, and the side that gave it."""
    best, best_side = 0.0, 0
    for side in CPU_SIDES if device == "cpu" else CUDA_SIDES:
        took_ns = _best_ns(clock, work(device, dtype, side))
        rate = _rate(side, took_ns)
        if rate > best:
            best, best_side = rate, side
        if took_ns > LONGEST_PRODUCT_NS / 8:  # the next one takes eight times as long
            break
    return best, best_side


def _best_convolution(clock: Clock, device: str, dtype: str) -> float:
    """The best rate of 1x1 convolutions, in FLOP/s: of the road by which a library is fastest."""
    best, side = _best_rate(clock, device, convolution, dtype)
    for square, layout in ROADS:
        took_ns = _best_ns(clock, convolution(device, dtype, side, square, layout))
        best = max(best, _rate(side, took_ns))
    return best


def _rate(side: int, took_ns: int) -> float:
    return 2 * side**3 / (took_ns / 1e9)


def product(device: str, dtype: str, side: int) -> Call:
    """A product of two square matrices."""
    a, b = (_random((side, side), device, dtype, seed) for seed in (0, 1))
    return lambda: a @ b


def convolution(
    device: str, dtype: str, side: int, square: bool = False, layout: Layout = "contiguous"
) -> Call:
    """The same as a 1x1 convolution, for which libraries may have faster kernels.

    The positions of the map are a column, or as near a square as halving allows.
    """
    height = 2 ** (side.bit_length() // 2) if square else side
    shapes = (side, side, 1, 1), (1, side, height, side // height)
    weight, x = (
        _random(shape, device, dtype, seed).contiguous(memory_format=memory_format(layout))
        for seed, shape in enumerate(shapes)
    )
    return lambda: torch.nn.functional.conv2d(x, weight)


def _random(shape: tuple[int, ...], device: str, dtype: str, seed: int) -> Tensor:
    generator = torch.Generator(device).manual_seed(seed)
    return torch.randn(shape, device=device, generator=generator).to(getattr(torch, dtype))


def _lasting(clock: Clock, device: str, dtype: str, side: int) -> float:
    """The median rate of the last third of some seconds of products, in FLOP/s."""
    work = product(device, dtype, side)
    sample = Sample(Do(work), 1)
    once_ns = max(1, _best_ns(clock, work))
    spent_ns: list[int] = []
    end_ns = clock.now() + round(SUSTAINED_S * 1e9)
    while clock.now() < end_ns:
        rounds = [[sample]] * max(1, 50_000_000 // once_ns)
        spent_ns += [turns[0] for turns in clock.time(rounds).durations_ns]
    last = sorted(spent_ns[-max(1, len(spent_ns) // 3) :])
    return _rate(side, last[len(last) // 2])


def _copies(clock: Clock, device: str) -> Iterator[tuple[int, float]]:
    """Bytes that a copy touches, and how many of them it moves a second."""
    cache = environment.last_level_cache_bytes(device) or UNKNOWN_CACHE_BYTES
    free = environment.free_bytes(device)
    largest = max(CACHES * cache, 0 if device == "cpu" else LARGEST_CUDA_COPY)
    largest = min(largest, (free or largest) // 4)
    touched = SMALLEST_COPY
    while touched == SMALLEST_COPY or touched <= largest:
        source = torch.randn(touched // 8, device=device)
        target = torch.empty_like(source)
        yield touched, touched / (_best_ns(clock, lambda: target.copy_(source)) / 1e9)  # noqa: B023
        touched *= 2


def _launch_us(device: str) -> float:
    """Time of one operator on one number among many, in microseconds of the host's clock."""
    x = torch.zeros(1, device=device)
    best_s = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(LAUNCHES):
            x.zero_()
        if device != "cpu":
            torch.cuda.synchronize(device)
        best_s = min(best_s, time.perf_counter() - start)
    return 1e6 * best_s / LAUNCHES
