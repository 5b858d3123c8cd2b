"""Ceilings of a machine: measured on a clock that is an argument, kept where they belong, and never
believed of another machine."""

import json
from dataclasses import replace

import pytest
from conftest import PEAKS
from fake_gpu import FakeGpu

from gcbench import environment, peaks
from gcbench.cli.app import main
from gcbench.peaks import kept, measuring
from gcbench.records import Gpu
from gcbench.spec import Axes, Block, compare
from gcbench.timing.cuda import CudaClock

REAL_MEASURE = measuring.measure


@pytest.fixture(scope="module")
def manifest():
    return replace(environment.manifest("peaks", seed=0), load_1min=0.0)


@pytest.fixture
def measured(monkeypatch):
    """Count what is measured; each measurement has a name of its own."""
    calls = []

    def measure(manifest, device, threads, dtypes, sustained=False, tell=None):
        calls.append((device, threads, tuple(dtypes)))
        rates = dict.fromkeys(dtypes, float(len(calls)))
        return replace(
            PEAKS,
            name=f"p{len(calls)}",
            device=device,
            threads=threads,
            product_flops_per_s=rates,
            convolution_flops_per_s=rates,
        )

    monkeypatch.setattr(measuring, "measure", measure)
    return calls


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "gcbench" / "peaks"


def of_cpu(manifest, dtypes=("float32",), threads=2, told=None):
    told = [].append if told is None else told
    return peaks.of_device(manifest, "cpu", threads, dtypes, told, [].append)


def test_ceilings_are_measured_once_and_then_read(manifest, measured, cache):
    said = []
    first = of_cpu(manifest, told=said.append)
    assert of_cpu(manifest, told=said.append) == first
    assert measured == [("cpu", 2, ("float32",))]
    assert said == []


def test_a_dtype_that_was_never_measured_is_added_to_those_that_were(manifest, measured, cache):
    of_cpu(manifest)
    both = of_cpu(manifest, ("float32", "bfloat16"))
    assert measured[1:] == [("cpu", 2, ("bfloat16",))]
    assert both.product_flops_per_s == {"float32": 1.0, "bfloat16": 2.0}
    assert of_cpu(manifest, ("bfloat16",)) == both


def test_every_number_of_threads_has_ceilings_of_its_own(manifest, measured, cache):
    assert {of_cpu(manifest, threads=threads).threads for threads in (1, 2, 1)} == {1, 2}
    assert len(measured) == 2
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"versions": {"torch": "99.0"}}, "torch was"),
        ({"usable_cores": 77}, "cores was"),
        ({"devices": {"cpu": "another one"}}, "device was"),
        ({"gpus": {"cpu": Gpu(driver="580.65.06")}}, "driver was None and is 580.65.06"),
    ],
)
def test_stale_ceilings_are_told_and_measured_anew(manifest, measured, cache, change, words):
    of_cpu(manifest)
    said = []
    of_cpu(replace(manifest, **change), told=said.append)
    assert len(measured) == 2
    assert words in said[0]
    assert "stale" in said[0]


@pytest.mark.parametrize(
    "change",
    [
        {"flags": {"cuda_matmul_allow_tf32": True}},
        {"variables": {"OPENBLAS_CORETYPE": "Prescott"}},
    ],
)
def test_settings_in_turn_have_ceilings_of_their_own(manifest, measured, cache, change):
    other, said = replace(manifest, **change), []
    for machine in (manifest, other, manifest, other):
        of_cpu(machine, told=said.append)
    assert (len(measured), said) == (2, [])
    assert len(list(cache.iterdir())) == 2


def test_one_session_looks_for_ceilings_once_however_busy_the_machine_is(
    manifest, measured, cache, monkeypatch
):
    quiet = measuring.measure
    monkeypatch.setattr(
        measuring, "measure", lambda *a, **k: replace(quiet(*a, **k), flags=("pressure",))
    )
    ceilings = peaks.Ceilings(manifest, print, print)
    shared = Axes(device="cpu", threads=2)
    for axes in (shared, shared, replace(shared, dtype="bfloat16"), replace(shared, threads=1)):
        cases = compare([Block("b", "b", None, False)], axes, "cpu").cases
        [found] = ceilings.of(cases)
        assert axes.dtype in found.product_flops_per_s
    assert [(threads, dtypes) for _, threads, dtypes in measured] == [
        (2, ("float32",)),
        (2, ("bfloat16",)),
        (1, ("float32",)),
    ]


def test_a_folder_among_the_variables_makes_nothing_stale(manifest, measured, cache):
    of_cpu(manifest)
    of_cpu(replace(manifest, variables=manifest.variables | {"TORCHINDUCTOR_CACHE_DIR": "/x"}))
    assert len(measured) == 1


def test_ceilings_of_a_busy_moment_are_measured_anew_when_the_machine_is_quiet(
    manifest, measured, cache
):
    kept.keep(manifest, replace(PEAKS, threads=2, flags=("load",)), "cpu", print)
    busy = replace(manifest, load_1min=50.0)
    peaks.of_device(busy, "cpu", 2, (), print, print)
    assert measured == []
    said = []
    peaks.of_device(manifest, "cpu", 2, ("float32",), said.append, print)
    assert len(measured) == 1
    assert "while the machine was busy" in said[0]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"manifest": 3}', "\x00"])
def test_a_damaged_file_is_told_and_replaced(manifest, measured, cache, text):
    of_cpu(manifest)
    [path] = cache.iterdir()
    path.write_text(text)
    said = []
    of_cpu(manifest, told=said.append)
    assert "cannot be read" in said[0]
    of_cpu(manifest)
    assert len(measured) == 2


