"""Ceilings of a machine: measured on a clock that is an argument, kept where they belong, and never
believed of another machine."""

import itertools
import json
import random
import re
from dataclasses import replace

import pytest
import torch
from fake_gpu import FakeGpu
from fakes import FakeClock
from made_up import PEAKS
from torch.utils.flop_counter import FlopCounterMode

from gcbench.cli.app import main
from gcbench.measure import environment, peaks
from gcbench.measure.peaks import kept, measuring, roads
from gcbench.measure.peaks.measuring import Runner
from gcbench.measure.timing.cuda import CudaClock
from gcbench.measure.timing.watching import Usage
from gcbench.records import Gpu, Rate
from gcbench.spec.cases import Axes, Block, comparison_of

REAL_MEASURE = measuring.measure


@pytest.fixture(scope="module")
def manifest():
    return replace(environment.manifest("peaks", seed=0), load_1min=0.0)


@pytest.fixture
def measured(monkeypatch):
    """Count what is measured; each measurement has a name of its own."""
    calls = []

    def measure(manifest, device, threads, dtypes, sustained=False, tell=None, known=None):
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


CHANGES = [
    ({"versions": {"torch": "99.0"}}, "torch was .* and is 99.0"),
    ({"usable_cores": 77}, r"cores was \d+ and is 77"),
    ({"devices": {"cpu": "another one"}}, "device was .* and is another one"),
    ({"flags": {"cuda_matmul_allow_tf32": True}}, "was .* and is"),
    ({"variables": {"OPENBLAS_CORETYPE": "Prescott"}}, "CORETYPE was not set and is Prescott"),
    ({"gpus": {"cpu": Gpu(driver="580.65.06")}}, "driver was not set and is 580.65.06"),
]


@pytest.mark.parametrize(("change", "words"), CHANGES)
def test_every_state_of_a_machine_keeps_its_own_ceilings_and_a_new_one_is_told(
    manifest, measured, cache, change, words
):
    manifest, said = replace(manifest, variables={}), []
    other = replace(manifest, **change)
    of_cpu(manifest, told=said.append)
    assert said == []
    of_cpu(other, told=said.append)
    [sentence] = said
    assert re.search(words, sentence)
    assert "{" not in sentence
    # in turn, as often as one likes, and neither is told of again
    for state in (manifest, other, manifest):
        of_cpu(state, told=said.append)
    assert len(measured) == 2
    assert len(said) == 1


def test_of_several_states_the_most_similar_one_is_compared(manifest, measured, cache):
    manifest = replace(manifest, variables={})
    far = replace(manifest, variables={"OMP_NUM_THREADS": "1", "MKL_CBWR": "AVX2"})
    for state in (manifest, far):
        of_cpu(state)
    said = []
    of_cpu(replace(manifest, versions={"torch": "99.0"}), told=said.append)
    assert "torch was" in said[0]


def test_what_an_older_version_kept_is_passed_over(manifest, measured, cache):
    of_cpu(manifest)
    [path] = cache.iterdir()
    path.rename(cache / (path.name[: -len("-0123456789ab.json")] + ".json"))
    said = []
    of_cpu(manifest, told=said.append)
    assert len(measured) == 2
    assert said == []


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
        cases = comparison_of([Block("b", "b", None, False)], axes, "cpu").cases
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
    doubted = {"copies": ("load",), "float64": ("load",)}
    kept.keep(manifest, replace(PEAKS, threads=2, busy=doubted), "cpu", print)
    busy = replace(manifest, load_1min=50.0)
    peaks.of_device(busy, "cpu", 2, (), print, print)
    assert measured == []
    said = []
    peaks.of_device(manifest, "cpu", 2, (), said.append, print)
    assert measured == [("cpu", 2, ())]
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


def road(name, kind, cost_ns, clock, why_not=None):
    """A road on which a product of side n takes so many nanoseconds."""

    def make(a, b):
        return lambda: clock.do(cost_ns(len(a)))

    return roads.Road(name, kind, make, lambda device, dtype: why_not)


@pytest.fixture
def gpu():
    return FakeGpu()


