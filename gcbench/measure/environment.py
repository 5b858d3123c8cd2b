"""The machine as it is: what the manifest records, what deserves a warning, what memory is free.

Readings from /proc and /sys are optional: where a file is missing the reading is None.
"""

import gc
import os
import platform
import re
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from gcbench.errors import UsageError, cause
from gcbench.measure import heap
from gcbench.records import Cell, Gpu, Manifest
from gcbench.spec.cases import Switch

_LIBRARIES = ("torch", "torchvision", "fvcore", "numpy", "pandas", "triton")
_VARIABLES = re.compile(
    r"(OMP|MKL|KMP|GOMP|DNNL|ONEDNN|OPENBLAS|TORCH|PYTORCH|CUDA|CUBLAS|NVIDIA_TF32|ATEN|MALLOC"
    r"|TORCHINDUCTOR|TRITON|GLIBC_TUNABLES|LD_PRELOAD)_?\w*"
)
_CGROUP = Path("/sys/fs/cgroup")
_NVIDIA = Path("/proc/driver/nvidia")
_CPU = Path("/sys/devices/system/cpu/cpu0")


def node_name() -> str:
    """The name of this machine, as manifests have it."""
    return socket.gethostname()


def manifest(run: str, seed: int) -> Manifest:
    """Describe this machine, these versions and these settings, now."""
    import torch

    usable = usable_cores()
    record = Manifest(
        run=run,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        command=tuple(sys.argv),
        seed=seed,
        gcbench_version=version("gcbench") or "unknown",
        python_version=platform.python_version(),
        versions={name: version(name) for name in _LIBRARIES} | {"torch": str(torch.__version__)},
        node=node_name(),
        system=platform.platform(),
        cpu=cpu_name(),
        cores=os.cpu_count() or 1,
        usable_cores=usable,
        memory_bytes=_meminfo("MemTotal"),
        cache_bytes=last_level_cache_bytes("cpu"),
        devices={"cpu": cpu_name()} | _cuda_devices(),
        threads=torch.get_num_threads(),
        governor=_text(_CPU / "cpufreq/scaling_governor"),
        cpu_quota=_cpu_quota(),
        load_1min=_load(),
        flags=_torch_flags(),
        gpus=_gpus(),
        heap=heap.now(),
        variables={
            name: value for name, value in sorted(os.environ.items()) if _VARIABLES.fullmatch(name)
        },
    )
    return _with_warnings(record)


def default_threads() -> int:
    """The CPU threads that torch uses where nobody asks for a number."""
    import torch

    return torch.get_num_threads()


def where(manifest: Manifest, device: str, threads: int | None) -> str:
    """A device of this machine in a line, with the CPU threads where they are given."""
    used = "" if threads is None else f", {threads} thread{'' if threads == 1 else 's'}"
    name = manifest.device_name(device)
    return f"{device}: {name}{used} · torch {manifest.versions['torch']}"


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Let torch use so many CPU threads inside; None leaves its own choice."""
    import torch

    before = torch.get_num_threads()
    try:
        if number is not None:
            torch.set_num_threads(number)
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def tf32(switch: Switch | None) -> Iterator[None]:
    """Let CUDA shorten float32 inside, or forbid it; None leaves torch's own choice."""
    if switch is None and "torch" not in sys.modules:
        # nothing that was chosen here could be lost
        yield
        return
    before = torch_settings()
    try:
        if switch is not None:
            wanted = "tf32" if switch == "on" else "ieee"
            set_torch(before._replace(matmul_fp32=wanted, convolution_fp32=wanted))
        yield
    finally:
        set_torch(before)


class TorchSettings(NamedTuple):
    """Switches of torch that change what is measured, and that new processes must share.

    `matmul_fp32` and `convolution_fp32` say how CUDA computes in float32: `ieee`, `tf32`, or `none`
    for torch's default.
    """

    matmul_fp32: str
    convolution_fp32: str
    cudnn_benchmark: bool
    cudnn_deterministic: bool


