"""Ceilings of a device, as measured: matrix products, copies, and the cost of a call.

What disturbs only delays, so the best of many short bursts stands. Those of all that is compared
take turns, so that no moment spoils one thing alone, and go on until the best was seen several
times.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from gcbench.errors import told
from gcbench.measure import environment
from gcbench.measure.peaks.roads import Road, roads
from gcbench.measure.timing.clocks import Clock, CpuClock, Sample
from gcbench.measure.timing.cuda import CudaClock
from gcbench.measure.timing.gpu import TorchGpu
from gcbench.measure.timing.watching import between, read_usage
from gcbench.records import Manifest, Peaks, Queueing, Rate, RoadKind
from gcbench.stats.machine_flags import disturbed, was_loaded

Log = Callable[[str], None]
Call = Callable[[], object]

# square matrices of these sides are multiplied, while one product takes no longer than this
CPU_SIDES, CUDA_SIDES = (256, 512, 1024, 2048), (1024, 2048, 4096, 8192)
LONGEST_PRODUCT_NS = 20_000_000
# a burst lasts so long, or one call; a reading is as many calls as last this long
BURST_NS, READING_NS, MOST_READINGS = 8_000_000, 20_000, 200
# there are so many bursts, until so many of them are as fast as the best, but for this share; a
# machine on which they never are is busy, and is not asked for longer than this
FEWEST_BURSTS, MOST_BURSTS, AGREEING, ALIKE = 4, 16, 3, 0.03
LONGEST_RACE_NS = 800_000_000
# a rate lasts that is kept up this long, read from the last third of it
SUSTAINED_S = 3.0
# copies touch from this many bytes to so many times the last cache, in doublings
SMALLEST_COPY, CACHES = 2**14, 8
# and on CUDA to this many at least: smaller ones end before all of the memory is busy
SMALLEST_CUDA_COPY, LARGEST_CUDA_COPY = 2**18, 2**30
UNKNOWN_CACHE_BYTES = 2**25
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


@dataclass
class Runner:
    """Something that is called as fast as it goes: FLOP or bytes, and what bursts took at best."""

    call: Call
    work: float
    bursts_ns: list[float] = field(default_factory=list)

    @property
    def best_ns(self) -> float:
        """The least time of one call."""
        return min(self.bursts_ns)

    @property
    def per_s(self) -> float:
        """The best rate, in FLOP or bytes a second."""
        return 1e9 * self.work / self.best_ns

    @property
    def is_sure(self) -> bool:
        """Whether several bursts were as fast as the best."""
        if len(self.bursts_ns) < FEWEST_BURSTS:
            return False
        near_ns = (1 + ALIKE) * self.best_ns
        return sum(burst_ns <= near_ns for burst_ns in self.bursts_ns) >= AGREEING

    def burst(self, clock: Clock) -> None:
        """Call for a moment; the first call finds the caches as others left them, untimed."""
        self.call()
        once_ns = max(1.0, self.best_ns if self.bursts_ns else self._reading_ns(clock, 1, 1))
        calls = max(1, round(READING_NS / once_ns))
        readings = min(MOST_READINGS, max(1, int(BURST_NS / (calls * once_ns))))
        self.bursts_ns.append(self._reading_ns(clock, calls, readings))

    def _reading_ns(self, clock: Clock, calls: int, readings: int) -> float:
        taken = clock.time([[Sample(Do(self.call), calls)]] * readings).durations_ns
        return min(turns[0] for turns in taken) / calls


def settle(clock: Clock, runners: Sequence[Runner]) -> bool:
    """Let runners take turns until each is sure; returns whether all are."""
    end_ns = clock.now() + 2 * LONGEST_RACE_NS
    for turn in range(MOST_BURSTS):
        if turn and clock.now() >= end_ns:
            break
        for runner in runners:
            if not runner.is_sure:
                runner.burst(clock)
    return all(runner.is_sure for runner in runners)


def race(clock: Clock, runners: Sequence[Runner]) -> bool:
    """Let runners that had a burst take turns until the fastest is sure; returns whether it is.

    Those that fall behind are left out: soon where they are far behind, and late where they are
    near.
    """
    racing = list(runners)
    end_ns = clock.now() + LONGEST_RACE_NS
    for turn in range(1, MOST_BURSTS + 1):
        fastest = max(racing, key=lambda each: each.per_s)
        if fastest.is_sure or clock.now() >= end_ns:
            break
        racing = [each for each in racing if (1 + 1 / turn) * each.per_s >= fastest.per_s]
        for runner in racing:
            runner.burst(clock)
    return max(racing, key=lambda each: each.per_s).is_sure


def measure(
    manifest: Manifest,
    device: str,
    threads: int | None,
    dtypes: Sequence[str],
    sustained: bool = False,
    tell: Log = lambda what: None,
    known: Peaks | None = None,
) -> Peaks:
    """Measure the ceilings of a device, on a CPU at so many threads.

    `manifest` describes the machine as it was before; `tell` gets what is measured next.
    `sustained` adds, for each dtype, the rate that lasts. Copies and the cost of a call are taken
    from what is `known`. Takes a second for each dtype; what was measured on a busy machine is
    named.
    """
    watch = _Watch(device, was_loaded(manifest))
    found: list[Rate] = []
    lasting: dict[str, float] = {}
    with environment.on_device(device), _set_up(threads):
        clock = _clock(device)
        for dtype in dtypes:
            tell(f"products in {dtype}")
            with watch.over(dtype):
                rates, fastest, sure = _products(clock, device, dtype)
            watch.add(dtype, sure)
            if sustained and fastest:
                tell(f"products in {dtype}, for {SUSTAINED_S:g} s")
                lasting[dtype] = _lasting(clock, fastest)
                rates = [_credited(rate, fastest) for rate in rates]
            found += rates
        if known is None:
            tell("copies")
            with watch.over("copies"):
                copies, sure = _copies(clock, device, threads)
                launch_us = _launch_us(device)
            watch.add("copies", sure)
        else:
            copies, launch_us = known.copies, known.launch_us
            watch.busy |= {part: each for part, each in known.busy.items() if part == "copies"}
    return Peaks(
        name=f"{_slug(device, threads)}-{manifest.started[:19].translate(_NO_MARKS)}Z",
        device=device,
        device_name=manifest.device_name(device) or device,
        threads=threads,
        product_flops_per_s=_best_of(found, "product"),
        convolution_flops_per_s=_best_of(found, "convolution"),
        sustained_flops_per_s=lasting,
        copies=copies,
        launch_us=launch_us,
        flags=tuple(sorted({flag for flags in watch.busy.values() for flag in flags})),
        roads=tuple(found),
        caches=environment.caches(device, threads),
        busy=watch.busy,
    )


class _Watch:
    """What the machine did while parts of the ceilings were measured, where it is too much."""

    def __init__(self, device: str, loaded: bool) -> None:
        self.busy: dict[str, tuple[str, ...]] = {}
        self._on_cpu = device == "cpu"
        self._loaded = loaded

    @contextmanager
    def over(self, part: str) -> Iterator[None]:
        """Watch the machine while a part is measured."""
        before = read_usage()
        yield
        seen = set(disturbed([between(before, read_usage())], self._on_cpu)) & BUSY
        self._add(part, seen | ({"load"} if self._loaded else set()))

    def add(self, part: str, sure: bool) -> None:
        """Note where the best of a part was seen too seldom to be believed."""
        self._add(part, set() if sure else {"unsteady"})

    def _add(self, part: str, flags: set[str]) -> None:
        if flags:
            self.busy[part] = tuple(sorted({*self.busy.get(part, ()), *flags}))


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


def _best_of(rates: Sequence[Rate], kind: RoadKind) -> dict[str, float]:
    """The best rate of a kind of road by dtype."""
    best: dict[str, float] = {}
    for rate in rates:
        if rate.kind == kind and rate.flops_per_s is not None:
            best[rate.dtype] = max(rate.flops_per_s, best.get(rate.dtype, 0.0))
    return best


def _products(clock: Clock, device: str, dtype: str) -> tuple[list[Rate], Runner | None, bool]:
    """What every road to a product reaches in a dtype.

    Returns beside that the fastest product of torch's own, and whether the best of each kind of
    road is sure.
    """
    entries = roads(device)
    matrices = _Matrices(device, dtype)
    started = [_started(clock, device, dtype, road, matrices) for road in entries]
    sure = True
    for kind in dict.fromkeys(road.kind for road in entries):
        runners = [
            runner
            for road, (some, _) in zip(entries, started, strict=True)
            for runner in some
            if road.kind == kind
        ]
        sure &= not runners or race(clock, runners)
    rates = [
        Rate(
            road.named(device, dtype),
            road.kind,
            dtype,
            max((runner.per_s for runner in runners), default=None),
            reason,
        )
        for road, (runners, reason) in zip(entries, started, strict=True)
    ]
    own = [
        runner
        for road, (runners, _) in zip(entries, started, strict=True)
        for runner in runners
        if road.kind == "product"
    ]
    return rates, max(own, key=lambda each: each.per_s, default=None), sure


def _started(
    clock: Clock, device: str, dtype: str, road: Road, matrices: "_Matrices"
) -> tuple[list[Runner], str | None]:
    """A road at every size, after a first burst of each; or why it cannot be taken."""
    reason = road.why_not(device, dtype)
    runners: list[Runner] = []
    if reason:
        return runners, reason
    try:
        for side in CPU_SIDES if device == "cpu" else CUDA_SIDES:
            runner = Runner(road.make(*matrices.of(side)), 2.0 * side**3)
            runner.burst(clock)
            runners.append(runner)
            if runner.best_ns > LONGEST_PRODUCT_NS / 8:  # the next one takes eight times as long
                break
    except Exception as error:  # a library, an older torch or a processor may lack it
        reason = None if runners else told(error.__cause__ or error)
    return runners, reason


class _Matrices:
    """Two matrices of random numbers in a dtype, of any side: the first part of the same memory."""

    def __init__(self, device: str, dtype: str) -> None:
        self._device, self._dtype = device, dtype
        self._largest: tuple[Tensor, Tensor] | None = None

    def of(self, side: int) -> tuple[Tensor, Tensor]:
        """Two matrices (side, side)."""
        if self._largest is None or self._largest[0].numel() < side**2:
            self._largest = tuple(  # type: ignore[assignment]
                _random((side**2,), self._device, self._dtype, seed) for seed in (0, 1)
            )
        assert self._largest is not None
        a, b = self._largest
        return a[: side**2].view(side, side), b[: side**2].view(side, side)


def _random(shape: tuple[int, ...], device: str, dtype: str, seed: int) -> Tensor:
    generator = torch.Generator(device).manual_seed(seed)
    return torch.randn(shape, device=device, generator=generator).to(getattr(torch, dtype))


def _credited(rate: Rate, runner: Runner) -> Rate:
    """A rate of torch's own product with what a runner of it reached since."""
    if rate.kind != "product" or rate.flops_per_s is None:
        return rate
    return replace(rate, flops_per_s=max(rate.flops_per_s, runner.per_s))