def test_measuring_reads_rates_off_the_clock_and_names_the_fastest_road(monkeypatch, manifest, gpu):
    # a product of side n takes n^3 / 8 ns, or 1 ns for 16 FLOP
    entries = (
        road("mm", "product", lambda side: side**3 / 8, gpu),
        road("packed", "inner product", lambda side: side**3 / 16, gpu),
        road("column", "convolution", lambda side: side**3 / 2, gpu),
        road("square", "convolution", lambda side: side**3 / 4, gpu),
        road("missing", "inner product", lambda side: 1.0, gpu, "torch is built without it"),
    )
    monkeypatch.setattr(measuring, "_clock", lambda device: CudaClock(gpu, gpu.now, gpu.sleep))
    monkeypatch.setattr(measuring, "roads", lambda device: entries)
    monkeypatch.setattr(measuring, "_copies", lambda *of: (((2**20, 5e9),), True))
    quiet = itertools.count(1, 10**9)
    monkeypatch.setattr(
        measuring, "read_usage", lambda: Usage(at := next(quiet), at, None, 0, None)
    )
    monkeypatch.setattr(measuring, "SUSTAINED_S", 0.3)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    found = REAL_MEASURE(manifest, "cpu", 1, ["float32", "float64"], sustained=True)
    near = {"rel": 1e-3}
    assert found.product_flops_per_s == pytest.approx({"float32": 16e9, "float64": 16e9}, **near)
    assert found.convolution_flops_per_s == pytest.approx({"float32": 8e9, "float64": 8e9}, **near)
    assert found.sustained_flops_per_s == pytest.approx(found.product_flops_per_s, **near)
    assert found.best("float32").road == "packed"
    assert found.best("float32").flops_per_s == pytest.approx(32e9, **near)
    assert [rate.reason for rate in found.roads if rate.dtype == "float32"] == [
        *[None] * 4,
        "torch is built without it",
    ]
    assert found.copies == ((2**20, 5e9),)
    assert found.name.startswith("cpu-1t-")
    assert found.busy == {}


def test_a_road_that_raises_is_left_out_with_its_reason(manifest, monkeypatch, gpu):
    def refuse(a, b):
        raise RuntimeError("no such kernel")

    entries = (
        road("mm", "product", lambda side: side**3 / 8, gpu),
        roads.Road("odd", "convolution", refuse),
    )
    monkeypatch.setattr(measuring, "_clock", lambda device: CudaClock(gpu, gpu.now, gpu.sleep))
    monkeypatch.setattr(measuring, "roads", lambda device: entries)
    found = REAL_MEASURE(manifest, "cpu", 1, ["float32"], known=PEAKS)
    [odd] = [rate for rate in found.roads if rate.road == "odd"]
    assert "no such kernel" in odd.reason
    assert odd.flops_per_s is None
    assert found.convolution_flops_per_s == {}
    # what was known is not measured again
    assert (found.copies, found.launch_us) == (PEAKS.copies, PEAKS.launch_us)


def test_sizes_grow_until_one_product_takes_too_long(gpu):
    sides = []

    def make(a, b):
        sides.append(len(a))
        return lambda: gpu.do(len(a) ** 3 * 0.1)

    clock = CudaClock(gpu, gpu.now, gpu.sleep)
    matrices = measuring._Matrices("cpu", "float32")
    runners, reason = measuring._started(
        clock, "cpu", "float32", roads.Road("mm", "product", make), matrices
    )
    # one of 512 takes 13 ms, so that the next one would take 107
    assert sides == [256, 512]
    assert reason is None
    assert max(runner.per_s for runner in runners) == pytest.approx(20e9, rel=1e-3)


def held_up(clock, free_ns, every_ns, cost_ns):
    """A call that another process holds up, but for so much of every stretch of time."""

    def call():
        into_ns = clock.at_ns % every_ns
        clock.at_ns += cost_ns
        if into_ns + cost_ns > free_ns:
            clock.at_ns += every_ns - into_ns

    return call


def test_the_best_of_bursts_is_right_beside_a_process_that_takes_most_of_the_time():
    clock = FakeClock()
    fast = Runner(held_up(clock, 5e6, 20e6, 1e5), 1e5)
    slow = Runner(held_up(clock, 5e6, 20e6, 2e5), 1e5)
    for runner in (slow, fast):
        runner.burst(clock)
    assert measuring.race(clock, [slow, fast])
    assert fast.per_s == pytest.approx(1e9)


