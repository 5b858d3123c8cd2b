"""What a run holds: frozen records of what was seen. Nothing here is derived, rounded or scaled."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from gcbench.spec.cases import Case, Effort, Heap

SCHEMA = 3

Status = Literal["ok", "oom", "timeout", "error", "crashed", "skipped"]
StoppedBy = Literal["precision", "time", "interrupt"]
Role = Literal["case", "aa", "copy"]
# What a call does to the queue of a device that is held: it fits in; it fills it, so that the host
# waits for room while the device is busy; or the host waits for the device inside.
Queueing = Literal["fits", "fills", "syncs"]
Cell = int | float | str | None


@dataclass(frozen=True, slots=True)
class Arm:
    """One thing that was timed in a comparison.

    `case` is the position of the case among the comparison's measurements: the one that is timed,
    for role `aa` the one that this is another copy of, for role `copy` the first of those whose
    input it clones. Arms of one `group` share rounds, and each sample holds `calls` calls.
    """

    role: Role
    case: int
    group: int
    calls: int


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What else the machine did during one replicate; None where it does not tell.

    `steal_ns` is what the hypervisor gave to others, over all cores; `pressure_ns` the time in
    which some task of the machine waited for a core.
    """

    wall_ns: int
    cpu_ns: int
    steal_ns: int | None
    involuntary_switches: int
    pressure_ns: int | None = None


@dataclass(frozen=True, slots=True)
class DeviceState:
    """How an accelerator was while some rounds were timed; None where it does not tell.

    `clock_mhz` is the lowest clock that a wait of known length showed, `told_mhz` the lowest that
    the driver told, temperature and power the highest. `throttle` names the driver's reasons for
    holding the clock down. `event_pair_ns` is what a sample of nothing reads.
    """

    clock_mhz: float | None = None
    told_mhz: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    throttle: tuple[str, ...] = ()
    throttled_rounds: int = 0
    event_pair_ns: float | None = None


