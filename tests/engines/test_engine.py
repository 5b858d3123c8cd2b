"""From a comparison to records, on the CPU, with real blocks of the smallest shapes."""

import sys
from dataclasses import replace

import pytest
import torch

import gcbench
from gcbench import engines
from gcbench.engines import inline, probe, sweeps
from gcbench.engines.jobs import Job
from gcbench.engines.timed import LEAST_SHARE
from gcbench.errors import UsageError
from gcbench.measure import environment
from gcbench.records import Timing
from gcbench.results import tables
from gcbench.spec.cases import Axes, Effort, parse_pair
from gcbench.spec.grid import Sweep

SMALL = Axes(channels=16, size=(6, 5), ratio=4)
SHORT = Effort(precision=0.5, max_time_s=0.3)

BOMBS = """
import torch
from torch import nn

class Raises(nn.Module):
    def __init__(self, channels):
        super().__init__()
    def forward(self, x):
        raise RuntimeError("the fuse is lit")

class Shrinks(nn.Module):
    def __init__(self, dim):
        super().__init__()
    def forward(self, x):
        return x[..., 1:]

class Pair(nn.Module):
    def __init__(self, in_channels):
        super().__init__()
    def forward(self, x):
        return x, x

class Refuses(nn.Module):
    def __init__(self, channels):
        raise ValueError("no such luck")

class Scale(nn.Module):
    def __init__(self, width, factor: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.full((width, 1, 1), factor))
    def forward(self, x):
        return x * self.weight

class Late(nn.Module):
    calls = 0
    def __init__(self, channels):
        super().__init__()
    def forward(self, x):
        Late.calls += 1
        if Late.calls >= 20:
            raise RuntimeError("that was call 20")
        return x + 1

class Single(nn.Module):
    def __init__(self, channels):
        super().__init__()
    def forward(self, x):
        return x
    def __deepcopy__(self, memo):
        raise TypeError("there is but one")

class Inverts(nn.Module):
    def __init__(self, channels):
        super().__init__()
    def forward(self, x):
        return torch.linalg.inv(x)

class Keeps(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
    def forward(self, x):
        self.kept = x * self.scale
        return self.kept

class Twins(nn.Module):
    copies = 0
    def __init__(self, channels):
        super().__init__()
    def forward(self, x):
        return x + 1
    def __deepcopy__(self, memo):
        Twins.copies += 1
        if Twins.copies > 6:
            raise TypeError("no more copies")
        return Twins(16)

class Leaves(nn.Module):
    def __init__(self, channels):
        super().__init__()
    def forward(self, x):
        raise SystemExit(0)

class LeavesAtOnce(nn.Module):
    def __init__(self, channels):
        raise SystemExit(0)

class Peeks(nn.Module):
    def __init__(self, channels):
        super().__init__()
    def forward(self, x):
        return x * 2 if x.sum().item() > 0 else x

def not_a_module(channels):
    return 7
"""


