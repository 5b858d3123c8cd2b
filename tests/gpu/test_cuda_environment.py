"""What gcbench asks of a CUDA device beside timing, on a simulated torch.cuda with two devices."""

import json
import sys
from dataclasses import replace

import msgspec
import pytest
import torch
from fake_cuda import ILLEGAL, MIB, FakeCuda, nvml

from gcbench import engines, store
from gcbench.engines import inline, jobs, probe
from gcbench.engines.limits import memory_limited
from gcbench.measure import environment, peaks, runtimes
from gcbench.measure.peaks import measuring
from gcbench.measure.runtimes import compiled
from gcbench.records import QUICK, Gpu, Manifest, Measurement
from gcbench.results import roofline
from gcbench.spec.cases import Axes

REAL_PEAKS = measuring.measure


@pytest.fixture
def cuda(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiled._load_compiler.cache_clear()
    return FakeCuda(monkeypatch)


def test_what_the_allocator_has_cached_is_free(cuda):
    memory = cuda.devices[1].memory
    memory.others = 1000 * MIB
    kept, cached = memory.take(100 * MIB), memory.take(2000 * MIB)
    memory.free(cached)
    assert cuda.mem_get_info("cuda:1")[0] == memory.total - 3100 * MIB
    assert environment.free_bytes("cuda:1") == memory.total - 1100 * MIB
    assert environment.free_bytes("cuda:0") == cuda.devices[0].memory.total
    assert kept.requested


def test_memory_is_given_back_and_that_never_raises(cuda):
    memory = cuda.devices[1].memory
    memory.free(memory.take(30 * MIB))
    assert memory.reserved == 30 * MIB
    assert environment.give_back("cuda:1")
    assert memory.reserved == 0
    assert cuda.at == 0
    cuda.error = RuntimeError(ILLEGAL)
    assert not environment.give_back("cuda:1")
    assert environment.give_back("cpu")


@pytest.mark.parametrize(
    ("named", "current", "found"),
    [(None, 0, "cuda:0"), ("cuda", 1, "cuda:1"), ("cuda:1", 0, "cuda:1"), ("cpu", 1, "cpu")],
)
def test_a_device_has_one_name(cuda, named, current, found):
    cuda.at = current
    assert environment.resolve_device(named) == found


def test_devices_that_are_not_there_are_named(cuda):
    with pytest.raises(environment.UsageError, match=r"has 2 CUDA devices; allowed: cpu, cuda:0, "):
        environment.resolve_device("cuda:2")
    assert torch.cuda.current_device() == 0


@pytest.mark.parametrize("named", [None, "cuda", "cuda:0"])
def test_ceilings_kept_for_a_device_are_found_by_each_of_its_names(cuda, named):
    manifest = environment.manifest("peaks", seed=0)
    axes = Axes(device=None if named is None else "cuda")
    found, _ = engines.measure_peaks(axes, ["float32"], print, wait=True, tell=print)
    assert found.device == "cuda:0"
    said = []
    case = engines.compare(["gc"], Axes(device=named, cache="warm")).cases[0]
    assert case.device == "cuda:0"
    assert "|cuda|" in case.key
    [known] = peaks.Ceilings(manifest, said.append, said.append).of([case])
    assert roofline.peaks_of(case, (known,), 1) == replace(found, name=known.name)
    assert said == []


def test_ceilings_are_those_of_a_card_whatever_its_number(cuda):
    manifest = environment.manifest("peaks", seed=0)
    peaks.anew(manifest, "cuda:1", None, ["float32"], print, print)
    cuda.devices.pop(0)
    said = []
    found = peaks.of_device(
        environment.manifest("peaks", seed=0), "cuda:0", None, ["float32"], said.append, said.append
    )
    assert found.device == "cuda:0"
    assert said == []


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_memory_is_limited_on_a_device_and_only_inside(cuda, device):
    cuda.at = 1
    memory = cuda.devices[1].memory
    held = memory.take(30 * MIB)
    memory.free(memory.take(4000 * MIB))
    with memory_limited(100 * MIB, device):
        fits = memory.take(90 * MIB)
        with pytest.raises(torch.OutOfMemoryError):
            memory.take(30 * MIB)
    assert memory.take(4000 * MIB).requested > fits.requested > held.requested
    cases = engines.compare(["gc"], Axes(device="cuda", cache="warm")).cases
    with memory_limited(MIB, cases[0].device):
        assert cuda.devices[1].memory.fraction < 0.1


@pytest.fixture
def precisions(monkeypatch):
    """How CUDA computes in float32, put back afterwards."""
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = matmul.fp32_precision, convolution.fp32_precision
    yield matmul, convolution
    matmul.fp32_precision, convolution.fp32_precision = before


@pytest.mark.parametrize("anybodys", ["tf32", "ieee"])
def test_tf32_is_read_and_set_also_where_somebody_chose_a_precision(precisions, anybodys):
    for backend in precisions:
        backend.fp32_precision = anybodys
    flags = environment.manifest("env", seed=0).flags
    assert flags["cuda_matmul_allow_tf32"] == flags["cudnn_allow_tf32"] == (anybodys == "tf32")
    assert flags["float32_matmul_precision"] == ("mixed" if anybodys == "tf32" else "highest")
    for switch, inside in (("on", "tf32"), ("off", "ieee"), (None, anybodys)):
        with environment.tf32(switch):
            assert [backend.fp32_precision for backend in precisions] == [inside] * 2
        assert [backend.fp32_precision for backend in precisions] == [anybodys] * 2


def test_measuring_makes_the_device_of_the_cases_the_current_one(cuda, monkeypatch):
    seen = []

    def tried(*arguments):
        seen.append(torch.cuda.current_device())
        raise KeyboardInterrupt

    comparison = engines.compare(["gc"], Axes(device="cuda:1", cache="warm"))
    for name in ("attempted", "workload"):
        monkeypatch.setattr(inline, name, tried)
    monkeypatch.setattr(measuring, "_clock", tried)
    job = jobs.Job(comparison, QUICK)
    for measure in (
        lambda: inline.measure(job),
        lambda: inline.time_side_by_side(comparison.cases, [1], QUICK),
        lambda: REAL_PEAKS(environment.manifest("p", seed=0), "cuda:1", None, ["float32"]),
    ):
        with pytest.raises(KeyboardInterrupt):
            measure()
        assert torch.cuda.current_device() == 0
    assert seen == [1, 1, 1]


def test_the_compiler_is_loaded_on_the_device_of_the_cases(cuda, monkeypatch):
    seen = []
    monkeypatch.setattr(torch, "compile", lambda f, dynamic: lambda x: seen.append(x.device))
    axes = Axes(device="cuda:1", cache="warm", runtime="compile")
    cases = engines.compare(["gc"], axes).cases
    with cuda.tensors(), runtimes.session(cases):
        assert seen == [torch.device("cuda:1")]
    # once for a device
    with cuda.tensors(), runtimes.session(cases):
        assert len(seen) == 1


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
    ],
)
def test_memory_that_libraries_and_the_driver_lack_is_out_of_memory(cuda, words):
    [case] = engines.compare(["gc"], Axes(device="cuda:1", cache="warm")).cases
    assert probe.failed(Measurement(case), RuntimeError(words)).status == "oom"
    assert probe.failed(Measurement(case), RuntimeError(ILLEGAL)).status == "error"


