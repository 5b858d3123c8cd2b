"""Modules that people bring: every door gives the parameters and MACs that they have by hand."""

import csv
import subprocess
import sys
from pathlib import Path

import brought
import pytest
import torch
from commands import silent
from torch import nn

import gcbench
from gcbench import blocks, engines
from gcbench.engines.counted import on_cpu
from gcbench.engines.inline import measure
from gcbench.engines.jobs import Job
from gcbench.engines.static import Static
from gcbench.errors import CountingError
from gcbench.measure.counting.operators import OPERATORS
from gcbench.measure.counting.uncompiled import uncompiled
from gcbench.metrics import METRICS
from gcbench.spec.cases import Axes, Effort, comparison_of

MODULES = {
    name: kind
    for name, kind in vars(brought).items()
    if isinstance(kind, type) and issubclass(kind, nn.Module) and hasattr(kind, "expect")
}
# of which nothing can be known: a custom operator without a formula
UNKNOWN = {"CustomOp": "cases.mix"}
SHAPE = B, C, H, W = 2, 16, 6, 5
AXES = Axes(batch=B, channels=C, size=(H, W), device="cpu")
EFFORT = Effort(0.5, 0.2)

# quantization is on its way out of torch, and says so
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*quanti.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*quanti.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*uantiz.*:FutureWarning"),
]


def expected(name):
    params, macs = MODULES[name].expect(*SHAPE)
    return (params, 0 if name in UNKNOWN else macs)


def module_of(name):
    torch.manual_seed(0)
    return MODULES[name](C)


def assert_right(name, row):
    assert (row["params"], row["macs"]) == expected(name)
    assert row["uncounted_products"] == UNKNOWN.get(name, "")
    assert row["macs_counter"] == "gcbench"
    assert set(row["uncounted_products"].split()) <= set(row["uncounted_ops"].split())


@pytest.fixture(autouse=True)
def no_caches():
    """What modules keep by shape in tables of their file is forgotten."""
    brought._CACHE.clear()
    yield
    brought._CACHE.clear()


@pytest.mark.parametrize("name", MODULES)
def test_count_gives_what_a_module_has_by_hand_and_leaves_it_and_its_caches_whole(name):
    module = module_of(name)
    counts = gcbench.count(module, SHAPE)
    assert (counts.parameters, counts.macs) == expected(name)
    assert [name for name in counts.uncounted if "." in name] == list(
        filter(None, [UNKNOWN.get(name)])
    )
    # nothing of the meta device is left in a table of the module's file
    with torch.no_grad(), uncompiled():
        assert module.eval()(torch.randn(SHAPE)).shape == SHAPE


@pytest.mark.parametrize("name", MODULES)
def test_a_static_sweep_gives_what_a_module_has_by_hand(name):
    case = comparison_of([blocks.resolve(f"brought:{name}")], AXES, "cpu").cases[0]
    [row] = Static().measure(Job(engines.compare([case.spec], AXES), EFFORT)).measurements
    assert row.status == "ok"
    assert_right(name, row.metrics)
    assert ("value_dependent" in row.flags) == (name == "BranchOnValue")


@pytest.mark.parametrize("name", MODULES)
def test_the_cpu_counts_what_the_meta_device_does(name):
    case = comparison_of([blocks.resolve(f"brought:{name}")], AXES, "cpu").cases[0]
    assert_right(name, on_cpu(case, 0).metrics)


@pytest.mark.slow
@pytest.mark.parametrize("names", [list(MODULES)[::2], list(MODULES)[1::2]], ids=["odd", "even"])
def test_bench_gives_what_modules_have_by_hand_and_times_them(names):
    specs = [f"brought:{name}" for name in names]
    record = measure(Job(engines.compare(specs, AXES), EFFORT))
    for name, row in zip(names, record.measurements, strict=True):
        assert (name, row.status, row.reason) == (name, "ok", None)
        assert_right(name, row.metrics)
        assert row.metrics["memory_source"] == "measured"
    assert record.timings


@pytest.mark.slow
def test_modules_given_as_objects_have_what_they_have_by_hand():
    table = gcbench.bench(
        {name: module_of(name) for name in MODULES}, SHAPE, max_time_s=0.5, progress=False
    )
    for row in table.to_dict("records"):
        assert (row["block"], row["status"]) == (row["block"], "ok")
        assert_right(row["block"], row)


@pytest.mark.slow
def test_the_csv_of_both_commands_says_the_same(tmp_path):
    names = ["Sdpa", "MatmulLeft", "CustomOp", "BranchOnValue", "Quantized", "GlobalCache"]
    shape = ["-B", str(B), "-C", str(C), "-s", f"{H}x{W}"]
    specs = [f"brought:{name}" for name in names]
    for command in (
        ["bench", "--max-time", "300ms", "--no-wait"],
        ["sweep", "--static", "-o", str(tmp_path / "run.jsonl")],
    ):
        file = tmp_path / f"{command[0]}.csv"
        door = [sys.executable, "-m", "gcbench", *command, *specs, *shape, "--csv", str(file)]
        subprocess.run(
            door, cwd=Path(__file__).parents[1] / "support", check=True, capture_output=True
        )
        with file.open() as rows:
            for name, row in zip(names, csv.DictReader(rows), strict=True):
                assert (int(row["params"]), int(row["macs"])) == expected(name)
                assert row["uncounted_products"] == UNKNOWN.get(name, "")


def test_what_the_input_decides_is_flagged_and_what_a_weight_decides_is_not():
    specs = ["brought:BranchOnValue", "brought:ItemEinsum"]
    record = Static().measure(Job(engines.compare(specs, AXES), EFFORT))
    assert [row.flags for row in record.measurements] == [("value_dependent",), ()]