@pytest.fixture
def bombs(tmp_path, monkeypatch):
    (tmp_path / "bombs.py").write_text(BOMBS)
    # what its classes have counted is of the test before
    monkeypatch.delitem(sys.modules, "bombs", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


def measured(names, axes=SMALL, effort=SHORT, **more):
    return tables.frame(engines.run([engines.compare(names, axes)], effort, **more))


def test_every_block_is_measured_in_every_mode_and_dtype():
    names = ["gc", "se", "snl", "nl"]
    for mode in ("infer", "train", "backward"):
        table = measured(names, Axes(channels=16, size=(6, 5), ratio=4, mode=mode))
        assert list(table["status"]) == ["ok"] * 4, table["reason"].tolist()
        assert (table["latency_us"] > 0).all()
    for dtype in ("float64", "bfloat16"):
        table = measured(names, Axes(channels=16, size=(6, 5), ratio=4, dtype=dtype))
        assert list(table["status"]) == ["ok"] * 4, table["reason"].tolist()


def test_channels_last_is_measured_and_counted_alike():
    layouts = [
        measured(["gc", "nl"], Axes(channels=16, size=(6, 5), ratio=4, layout=layout))
        for layout in ("contiguous", "channels_last")
    ]
    assert layouts[0]["macs"].tolist() == layouts[1]["macs"].tolist()
    assert (layouts[1]["status"] == "ok").all()


def test_a_block_that_fails_when_called_is_a_row_with_its_reason_and_the_rest_go_on(bombs):
    names = ["gc", "bombs:Raises", "bombs:Shrinks", "bombs:Pair", "se"]
    table = measured(names).set_index("spec")
    assert table.loc[["gc", "se"], "status"].tolist() == ["ok", "ok"]
    failed = table.loc[["bombs:Raises", "bombs:Shrinks", "bombs:Pair"]]
    assert failed["status"].tolist() == ["error"] * 3
    assert "the fuse is lit" in failed["reason"].iloc[0]
    assert "(1, 16, 6, 4)" in failed["reason"].iloc[1]
    assert "tuple, not a tensor" in failed["reason"].iloc[2]
    for column in ("latency_us", "relative", "verdict"):
        assert failed[column].isna().all()


def test_a_failed_baseline_leaves_latencies_and_no_relative(bombs):
    table = measured(["bombs:Raises", "gc", "se"])
    assert table["latency_us"].notna().tolist() == [False, True, True]
    assert table["relative"].isna().all()
    assert table["verdict"].isna().all()
    assert table["flags"].str.contains("baseline_failed").all()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bombs:Refuses", "cannot be built at 16 channels: no such luck"),
        ("bombs:not_a_module", r"makes int, not a torch.nn.Module"),
        ("bombs:Scal", "has no class or function 'Scal': did you mean 'Scale'"),
        ("bombs:Scale:factor=big", "factor takes a number, not 'big'"),
    ],
)
def test_a_block_that_cannot_be_built_is_refused_before_anything_is_measured(bombs, name, message):
    with pytest.raises(UsageError, match=message):
        engines.compare(["gc", name], SMALL)


def test_a_module_of_the_users_own_is_counted_and_timed(bombs):
    row = measured(["gc", "bombs:Scale:factor=2.0"]).iloc[1]
    assert row["status"] == "ok"
    assert (row["params"], row["macs"], row["uncounted_ops"]) == (16, 0, "mul")
    assert row["spec"] == "bombs:Scale:factor=2.0"


def test_a_shape_too_large_for_memory_is_a_row_that_says_what_it_needs(monkeypatch):
    monkeypatch.setattr(environment, "free_bytes", lambda device: 30_000)
    table = measured(["gc", "nl"], Axes(channels=16, size=(12, 12), ratio=4))
    assert table["status"].tolist() == ["ok", "oom"]
    needed = int(table["peak_memory_bytes"].iloc[1])
    assert needed > 30_000
    assert table["reason"].iloc[1] == f"needs {needed / 1024:.0f} KiB, and 29.3 KiB are free on cpu"


def test_threads_and_gradient_mode_are_left_as_they_were():
    threads = torch.get_num_threads()
    measured(["gc"], Axes(channels=16, size=(4, 4), ratio=4, threads=1, mode="train"))
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()


def test_the_table_says_which_threads_were_used():
    table = measured(["gc"], Axes(channels=16, size=(4, 4), ratio=4, threads=1))
    assert table["threads"].tolist() == [1]


def test_cold_cache_calls_each_sample_once_after_a_flush(monkeypatch):
    monkeypatch.setattr(environment, "last_level_cache_bytes", lambda device: 2**16)
    table = measured(["gc"], Axes(channels=16, size=(4, 4), ratio=4, cache="cold"))
    assert table["calls_per_sample"].tolist() == [1]
    assert table["status"].tolist() == ["ok"]


def test_cold_and_warm_stand_side_by_side_and_only_cold_ones_are_flushed(monkeypatch):
    monkeypatch.setattr(environment, "last_level_cache_bytes", lambda device: 2**16)
    flushed = []
    monkeypatch.setattr(probe, "cache_flush", lambda size, device: lambda: flushed.append(size))
    axes = Axes(channels=16, size=(4, 4), ratio=4, device="cpu")
    pair = parse_pair("--pair", "cache", axes)
    run = engines.run([engines.compare(["gc", "se"], axes, pair=pair)], SHORT)
    table = tables.frame(run)
    assert table["status"].tolist() == ["ok"] * 4
    assert table["cache"].tolist() == ["warm", "cold"] * 2
    assert table["baseline"].tolist() == [key for key in table["key"][::2] for _ in range(2)]
    assert table["verdict"].tolist()[::2] == ["baseline"] * 2
    assert table["calls_per_sample"].tolist() == [1] * 4
    # a clone of the input is warm for what is warm, and cold for what is cold
    assert [arm.case for arm in run.comparisons[0].timings[0].arms if arm.role == "copy"] == [0, 1]
    assert flushed