def test_what_is_never_undisturbed_is_not_sure_and_ends_in_time():
    clock = FakeClock()
    drawn = random.Random(1)
    runner = Runner(lambda: clock.work(1e6 * (1 + 20 * drawn.random())), 1.0)
    runner.burst(clock)
    assert not measuring.race(clock, [runner])
    assert clock.at_ns < 2 * measuring.LONGEST_RACE_NS
    assert len(runner.bursts_ns) <= measuring.MOST_BURSTS + 1


def test_what_falls_behind_is_not_tried_for_long():
    clock = FakeClock()
    fast, near, far = (
        Runner(lambda cost=cost: clock.work(cost), 1.0) for cost in (1e5, 1.1e5, 3e5)
    )
    for runner in (fast, near, far):
        runner.burst(clock)
    assert measuring.race(clock, [far, near, fast])
    assert len(far.bursts_ns) == 1
    assert len(near.bursts_ns) == len(fast.bursts_ns) == measuring.FEWEST_BURSTS


def test_copies_go_from_small_ones_to_far_beyond_the_cache(monkeypatch):
    monkeypatch.setattr(environment, "caches", lambda device, threads: (("L2", 2**20),))
    sizes = measuring.copy_sizes("cpu", 1)
    assert sizes == [2**n for n in range(14, 24)]
    monkeypatch.setattr(environment, "free_bytes", lambda device: 10)
    assert measuring.copy_sizes("cpu", 1) == [2**14]


def test_copies_are_timed_by_the_bytes_that_they_touch(monkeypatch):
    clock = FakeClock()
    monkeypatch.setattr(measuring, "copy_sizes", lambda *of: [2**14, 2**15, 2**20])
    monkeypatch.setattr(measuring, "_copy", lambda s, t: timed(clock, s.nbytes + t.nbytes))
    found, sure = measuring._copies(clock, "cpu", 1)
    assert sure
    assert [size for size, _ in found] == [2**14, 2**15, 2**20]
    assert [rate for _, rate in found] == pytest.approx([1e9] * 3)


def timed(clock, cost_ns):
    return lambda: clock.work(cost_ns)


def test_every_road_does_the_same_flop_and_multiplies():
    a, b = (torch.randn(256, 256) for _ in range(2))
    for each in roads.roads("cpu"):
        if each.why_not("cpu", "float32"):
            continue
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            out = each.make(a, b)()
        assert out.numel() == 256**2
        if each.kind == "inner product":
            # torch's counter knows neither library's
            torch.testing.assert_close(out, a @ b.T, rtol=1e-3, atol=1e-3)
        else:
            assert counter.get_total_flops() == 2 * 256**3


def test_libraries_that_torch_lacks_leave_their_roads_out_with_a_reason(monkeypatch):
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    reasons = {each.name: each.why_not("cpu", "float32") for each in roads.roads("cpu")}
    assert reasons["oneDNN inner product"] == "torch is built without oneDNN"
    assert reasons["MKL packed linear"] == "torch is built without MKL"
    assert reasons["mm"] is None
    [mm] = [each for each in roads.ROADS if each.kind == "product"]
    assert mm.named("cpu", "float32") == "mm"
    assert all(each.kind != "inner product" for each in roads.roads("cuda:0"))


def test_a_busy_moment_does_not_replace_what_a_quiet_one_told():
    quiet = replace(PEAKS, product_flops_per_s={"float32": 2.0, "float64": 1.0})
    quiet = replace(quiet, convolution_flops_per_s=quiet.product_flops_per_s)
    busy = {"float32": ("load",), "copies": ("load",)}
    found = replace(
        quiet,
        name="new",
        product_flops_per_s={"float32": 1.0, "bfloat16": 5.0},
        roads=(Rate("mm", "product", "bfloat16", 5.0),),
        copies=((2**18, 1.0),),
        busy=busy,
        flags=("load",),
    )
    both = peaks.joined(quiet, found)
    assert both.product_flops_per_s == {"float32": 2.0, "float64": 1.0, "bfloat16": 5.0}
    assert both.copies == quiet.copies
    assert (both.busy, both.flags) == ({}, ())
    # of two busy moments the faster counts, and a quiet one replaces it even where it is slower
    once = replace(found, busy=busy, product_flops_per_s={"float32": 3.0})
    assert peaks.joined(once, found).product_flops_per_s["float32"] == 3.0
    calm = replace(found, busy={}, flags=(), product_flops_per_s={"float32": 2.5})
    assert peaks.joined(once, calm).product_flops_per_s["float32"] == 2.5


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