@pytest.mark.parametrize("name", ["Grouped", "Standard"])
@pytest.mark.parametrize(("mode", "times"), [("train", 3), ("backward", 2)])
def test_a_training_call_of_a_convolution_costs_three_forward_passes(name, mode, times):
    axes = Axes(batch=B, channels=C, size=(H, W), device="cpu", mode=mode)
    comparison = engines.compare([f"brought:{name}"], axes)
    [static] = Static().measure(Job(comparison, EFFORT)).measurements
    called = on_cpu(comparison.cases[0], 0)
    for found in (static, called):
        assert (
            found.metrics["call_macs"] == times * found.metrics["macs"] == times * expected(name)[1]
        )


def test_weights_that_eval_folds_are_counted_as_each_mode_has_them():
    axes = Axes(batch=B, channels=C, size=(H, W), device="cpu", mode="train")
    found = on_cpu(comparison_of([blocks.resolve("brought:FuseInEval")], axes, "cpu").cases[0], 0)
    dense, light = 9 * C * C, C * C
    assert found.metrics["params"] == dense + light + 2 * C
    assert found.metrics["macs"] == B * H * W * dense
    assert found.metrics["call_macs"] == 3 * B * H * W * (dense + light)


def test_a_resnext_with_a_block_takes_three_forward_passes_less_the_gradient_of_its_images():
    from gcbench.networks import read_insertion, resolve
    from gcbench.spec.cases import Network

    axes = Axes(size=(224, 224), device="cpu", mode="train")
    network = Network(resolve("resnext50_32x4d"))
    comparison = engines.compare_inside(network, [read_insertion("gc@c5.last")], [16], axes)
    plain, with_block = engines.count_only(comparison).comparisons[0].measurements
    first = 64 * 3 * 49 * 112**2
    assert plain.metrics["call_macs"] == 3 * plain.metrics["macs"] - first == 12_573_425_664
    assert with_block.metrics["call_macs"] > plain.metrics["call_macs"]


def test_timms_attention_over_a_map_counts_its_products():
    attention = pytest.importorskip("timm.layers").Attention2d(64)
    assert gcbench.count(attention, (2, 64, 14, 14)).macs == 16_257_024


def test_complex_weights_stay_complex_and_what_is_timed_is_what_was_brought():
    case = comparison_of([blocks.resolve("brought:FnoBlock")], AXES, "cpu").cases[0]
    module = blocks.build_case(case, 0)
    from gcbench.measure.workload import make_workload

    work = make_workload(blocks.build_case(case, 0), case, "cpu", 0)
    assert work.module.w.dtype == torch.complex64
    with torch.no_grad():
        torch.testing.assert_close(work.call(), module.eval()(work.x))


@pytest.mark.parametrize(
    ("dtype", "kept"), [("float64", torch.complex128), ("bfloat16", torch.complex64)]
)
def test_complex_weights_follow_double_precision_and_no_narrower_one(dtype, kept):
    from gcbench.tensors import brought as moved

    module = moved(brought.FnoBlock(4), "cpu", getattr(torch, dtype))
    assert module.w.dtype == kept


class Uncountable(nn.Conv2d):
    """Refuses to run where somebody watches its operators."""

    def __init__(self, channels):
        super().__init__(channels, channels, 1)

    def forward(self, x):
        if torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
            raise RuntimeError("not while you look")
        return super().forward(x)


@pytest.mark.slow
def test_a_module_that_cannot_be_counted_is_timed_all_the_same_with_the_reason():
    table = gcbench.bench(
        {"hides": Uncountable(C), "gc": "gc"}, SHAPE, max_time_s=0.5, progress=False
    )
    row = table.iloc[0]
    assert (row["status"], row["latency_us"] > 0) == ("ok", True)
    assert "not while you look" in row["reason"]
    assert table["macs"].isna().tolist() == [True, False]


class Outgrows(nn.Module):
    """Looks at a value, and then takes half a GiB."""

    def __init__(self, channels):
        super().__init__()

    def forward(self, x):
        wide = torch.ones(2**27) * float(x.sum())
        return x + wide[0]


def test_what_does_not_fit_on_the_cpu_is_a_reason_and_no_end_of_the_process(monkeypatch):
    monkeypatch.setattr("gcbench.measure.environment.free_bytes", lambda device: 2**26)
    with pytest.raises(CountingError, match=r"Outgrows is not counted: .*allocate"):
        gcbench.count(Outgrows(C), SHAPE)
    monkeypatch.undo()
    assert gcbench.count(Outgrows(C), SHAPE).macs == 0


def test_every_metric_has_its_columns_for_what_is_brought():
    case = comparison_of([blocks.resolve("brought:Quantized")], AXES, "cpu").cases[0]
    assert list(on_cpu(case, 0).metrics) == [c for metric in METRICS for c in metric.columns]


# --- nothing is silent ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODULES)
def test_no_product_of_what_is_brought_is_silent(name):
    assert silent(module_of(name).eval(), torch.randn(SHAPE)) == set()


def test_the_spy_sees_a_product_that_nobody_counts(monkeypatch):
    monkeypatch.setattr("gcbench.measure.counting.account.may_multiply", lambda func: False)
    monkeypatch.delitem(OPERATORS, "aten.mv")
    assert "aten::mv" in silent(module_of("MatVec").eval(), torch.randn(SHAPE))
    monkeypatch.delitem(OPERATORS, "aten._native_multi_head_attention")
    hidden = silent(module_of("Mha").eval(), torch.randn(SHAPE))
    assert "aten::_native_multi_head_attention" in hidden