def test_cold_cache_of_unknown_size_is_refused(monkeypatch):
    monkeypatch.setattr(environment, "last_level_cache_bytes", lambda device: None)
    with pytest.raises(UsageError, match="--cache cold: the size of the last cache of cpu"):
        measured(["gc"], Axes(channels=16, size=(4, 4), ratio=4, cache="cold"))
    pair = parse_pair("--pair", "cache", Axes())
    with pytest.raises(UsageError, match="--cache cold: the size of the last cache of cpu"):
        engines.compare(["gc"], Axes(device="cpu"), pair=pair)
    with pytest.raises(UsageError, match="--cache cold: the size of the last cache of cpu"):
        sweeps.place(Sweep(device=("cpu",), pair="cache"))


def test_a_device_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="--device cuda:9: this machine has no CUDA device"):
        engines.compare(["gc"], Axes(device="cuda:9"))
    assert environment.resolve_device(None) == "cpu"


def test_a_constant_norm_is_flagged():
    table = measured(["gc"], Axes(channels=16, size=(4, 4), ratio=16))
    assert "constant_norm" in table["flags"].iloc[0].split()


def test_the_python_door_measures_like_the_command():
    table = gcbench.bench(["gc", "se"], (1, 16, 6, 5), ratio=4, precision=0.5, max_time_s=0.3)
    assert table["block"].tolist() == ["gc", "se"]
    assert table["verdict"].iloc[0] == "baseline"
    assert table["params"].tolist() == [
        sum(p.numel() for p in gcbench.build(f"{name}:ratio=4", 16).parameters())
        for name in ("gc", "se")
    ]


def test_counting_a_module_leaves_it_alone():
    block = gcbench.build("nl", channels=8)
    before = {name: value.clone() for name, value in block.state_dict().items()}
    counts = gcbench.count(block, (2, 8, 5, 4))
    assert counts.parameters == sum(p.numel() for p in block.parameters())
    assert counts.macs == 2 * (4 * 8 * 4 * 20 + 2 * 20 * 20 * 4)
    assert block.training
    assert all(torch.equal(value, before[name]) for name, value in block.state_dict().items())


@pytest.mark.parametrize("mode", ["infer", "train"])
def test_what_is_held_is_weights_and_input_however_they_were_moved(mode):
    row = measured(["gc"], Axes(channels=16, size=(12, 12), ratio=4, mode=mode)).iloc[0]
    inputs = 1 if mode == "infer" else 2
    held = 4 * (row["params"] + inputs * 16 * 144)
    assert row["peak_memory_bytes"] - row["activation_memory_bytes"] == held


def test_matrix_work_that_the_cpu_lacks_in_half_precision_is_a_row_with_its_reason(bombs):
    axes = Axes(device="cpu", channels=16, size=(6, 6), ratio=4, dtype="float16")
    table = measured(["gc", "bombs:Inverts"], axes)
    assert table["status"].tolist() == ["ok", "error"], table["reason"].tolist()
    assert "Half" in table["reason"].iloc[1]


def test_a_machine_that_was_busy_before_is_told_in_every_row():
    run = engines.run([engines.compare(["se"], SMALL)], SHORT)
    for load, expected in ((0.0, False), (None, False), (99.0, True)):
        busy = replace(run, manifest=replace(run.manifest, load_1min=load))
        flags = tables.frame(busy)["flags"].fillna("").iloc[0].split()
        assert ("load" in flags) == expected


def test_each_process_of_a_comparison_draws_orders_of_its_own(monkeypatch):
    drawn = []

    def noting(make, lineup, effort, clock, rng, on_progress, **regime):
        drawn.append(rng.random())
        return Timing((), (), "time")

    monkeypatch.setattr(inline, "time_comparison", noting)
    for process in (0, 1, 0):
        inline.measure(Job(engines.compare(["se"], SMALL), SHORT, process=process))
    assert drawn[0] == drawn[2] != drawn[1]


def test_a_block_that_keeps_its_map_and_cannot_be_copied_afterwards_is_trained(bombs):
    table = measured(["bombs:Keeps"], Axes(channels=16, size=(6, 5), mode="train"))
    assert table["status"].tolist() == ["ok"], table["reason"].tolist()