def _lasting(clock: Clock, runner: Runner) -> float:
    """The median rate of the last third of some seconds of calls, in FLOP/s."""
    sample = Sample(Do(runner.call), 1)
    spent_ns: list[int] = []
    end_ns = clock.now() + round(SUSTAINED_S * 1e9)
    while clock.now() < end_ns:
        rounds = [[sample]] * max(1, int(50_000_000 / max(1.0, runner.best_ns)))
        spent_ns += [turns[0] for turns in clock.time(rounds).durations_ns]
    # so many readings may well hold a better one than the bursts
    runner.bursts_ns.append(min(spent_ns))
    last = sorted(spent_ns[-max(1, len(spent_ns) // 3) :])
    return 1e9 * runner.work / last[len(last) // 2]


def _copies(
    clock: Clock, device: str, threads: int | None
) -> tuple[tuple[tuple[int, float], ...], bool]:
    """Bytes that copies touch, and how many of them they move a second; and whether that is sure.

    All are of the first part of one source.
    """
    sizes = copy_sizes(device, threads)
    source = _random((min(sizes[-1] // 8, 2**16),), device, "float32", 0)
    source = source.repeat(-(-sizes[-1] // 8 // len(source)))
    target = torch.empty_like(source)
    runners = [
        Runner(_copy(source[: touched // 8], target[: touched // 8]), touched) for touched in sizes
    ]
    sure = settle(clock, runners)
    return tuple((int(runner.work), runner.per_s) for runner in runners), sure


def _copy(source: Tensor, target: Tensor) -> Call:
    return lambda: target.copy_(source)


def copy_sizes(device: str, threads: int | None) -> list[int]:
    """The bytes that copies touch, in doublings: from little to far beyond the last cache."""
    caches = environment.caches(device, threads)
    cache = caches[-1][1] if caches else UNKNOWN_CACHE_BYTES
    free = environment.free_bytes(device)
    smallest = SMALLEST_COPY if device == "cpu" else SMALLEST_CUDA_COPY
    largest = max(CACHES * cache, 0 if device == "cpu" else LARGEST_CUDA_COPY)
    largest = min(largest, (free or largest) // 4)
    sizes = [smallest]
    while 2 * sizes[-1] <= largest:
        sizes.append(2 * sizes[-1])
    return sizes


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