def torch_settings() -> TorchSettings:
    """Read torch's switches."""
    from torch import backends

    matmul, convolution = _fp32_backends()
    return TorchSettings(
        matmul.fp32_precision,
        convolution.fp32_precision,
        backends.cudnn.benchmark,
        backends.cudnn.deterministic,
    )


def set_torch(settings: TorchSettings) -> None:
    """Set those of torch's switches that stand otherwise."""
    from torch import backends

    # one that stands as it should is not touched: to set some of them is a choice of interface
    matmul, convolution = _fp32_backends()
    if matmul.fp32_precision != settings.matmul_fp32:
        matmul.fp32_precision = settings.matmul_fp32
    if convolution.fp32_precision != settings.convolution_fp32:
        convolution.fp32_precision = settings.convolution_fp32
    if backends.cudnn.benchmark != settings.cudnn_benchmark:
        backends.cudnn.benchmark = settings.cudnn_benchmark
    if backends.cudnn.deterministic != settings.cudnn_deterministic:
        backends.cudnn.deterministic = settings.cudnn_deterministic


def _fp32_backends() -> tuple[Any, Any]:
    """What has the `fp32_precision` of CUDA's products, and of its convolutions.

    The older `allow_tf32` raises when it is read where anybody has set `fp32_precision`.
    """
    from torch import backends

    cudnn: Any = backends.cudnn
    return backends.cuda.matmul, cudnn.conv


def resolve_device(named: str | None) -> str:
    """The one name of a device of this machine: `cpu`, or `cuda:INDEX`.

    Where none is named, that is the accelerator if there is one, else the CPU; `cuda` is torch's
    current device. Raises UsageError where this machine has no such device.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if named == "cpu" or (named is None and not count):
        return "cpu"
    index = (named or "cuda").partition(":")[2]
    if count and not index:
        return f"cuda:{torch.cuda.current_device()}"
    if int(index or 0) < count:
        return f"cuda:{int(index)}"
    known = [f"cuda:{known}" for known in range(count)]
    found = f"{count} CUDA devices" if count else "no CUDA device that torch can use"
    allowed = ", ".join(["cpu", *known])
    raise UsageError(f"--device {named}: this machine has {found}; allowed: {allowed}")


def on_device(device: str) -> AbstractContextManager[object]:
    """Make a GPU the current one inside: kernels of a user's own are launched there.

    On the CPU nothing is done.
    """
    if device == "cpu":
        return nullcontext()
    import torch

    current: AbstractContextManager[object] = torch.cuda.device(device)
    return current


def device_id(device: str) -> str:
    """A name for the device that is the same for every process of this machine."""
    if device == "cpu":
        return device
    import torch

    # indices depend on what a process may see, identities do not
    return f"cuda-{torch.cuda.get_device_properties(device).uuid}"


def lock_path(what: str) -> Path:
    """The file that whoever measures on a device, or a part of one, locks on this machine."""
    return Path(tempfile.gettempdir()) / f"gcbench-{what}.lock"


def unlockable(path: Path, error: OSError) -> str:
    """Say that a lock cannot be had, and what that means."""
    return f"cannot lock {path} ({cause(error)}): another gcbench might measure beside this one"


def free_bytes(device: str) -> int | None:
    """Memory that this process can still take on the device, in bytes; None where it is unknown.

    On the CPU the smaller of MemAvailable and what the control group still allows; on CUDA what the
    driver has free, and what torch's allocator keeps of it without use.
    """
    if device != "cpu":
        from torch import cuda

        unused = cuda.memory_reserved(device) - cuda.memory_allocated(device)
        return cuda.mem_get_info(device)[0] + unused
    heap.give_back()
    readings = (_meminfo("MemAvailable"), _cgroup_free())
    return min((reading for reading in readings if reading is not None), default=None)


def give_back(device: str) -> bool:
    """Give memory that nothing uses any more back to a GPU, so that it is free for others.

    Returns whether the device still answers: after an illegal access nothing does. Never raises.
    """
    if device == "cpu":
        return True
    import torch

    gc.collect()
    try:
        with on_device(device):
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
    except RuntimeError:
        return False
    return True


def oom_kills() -> int | None:
    """How many processes the kernel has killed for want of memory, here; None where it is untold.

    Of this control group where it tells, else of the machine.
    """
    told = _text(_CGROUP / "memory.events") or _text(Path("/proc/vmstat")) or ""
    match = re.search(r"^oom_kill (\d+)$", told, re.MULTILINE)
    return int(match[1]) if match else None


def last_level_cache_bytes(device: str) -> int | None:
    """Size of the device's last cache before memory, in bytes; None where it is unknown."""
    if device != "cpu":
        import torch

        return int(torch.cuda.get_device_properties(device).L2_cache_size)
    sizes = [_cache_size(folder) for folder in _CPU.glob("cache/index*")]
    return max((size for size in sizes if size), default=None)