def test_a_block_whose_second_copy_fails_is_a_row_and_the_rest_go_on(bombs):
    table = measured(["gc", "bombs:Twins", "se"]).set_index("spec")
    assert table["status"].tolist() == ["ok", "error", "ok"], table["reason"].tolist()
    assert "no more copies" in table.loc["bombs:Twins", "reason"]


def test_arms_that_do_not_fit_in_memory_together_leave_the_largest_out(monkeypatch):
    axes = Axes(channels=16, size=(40, 40), ratio=4)
    alone = measured(["nl"], axes)["peak_memory_bytes"].iloc[0]
    monkeypatch.setattr(environment, "free_bytes", lambda device: int(alone) + 20_000)
    table = measured(["gc", "se", "nl"], axes).set_index("spec")
    assert table["status"].tolist() == ["ok", "ok", "oom"]
    assert "all arms of the comparison need" in table.loc["nl", "reason"]


def test_late_failures_do_not_start_the_clock_anew(bombs, monkeypatch):
    given = []
    time_them = inline.time_comparison

    def noting(make, lineup, effort, *rest, **regime):
        given.append(effort.max_time_s)
        return time_them(make, lineup, effort, *rest, **regime)

    monkeypatch.setattr(inline, "time_comparison", noting)
    measured(["gc", "bombs:Twins"])
    assert len(given) == 2
    assert SHORT.max_time_s * LEAST_SHARE <= given[1] < given[0] <= SHORT.max_time_s


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_same_engine_runs_on_cuda():
    table = measured(
        ["gc", "se", "snl", "nl"], Axes(channels=16, size=(6, 5), ratio=4, device="cuda")
    )
    assert table["status"].tolist() == ["ok"] * 4
    assert table["cache"].tolist() == ["cold"] * 4


def test_a_block_that_fails_while_it_is_timed_is_a_row_and_the_rest_are_timed(bombs):
    table = measured(["gc", "bombs:Late", "se"], effort=Effort(0.01, 0.3))
    assert table["status"].tolist() == ["ok", "error", "ok"]
    assert table["reason"].iloc[1] == "RuntimeError: that was call 20 (bombs.py:41)"
    assert table["latency_us"].notna().tolist() == [True, False, True]


def test_a_block_that_cannot_be_copied_is_a_row_with_its_reason(bombs):
    table = measured(["gc", "bombs:Single"])
    assert table["status"].tolist() == ["ok", "error"]
    assert table["reason"].iloc[1] == "TypeError: there is but one (bombs.py:50)"


def test_a_block_that_leaves_the_program_is_a_row_or_refused(bombs):
    table = measured(["gc", "bombs:Leaves"])
    assert table["status"].tolist() == ["ok", "error"]
    with pytest.raises(UsageError, match="cannot be built at 16 channels: SystemExit: 0"):
        engines.compare(["bombs:LeavesAtOnce"], SMALL)


def test_a_block_that_looks_at_values_is_counted_as_it_runs_and_flagged(bombs):
    row = measured(["gc", "bombs:Peeks"]).iloc[1]
    assert (row["status"], row["reason"], row["macs"]) == ("ok", None, 0)
    assert row["latency_us"] > 0
    assert "value_dependent" in row["flags"].split()


def test_a_shape_beyond_what_torch_can_count_is_refused_before_memory_is_taken():
    sides = 2**31 - 1
    table = measured(["gc"], Axes(channels=sides, size=(sides, sides), ratio=99999))
    assert table["status"].tolist() == ["oom"]
    assert table["reason"].iloc[0].startswith("needs ")


@pytest.mark.parametrize(
    ("specs", "shape", "named", "message"),
    [
        ([], (1, 16, 6, 5), {}, "name at least one block"),
        (["gc"], (1, 2, 3), {}, r"shape takes four sizes \(B, C, H, W\), not \(1, 2, 3\)"),
        (["gc"], (1, 16, 6, 5), {"precision": -1}, "precision takes a share"),
        (["gc"], (1, 16, 6, 5), {"max_time_s": 0}, "max_time_s takes a time above zero"),
        (["gc"], (1, 16, 6, 5), {"mode": None}, "mode 'None' is unknown"),
    ],
)
def test_the_python_door_refuses_in_words(specs, shape, named, message):
    with pytest.raises(UsageError, match=message):
        gcbench.bench(specs, shape, **named)