@dataclass(frozen=True, slots=True)
class Replicate:
    """One rebuild of every arm: for each arm the duration of each sample in nanoseconds, by round.

    An arm that took no part in this replicate has no samples. Samples of two arms of one group at
    the same position come from the same round. `exposed` counts for each arm the samples in which
    the device may have waited for the host; empty where there are none. So are `faults`, the minor
    page faults of each arm's samples, `waited`, the samples in which threads of this process waited
    for a core, and `waiting_ns`, for how long they did.
    """

    samples_ns: tuple[tuple[int, ...], ...]
    disturbance: Disturbance
    exposed: tuple[int, ...] = ()
    device: DeviceState | None = None
    discarded_rounds: int = 0
    faults: tuple[int, ...] = ()
    waited: tuple[int, ...] = ()
    waiting_ns: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Timing:
    """Every sample of a comparison, and why there are no more."""

    arms: tuple[Arm, ...]
    replicates: tuple[Replicate, ...]
    stopped_by: StoppedBy

    @property
    def discarded_rounds(self) -> int:
        """Whole rounds that were thrown away and timed again."""
        return sum(replicate.discarded_rounds for replicate in self.replicates)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What became of one case. `reason` says in words why it is not ok.

    `needed_bytes` is the memory that a call of it was predicted to take, before it was tried.
    """

    case: Case
    status: Status = "ok"
    reason: str | None = None
    metrics: dict[str, Cell] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    needed_bytes: int | None = None


def are_of(measurements: Sequence[Measurement], cases: Sequence[Case]) -> bool:
    """Whether measurements are of these cases, in their order."""
    return [measurement.case for measurement in measurements] == list(cases)


RoadKind = Literal["product", "inner product", "convolution"]


@dataclass(frozen=True, slots=True)
class Rate:
    """What one road to a product of matrices reached in one dtype, in FLOP/s (two for each MAC).

    Where it could not be taken there is a `reason` instead. torch's own products take roads of the
    kind `product`, its convolutions those of `convolution`; an `inner product` is a library's,
    which torch takes only where a module was made for it.
    """

    road: str
    kind: RoadKind
    dtype: str
    flops_per_s: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Peaks:
    """Ceilings of one device at one number of threads, as measured.

    `name` is what rows that rest on them carry. Rates are FLOP/s (two for each MAC) by dtype: of
    matrix products the best of short bursts and, where it was measured, what lasts; of 1x1
    convolutions, for which libraries have kernels of their own, the best of bursts; `roads` has
    every road to a product apart. `copies` are pairs of the bytes that a copy touches (read and
    written) and the bytes a second that it moved of them; `caches` the name and the bytes of each
    level that these threads share or have, the smallest first. `launch_us` is one call of an
    operator on almost nothing. `busy` has what the machine did while a dtype, or `copies`, was
    measured, where that leaves ceilings too low; `flags` is all of it.
    """

    name: str
    device: str
    device_name: str
    threads: int | None
    product_flops_per_s: dict[str, float]
    convolution_flops_per_s: dict[str, float]
    sustained_flops_per_s: dict[str, float]
    copies: tuple[tuple[int, float], ...]
    launch_us: float
    flags: tuple[str, ...] = ()
    roads: tuple[Rate, ...] = ()
    caches: tuple[tuple[str, int], ...] = ()
    busy: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def best(self, dtype: str) -> Rate | None:
        """The fastest road to a product in a dtype; None where it was not measured."""
        known = [rate for rate in self.roads if rate.dtype == dtype and rate.flops_per_s]
        # runs of before roads were told apart have the best of each kind
        if dtype in self.product_flops_per_s:
            rate = self.product_flops_per_s[dtype]
            known.append(Rate("matrix products", "product", dtype, rate))
        if dtype in self.convolution_flops_per_s:
            rate = self.convolution_flops_per_s[dtype]
            known.append(Rate("1x1 convolutions", "convolution", dtype, rate))
        return max(known, key=lambda rate: rate.flops_per_s or 0.0, default=None)

    @property
    def dtypes(self) -> set[str]:
        """What products were measured in, or tried."""
        return {*self.product_flops_per_s, *(rate.dtype for rate in self.roads)}

    def disturbed(self, dtype: str) -> tuple[str, ...]:
        """What the machine did that leaves the ceilings of a case in a dtype too low."""
        if not self.busy:
            return self.flags
        return (*self.busy.get(dtype, ()), *self.busy.get("copies", ()))


@dataclass(frozen=True, slots=True)
class ComparisonRecord:
    """A comparison as it was measured: one timing for each process, none where none was possible.

    `baselines` says for each case the position of the one that it is divided by; `peaks` are the
    ceilings of the devices and threads of its cases. `machine` is where it was measured, where that
    is another one than the run's manifest tells of; `kind` names the device in a run in which each
    kind of device measures every comparison. `place` is its place in the grid, in a run whose
    comparisons are not written in that order.
    """

    measurements: tuple[Measurement, ...]
    baselines: tuple[int, ...]
    precision: float
    timings: tuple[Timing, ...]
    pair: str | None = None
    peaks: tuple[Peaks, ...] = ()
    machine: "Manifest | None" = None
    kind: str | None = None
    place: int = 0

    @property
    def interrupted(self) -> bool:
        """Whether a person ended it before it was done."""
        return any(timing.stopped_by == "interrupt" for timing in self.timings)

    def broken_off(self) -> "ComparisonRecord":
        """The same, as the last that was measured when a person ended it."""
        *before, last = self.timings
        return replace(self, timings=(*before, replace(last, stopped_by="interrupt")))

    def flagged(self, flag: str) -> "ComparisonRecord":
        """The same with a flag on every case."""
        found = tuple(replace(m, flags=(*m.flags, flag)) for m in self.measurements)
        return replace(self, measurements=found)


def identity(key: str, kind: str | None) -> str:
    """What a case is told apart by in its run: its key, and the kind of device if each has one.

    >>> identity("gc|...", None), identity("gc|...", "NVIDIA L4")
    ('gc|...', 'gc|... on NVIDIA L4')
    """
    return key if kind is None else f"{key} on {kind}"


class Outline(NamedTuple):
    """Which cases a comparison holds and what became of each, in their order; no samples.

    `keys` are those of `identity`, `place` is that of the record.
    """

    keys: tuple[str, ...]
    statuses: tuple[Status, ...]
    place: int = 0


QUICK, RIGOROUS = Effort(0.05, 2.0), Effort(0.005, 60.0, processes=3)
# a network takes far longer to call, and to rebuild, than a block
NETWORK_EFFORT = {"cpu": Effort(0.02, 60.0), "cuda": Effort(0.01, 20.0)}


@dataclass(frozen=True, slots=True)
class Gpu:
    """What a GPU is beside its name; None where it does not tell.

    `driver` is the version of NVIDIA's driver, `multiprocessors` the number of SMs that a process
    may use, `power_limit_w` what the part keeps itself to. `mig` says whether it can be cut into
    several devices (MIG mode).
    """

    driver: str | None = None
    multiprocessors: int | None = None
    power_limit_w: float | None = None
    mig: bool | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """Where, when and with what a run was measured.

    `gpus` has more of those `devices` that are GPUs; `sweep` is what a sweep was asked for, as
    TOML. `heap` is how the C allocator treated freed memory; `engine` says where comparisons ran:
    `process` in processes of their own, `inline` in that of gcbench, `static` nowhere. `origins`
    say where each value came from that was asked for: an option, a variable, a path into a file.
    `runtimes` has, of those that are not torch's own and could be had, the versions of their
    packages and the settings of their sessions.
    """

    run: str
    started: str
    command: tuple[str, ...]
    seed: int
    gcbench_version: str
    python_version: str
    versions: dict[str, str | None]
    node: str
    system: str
    cpu: str
    cores: int
    usable_cores: int
    memory_bytes: int | None
    cache_bytes: int | None
    devices: dict[str, str]
    threads: int
    governor: str | None
    cpu_quota: float | None
    load_1min: float | None
    flags: dict[str, bool | Cell]
    variables: dict[str, str]
    warnings: tuple[str, ...] = ()
    sweep: str | None = None
    schema: int = SCHEMA
    gpus: dict[str, Gpu] = field(default_factory=dict)
    heap: Heap = "default"
    engine: str | None = None
    origins: dict[str, str] = field(default_factory=dict)
    runtimes: dict[str, dict[str, str]] = field(default_factory=dict)

    def device_name(self, device: str) -> str | None:
        """What a device calls itself; None where the machine had none of that name."""
        return self.devices.get(_first(device))

    def gpu(self, device: str) -> Gpu | None:
        """What is known of a GPU; None for a CPU, and in runs that recorded nothing of it."""
        return self.gpus.get(_first(device))


def _first(device: str) -> str:
    # older runs name torch's default device without a number
    return "cuda:0" if device == "cuda" else device


@dataclass(frozen=True, slots=True)
class Run:
    """What one command measured."""

    manifest: Manifest
    comparisons: tuple[ComparisonRecord, ...]

    @property
    def interrupted(self) -> bool:
        """Whether a person ended it, so that its last comparison is not done."""
        return any(record.interrupted for record in self.comparisons)

    @property
    def outlines(self) -> list[Outline]:
        """The outline of every comparison, in their order."""
        return [
            Outline(
                tuple(identity(each.case.key, record.kind) for each in record.measurements),
                tuple(each.status for each in record.measurements),
                record.place,
            )
            for record in self.comparisons
        ]

    def comparison(self, position: int) -> ComparisonRecord:
        """The comparison at a position, from 0 on."""
        return self.comparisons[position]