def test_a_folder_that_cannot_be_written_costs_a_sentence_and_nothing_else(
    manifest, measured, tmp_path, monkeypatch
):
    (tmp_path / "gcbench").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said = []
    found = of_cpu(manifest, told=said.append)
    assert found.product_flops_per_s == {"float32": 1.0}
    assert any("cannot keep the peaks in" in sentence for sentence in said)


def test_measuring_reads_rates_off_the_clock(monkeypatch, manifest):
    gpu = FakeGpu()
    monkeypatch.setattr(measuring, "_clock", lambda device: CudaClock(gpu, gpu.now, gpu.sleep))

    def convolution(device, dtype, side, square=False, layout="contiguous"):
        fastest = square and layout == "channels_last"
        return lambda: gpu.do(side**3 / (4 if fastest else 2))

    # a product of side n takes n^3 / 8 ns, or 1 ns for 16 FLOP; a convolution twice as long on its
    # fastest road
    monkeypatch.setattr(measuring, "product", lambda d, t, side: lambda: gpu.do(side**3 / 8))
    monkeypatch.setattr(measuring, "convolution", convolution)
    monkeypatch.setattr(measuring, "_copies", lambda clock, device: iter([(2**20, 5e9)]))
    monkeypatch.setattr(measuring, "SUSTAINED_S", 0.3)
    found = REAL_MEASURE(manifest, "cpu", 1, ["float32", "float64"], sustained=True)
    assert found.product_flops_per_s == pytest.approx({"float32": 16e9, "float64": 16e9}, rel=1e-4)
    assert found.convolution_flops_per_s == pytest.approx({"float32": 8e9, "float64": 8e9})
    assert found.sustained_flops_per_s == pytest.approx(found.product_flops_per_s, rel=1e-4)
    assert found.copies == ((2**20, 5e9),)
    assert found.name.startswith("cpu-1t-")


def test_sizes_grow_until_one_product_takes_too_long(monkeypatch):
    gpu = FakeGpu()
    sides = []

    def product(device, dtype, side):
        sides.append(side)
        return lambda: gpu.do(side**3 * 0.1)

    clock = CudaClock(gpu, gpu.now, gpu.sleep)
    assert measuring._best_rate(clock, "cpu", product, "float32") == (pytest.approx(20e9), 512)
    # one of 512 takes 13 ms, so that the next one would take 107
    assert sides == [256, 512]


def test_copies_go_from_small_ones_to_far_beyond_the_cache(monkeypatch):
    gpu = FakeGpu()
    monkeypatch.setattr(environment, "last_level_cache_bytes", lambda device: 2**20)
    monkeypatch.setattr(measuring, "_best_ns", lambda clock, call: call() is None or 1000)
    sizes = [touched for touched, _ in measuring._copies(CudaClock(gpu, gpu.now), "cpu")]
    assert sizes == [2**18, 2**19, 2**20, 2**21, 2**22, 2**23]
    monkeypatch.setattr(environment, "free_bytes", lambda device: 10)
    assert [t for t, _ in measuring._copies(CudaClock(gpu, gpu.now), "cpu")] == [2**18]


def test_convolutions_take_every_road_and_multiply_the_same_numbers():
    ends = {
        (square, layout): measuring.convolution("cpu", "float32", 128, square, layout)()
        for square, layout in ((False, "contiguous"), *measuring.ROADS)
    }
    assert {tuple(end.shape) for (square, _), end in ends.items() if square} == {(1, 128, 16, 8)}
    assert {tuple(end.shape) for (square, _), end in ends.items() if not square} == {
        (1, 128, 128, 1)
    }
    assert all(end.numel() == 128**2 for end in ends.values())


@pytest.mark.slow
def test_this_machine_has_ceilings_and_a_wider_float_is_never_faster(manifest):
    found = REAL_MEASURE(manifest, "cpu", 1, ["float32", "float64"])
    assert found.product_flops_per_s["float32"] > found.product_flops_per_s["float64"] > 1e8
    assert all(1e8 < rate < 1e13 for _, rate in found.copies)
    assert found.launch_us > 0


def ran(*arguments):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return end.value.code or 0


def test_the_command_prints_a_table_and_json_and_keeps_what_it_found(measured, cache, capsys):
    assert ran("peaks", "--device", "cpu", "--threads", "1") == 0
    out = capsys.readouterr().out
    assert "bfloat16" in out
    assert "p1" in out
    assert ran("peaks", "--device", "cpu", "--threads", "1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["name"] == "p2"
    assert measured == [("cpu", 1, ("float32", "float16", "bfloat16", "float64"))] * 2
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--device", "cuda:9"], "--device cuda:9: this machine has"),
        (["--device", "gpu"], "--device takes cpu, cuda or cuda:INDEX, not 'gpu'"),
        (["--threads", "0"], "--threads takes a whole number from 1"),
        (["--tf32", "maybe"], "--tf32 'maybe' is unknown"),
    ],
)
def test_bad_input_is_one_clear_line(capsys, arguments, words):
    assert ran("peaks", *arguments) == 2
    err = capsys.readouterr().err.splitlines()
    assert words in err[-1]


def test_peaks_of_a_busy_machine_are_told(measured, cache, capsys, monkeypatch):
    monkeypatch.setattr(environment, "_load", lambda: 99.0)
    quiet = measuring.measure
    monkeypatch.setattr(
        measuring, "measure", lambda *a, **k: replace(quiet(*a, **k), flags=("load",))
    )
    assert ran("peaks", "--device", "cpu") == 0
    captured = capsys.readouterr()
    assert "warning: machine busy (load 99.0 on" in captured.err
    assert "peaks_busy" in captured.out