def test_a_host_that_waits_for_every_kernel_is_warned_of(cuda, monkeypatch):
    for value, warned in (("1", True), ("0", False)):
        monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", value)
        warnings = environment.manifest("env", seed=0).warnings
        assert any("CUDA_LAUNCH_BLOCKING" in warning for warning in warnings) == warned


def test_copies_on_a_gpu_touch_a_gibibyte_or_more(cuda):
    sizes = measuring.copy_sizes("cuda:1", None)
    assert sizes[-1] == 2**30
    cuda.devices[1].last_cache.size = cuda.devices[1].L2_cache_size = 256 * MIB
    assert measuring.copy_sizes("cuda:1", None)[-1] == 2**31


def test_another_driver_has_ceilings_of_its_own(cuda, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", nvml())
    then = environment.manifest("peaks", seed=0)
    peaks.of_device(then, "cuda:1", None, ["float32"], print, print)
    newer = {"cuda:1": replace(then.gpus["cuda:1"], driver="590.1")}
    said = []
    peaks.of_device(
        replace(then, gpus=newer), "cuda:1", None, ["float32"], said.append, said.append
    )
    assert "driver was 580.65.06 and is 590.1" in said[0]


def test_the_manifest_has_what_a_gpu_is(cuda, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", nvml(mig=1))
    cuda.devices[1].multi_processor_count = 78
    made = environment.manifest("env", seed=0)
    assert made.gpus["cuda:0"] == Gpu("580.65.06", 132, 700.0, True)
    assert made.gpu("cuda:1").multiprocessors == 78
    assert ("gpu.cuda:1 multiprocessors", "78") in list(store.lines_of(made))
    other = replace(made, gpus=made.gpus | {"cuda:0": Gpu("580.65.06", 132, 350.0, True)})
    assert store.mismatches(made, other) == ["cuda:0 power limit w: 700.0 then, 350.0 now"]


@pytest.mark.parametrize(
    "refuses",
    [
        ["nvmlInit"],
        ["nvmlDeviceGetHandleByUUID"],
        ["nvmlDeviceGetMigMode", "nvmlDeviceGetEnforcedPowerLimit", "nvmlSystemGetDriverVersion"],
    ],
)
def test_what_a_gpu_is_needs_no_nvml(cuda, monkeypatch, tmp_path, refuses):
    monkeypatch.setitem(sys.modules, "pynvml", nvml(refuses))
    monkeypatch.setattr(environment, "_NVIDIA", tmp_path)
    assert environment.manifest("env", seed=0).gpus["cuda:0"] == Gpu(None, 132, None, None)
    for told in (
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  535.129.03  Release Build",
    ):
        (tmp_path / "version").write_text(f"{told}\nGCC version:  gcc version 12.2.0\n")
        assert environment.manifest("env", seed=0).gpus["cuda:0"].driver == "535.129.03"


def test_a_manifest_of_before_names_no_gpus(cuda):
    old = json.loads(store.encoded(environment.manifest("old", seed=0)))
    del old["gpus"]
    read = msgspec.convert(old, Manifest)
    assert read.gpus == {}
    assert read.gpu("cuda:0") is None
