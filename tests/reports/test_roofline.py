"""What bounds a case: ceilings, counts and latencies of round numbers, and the answer by hand."""

from dataclasses import replace
from pathlib import Path

import pytest
from made_up import PEAKS as MADE_UP
from written import table as render

import gcbench
from gcbench import engines
from gcbench.measure.peaks import measuring
from gcbench.records import Measurement, Peaks, Rate
from gcbench.report.detail import Detail
from gcbench.results import tables
from gcbench.results.roofline import (
    GRAPH_GAIN,
    HOST_SHARE,
    NEAR,
    copy_bytes_per_s,
    judge,
    levels,
    peaks_of,
)
from gcbench.spec.cases import Axes, Block, Effort, comparison_of

MIB = 2**20
# 1 TFLOP/s; 100 GB/s up to 4 MiB, 10 GB/s beyond; a small copy is slowed by its call
PEAKS = Peaks(
    "p",
    "cpu",
    "a machine",
    2,
    {"float32": 1e12},
    {"float32": 1e12},
    {},
    ((MIB // 4, 2e10), (MIB, 8e10), (4 * MIB, 1e11), (16 * MIB, 1e10), (64 * MIB, 9e9)),
    1.0,
)


def measurement(cells, **axes):
    # 1 x 256 x 16 x 16 float32: 256 KiB; input and output are 512 KiB
    axes = {"channels": 256, "size": (16, 16), **axes}
    [case] = comparison_of([Block("b", "b", None, False)], Axes(**axes), "cpu").cases
    return Measurement(case, metrics={"params": 0, **cells})


def test_the_floor_is_the_larger_of_moving_and_computing():
    # 1e6 bytes at 100 GB/s take 10 us; 2e6 MACs at 1 TFLOP/s take 4 us
    cells = {"min_bytes": 10**6, "traffic_bytes": 10**6, "call_macs": 2 * 10**6}
    found = judge(measurement(cells), 20.0, PEAKS)
    assert (found.floor_us, found.floor_fraction) == pytest.approx((10.0, 0.5))
    found = judge(measurement(cells | {"call_macs": 10**7}), 40.0, PEAKS)
    assert (found.floor_us, found.floor_fraction) == pytest.approx((20.0, 0.5))


def test_what_is_not_known_leaves_the_floor_empty_and_not_too_low():
    cells = {"traffic_bytes": 10**6, "call_macs": 10**7}
    found = judge(measurement(cells), 25.0, PEAKS)
    assert (found.floor_us, found.floor_fraction) == (None, None)
    assert found.bound == "compute"
    assert judge(measurement({}), 25.0, PEAKS)[:3] == (None, None, None)


@pytest.mark.parametrize(
    ("moved", "macs", "expected"),
    [(4 * 10**6, 10**6, "memory"), (10**6, 2 * 10**7, "compute"), (10**6, 10**6, "latency")],
)
def test_a_case_is_bound_by_the_ceiling_that_it_comes_near(moved, macs, expected):
    # at 100 us: memory 40 or 10 %, compute 2 or 40 %
    cells = {"min_bytes": 10**6, "traffic_bytes": moved, "call_macs": macs}
    assert NEAR == 0.4
    assert judge(measurement(cells), 100.0, PEAKS).bound == expected
    if expected != "latency":
        assert judge(measurement(cells), 101.0, PEAKS).bound == "latency"


@pytest.mark.parametrize(
    ("host_us", "graph_us", "launched"),
    [(89.0, None, False), (90.0, None, True), (80.0, 84.0, False), (80.0, 83.0, True)],
)
def test_launching_bounds_where_the_host_or_the_gain_of_a_graph_says_so(
    host_us, graph_us, launched
):
    assert (HOST_SHARE, GRAPH_GAIN) == (0.9, 1.2)
    cells = {"min_bytes": 10**6, "traffic_bytes": 10**7, "call_macs": 0, "host_us": host_us}
    bound = judge(measurement(cells | {"graph_us": graph_us}), 100.0, PEAKS).bound
    assert bound == ("launch" if launched else "memory")


def test_a_host_slower_than_the_device_is_held_against_the_graph_too():
    cells = {"host_us": 30.0, "graph_us": 20.0, "traffic_bytes": 0, "call_macs": 0}
    assert judge(measurement(cells), 22.0, PEAKS).bound == "launch"


def test_faster_than_a_ceiling_is_flagged_and_no_win():
    cells = {"min_bytes": 10**6, "traffic_bytes": 10**6, "call_macs": 0}
    assert judge(measurement(cells), 9.9, PEAKS).above
    assert not judge(measurement(cells), 10.1, PEAKS).above
    assert judge(measurement({"call_macs": 10**7}), 19.0, PEAKS).above


def test_a_cold_case_must_fetch_its_input_from_memory():
    cells = {"min_bytes": 786432, "traffic_bytes": 786432, "call_macs": 0}
    warm, cold = (judge(measurement(cells, cache=c), 100.0, PEAKS) for c in ("warm", "cold"))
    assert warm.floor_us == pytest.approx(786432 / 1e5)
    assert cold.floor_us == pytest.approx(262144 / 9e3)


def test_what_a_compiler_fuses_does_not_count_as_moved():
    cells = {"min_bytes": 10**6, "traffic_bytes": 10**7, "call_macs": 0}
    assert judge(measurement(cells), 100.0, PEAKS).bound == "memory"
    assert judge(measurement(cells, runtime="compile"), 100.0, PEAKS).bound == "latency"


def test_a_larger_copy_speaks_for_smaller_ones_and_never_the_other_way_round():
    assert copy_bytes_per_s(PEAKS, MIB) == 1e11
    assert copy_bytes_per_s(PEAKS, 4 * MIB) == 1e11
    assert copy_bytes_per_s(PEAKS, 4 * MIB + 1) == 1e10
    assert copy_bytes_per_s(PEAKS, 1e12) == 9e9


def test_a_case_has_the_peaks_of_its_own_device_and_threads():
    one = replace(PEAKS, name="one", threads=1)
    gpu = replace(PEAKS, name="gpu", device="cuda:1", threads=None)
    every = (PEAKS, one, gpu)
    case = measurement({}).case
    assert peaks_of(case, every, 2) is PEAKS
    assert peaks_of(replace(case, threads=1), every, 2) is one
    assert peaks_of(replace(case, device="cuda:1"), every, 2) is gpu
    assert peaks_of(replace(case, device="cuda"), every, 2) is None
    assert peaks_of(case, every, 8) is None


def rows_with(monkeypatch, **changes):
    fast = {"float32": 1e15}
    rates = {"product_flops_per_s": fast, "convolution_flops_per_s": fast}
    rates |= {"copies": ((2**18, 1e15),), **changes}
    monkeypatch.setattr(
        measuring,
        "measure",
        lambda manifest, device, threads, *more, **named: replace(
            MADE_UP, device=device, threads=threads, name=str(sorted(changes)), **rates
        ),
    )
    monkeypatch.setattr("gcbench.measure.peaks.kept.find", lambda *arguments: None)
    axes = Axes(channels=16, size=(6, 5), ratio=4, device="cpu")
    run = engines.run([engines.compare(["gc", "se"], axes)], Effort(0.5, 0.2))
    return tables.frame(run), "".join(render(tables.rows(run), run.manifest, detail=Detail.ALL))


def test_rows_carry_floor_bound_and_the_name_of_the_peaks(monkeypatch):
    table, text = rows_with(monkeypatch)
    assert table["bound"].tolist() == ["latency"] * 2
    assert (table["floor_us"] > 0).all()
    assert (table["floor_fraction"] < 0.01).all()
    assert table["peaks"].tolist() == ["[]"] * 2
    assert not table["flags"].fillna("").str.contains("above_ceiling|peaks_busy").any()
    assert "bound: memory or compute from 40 % of that ceiling on, else latency" in text
    assert "ceilings: []" in text


def test_a_reference_run_is_memory_bound_where_it_is_larger_than_the_caches_and_nl_compute_bound():
    results = Path(__file__).parents[2] / "results"
    large = gcbench.load(sorted(results.glob("bench-8x256x56x56-*.jsonl"))[-1])
    assert large.set_index("spec").loc["gc", "bound"] == "memory"
    small = gcbench.load(sorted(results.glob("bench-1x256x56x56-*.jsonl"))[-1]).set_index("spec")
    assert small.loc["nl", "bound"] == "compute"
    for table in (large, small):
        assert (table["floor_fraction"] < 1).all()


def test_rows_above_a_ceiling_or_with_busy_peaks_say_so(monkeypatch):
    table, text = rows_with(monkeypatch, copies=((2**18, 1.0),), flags=("load",))
    assert (table["floor_fraction"] > 1).all()
    assert table["flags"].str.contains("above_ceiling").all()
    assert table["flags"].str.contains("peaks_busy").all()
    assert "faster than a measured ceiling allows" in text
    assert "the ceilings were measured while the machine was busy" in text
    # what rests on such ceilings is in doubt in its own cell too
    assert "latency ?" in text or "memory ?" in text


def test_an_old_run_without_ceilings_is_read_all_the_same():
    results = Path(__file__).parents[2] / "results"
    table = gcbench.load(sorted(results.glob("bench-1x256x56x56-epyc*20261123.jsonl"))[0])
    assert table["bound"].isna().all()
    assert table["verdict"].notna().all()


def test_convolutions_are_held_against_their_own_rate_and_the_floor_against_the_best():
    peaks = replace(PEAKS, convolution_flops_per_s={"float32": 4e12})
    cells = {"min_bytes": 0, "traffic_bytes": 0, "call_macs": 10**7}
    # 20 us at 1 TFLOP/s, 5 us at 4
    alone, mixed, convolved = (
        judge(measurement(cells | {"call_conv_macs": conv}), 40.0, peaks)
        for conv in (0, 5 * 10**6, 10**7)
    )
    assert [each.floor_us for each in (alone, mixed, convolved)] == pytest.approx([5.0] * 3)
    assert (alone.bound, mixed.bound, convolved.bound) == ("compute", "latency", "latency")
    at_thirty = judge(measurement(cells | {"call_conv_macs": 5 * 10**6}), 30.0, peaks)
    assert at_thirty.bound == "compute"


def test_each_level_has_the_best_copy_that_fits_there_and_not_below():
    # a call takes 1 us, so that what fits in L1 tells of nothing else
    taken_us = {16 * 2**10: 1.0, 32 * 2**10: 1.1, 512 * 2**10: 6.0, MIB: 10.0, 8 * MIB: 400.0}
    copies = tuple((size, 1e6 * size / us) for size, us in {**taken_us, 64 * MIB: 1e4}.items())
    caches = (("L1", 48 * 2**10), ("L2", 2 * MIB), ("L3", 12 * MIB))
    found = levels(replace(PEAKS, copies=copies, caches=caches))
    assert [(level.name, level.holds_bytes) for level in found] == [*caches, ("memory", None)]
    rates = [level.bytes_per_s for level in found]
    assert rates[0] is None
    assert rates[1:] == pytest.approx([1e5 * MIB, 1e6 * 8 * MIB / 400, 1e2 * 64 * MIB])


def test_the_floor_rests_on_the_fastest_road_and_the_bound_on_those_that_torch_takes():
    fast = Rate("packed", "inner product", "float32", 4e12)
    peaks = replace(PEAKS, roads=(fast, Rate("mm", "product", "float64", 9e12)))
    cells = {"min_bytes": 0, "traffic_bytes": 0, "call_macs": 10**7}
    found = judge(measurement(cells), 40.0, peaks)
    assert found.floor_us == pytest.approx(5.0)
    # 20 of 40 us, by the product that torch does
    assert found.bound == "compute"
    assert peaks.best("float32") == fast
    assert peaks.best("bfloat16") is None


def test_only_what_a_row_rests_on_puts_it_in_doubt():
    peaks = replace(PEAKS, busy={"bfloat16": ("load",)}, flags=("load",))
    assert peaks.disturbed("float32") == ()
    assert peaks.disturbed("bfloat16") == ("load",)
    assert replace(peaks, busy={"copies": ("pressure",)}).disturbed("float32") == ("pressure",)
    # runs of before parts were told apart
    assert replace(peaks, busy={}).disturbed("float32") == ("load",)