def caches(device: str, threads: int | None) -> tuple[tuple[str, int], ...]:
    """The levels of cache of a device, the smallest first: names, and the bytes that they hold.

    On a CPU that is what so many threads have, each on a core of its own: as many caches as they do
    not share. Levels of which the machine does not tell are left out.
    """
    if device != "cpu":
        size = last_level_cache_bytes(device)
        return (("L2", size),) if size else ()
    found: dict[str, int] = {}
    of_a_core = max(1, _listed(_CPU / "topology/thread_siblings_list"))
    for folder in _CPU.glob("cache/index*"):
        level, size = _text(folder / "level"), _cache_size(folder)
        if level and size and _text(folder / "type") != "Instruction":
            cores = max(1, _listed(folder / "shared_cpu_list") // of_a_core)
            found[f"L{level}"] = size * -(-(threads or 1) // cores)
    return tuple(sorted(found.items()))


def require_cache_bytes(device: str) -> int:
    """Size of the last cache, where it has to be known. Raises UsageError where it is not."""
    size_bytes = last_level_cache_bytes(device)
    if size_bytes is None:
        raise UsageError(f"--cache cold: the size of the last cache of {device} is unknown")
    return size_bytes


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def idle_ns() -> int | None:
    """Time since boot in which the cores that this process may run on did nothing, all together."""
    text = _text(Path("/proc/stat"))
    if text is None or not hasattr(os, "sched_getaffinity"):
        return None
    cores = os.sched_getaffinity(0)
    found = re.findall(r"^cpu(\d+)(?:\s+\d+){3}\s+(\d+)\s+(\d+)", text, re.MULTILINE)
    # idle, and idle while something waits for a disk
    ticks = sum(int(idle) + int(wait) for core, idle, wait in found if int(core) in cores)
    return ticks * 10**9 // os.sysconf("SC_CLK_TCK") if found else None


def cpu_name() -> str:
    """The processor's name as the system tells it."""
    match = re.search(r"^model name\s*:\s*(.+)$", _text(Path("/proc/cpuinfo")) or "", re.MULTILINE)
    return match[1] if match else platform.processor() or platform.machine()


def steal_ns() -> int | None:
    """Time that the hypervisor gave to others since boot, over all cores, in nanoseconds."""
    match = re.match(r"cpu\s+(?:\d+\s+){7}(\d+)", _text(Path("/proc/stat")) or "")
    return int(match[1]) * 10**9 // os.sysconf("SC_CLK_TCK") if match else None


def pressure_ns() -> int | None:
    """Time since boot in which some task of the machine waited for a core, in nanoseconds.

    This is the kernel's pressure stall information; None where it is not kept.
    """
    match = re.search(r"^some .*total=(\d+)", _text(Path("/proc/pressure/cpu")) or "")
    return int(match[1]) * 1000 if match else None


def version(package: str) -> str | None:
    """The installed version of a package; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _with_warnings(record: Manifest) -> Manifest:
    warnings = []
    if record.governor not in (None, "performance"):
        warnings.append(
            f"the CPU governor is {record.governor!r}: clocks move with load; "
            "'performance' keeps them steadier"
        )
    if record.cpu_quota is not None and record.cpu_quota < record.threads:
        warnings.append(
            f"a control group grants {record.cpu_quota:g} cores to {record.threads} threads: "
            "the kernel pauses them; try a smaller --threads"
        )
    if record.variables.get("CUDA_LAUNCH_BLOCKING", "0") != "0":
        warnings.append(
            "CUDA_LAUNCH_BLOCKING is set: the host waits for every kernel, and no queue is ever "
            "full; unset it"
        )
    return replace(record, warnings=tuple(warnings))


def _torch_flags() -> dict[str, bool | Cell]:
    import torch

    settings = torch_settings()
    return {
        "float32_matmul_precision": _matmul_precision(),
        "cuda_matmul_allow_tf32": settings.matmul_fp32 == "tf32",
        "cudnn_allow_tf32": settings.convolution_fp32 == "tf32",
        "cudnn_benchmark": settings.cudnn_benchmark,
        "cudnn_deterministic": settings.cudnn_deterministic,
        "cudnn": torch.backends.cudnn.version() if torch.cuda.is_available() else None,
        "cuda": torch.version.cuda,
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "mkldnn": torch.backends.mkldnn.is_available(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "interop_threads": torch.get_num_interop_threads(),
    }


def _matmul_precision() -> str:
    """The older switch of all backends; `mixed` where fp32_precision of one overrides it."""
    import torch

    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return "mixed"


def _cuda_devices() -> dict[str, str]:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return {f"cuda:{index}": torch.cuda.get_device_name(index) for index in range(count)}


def _gpus() -> dict[str, Gpu]:
    return {device: _gpu(device) for device in _cuda_devices()}


def _gpu(device: str) -> Gpu:
    """What torch, NVML and the driver's file tell of a GPU."""
    import torch

    properties = torch.cuda.get_device_properties(device)
    nvml, handle = nvml_of(str(properties.uuid)) or (None, None)

    def reading(name: str, *of: object) -> Any:
        # virtual GPUs refuse some readings, each in its own way
        with suppress(Exception):
            return getattr(nvml, name)(*of)
        return None

    limit_mw = reading("nvmlDeviceGetEnforcedPowerLimit", handle)
    mig = reading("nvmlDeviceGetMigMode", handle)
    return Gpu(
        driver=reading("nvmlSystemGetDriverVersion") or _driver(),
        multiprocessors=properties.multi_processor_count,
        power_limit_w=None if limit_mw is None else limit_mw / 1e3,
        mig=None if mig is None else bool(mig[0]),
    )


def nvml_of(uuid: str) -> tuple[Any, Any] | None:
    """NVML (extra `[cuda]`) and its handle of a GPU; None where they cannot be had."""
    try:
        import pynvml

        pynvml.nvmlInit()
        return pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    except Exception:  # not installed, no driver, or no right to look: an optional reading
        return None


def _driver() -> str | None:
    told = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", _text(_NVIDIA / "version") or "")
    return told[1] if told else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _meminfo(field: str) -> int | None:
    match = re.search(rf"^{field}:\s+(\d+) kB$", _text(Path("/proc/meminfo")) or "", re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def _cgroup_free() -> int | None:
    limit, used = (_text(_CGROUP / f"memory.{name}") for name in ("max", "current"))
    if limit is None or used is None or limit == "max":
        return None
    # pages of files that nobody maps are given back when memory is asked for
    idle = re.search(r"^inactive_file (\d+)$", _text(_CGROUP / "memory.stat") or "", re.MULTILINE)
    return max(0, int(limit) - int(used) + (int(idle[1]) if idle else 0))


def _cpu_quota() -> float | None:
    quota, _, period = (_text(Path("/sys/fs/cgroup/cpu.max")) or "max").partition(" ")
    return None if quota == "max" else int(quota) / int(period)


def _cache_size(folder: Path) -> int | None:
    match = re.fullmatch(r"(\d+)([KM])", _text(folder / "size") or "")
    return int(match[1]) * {"K": 2**10, "M": 2**20}[match[2]] if match else None


def _listed(path: Path) -> int:
    """How many numbers a list of the kernel has: `0-3,8` has five."""
    ends = re.findall(r"(\d+)(?:-(\d+))?", _text(path) or "")
    return sum(int(last or first) - int(first) + 1 for first, last in ends)


def _load() -> float | None:
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None
