"""Compiling: one static graph for each arm, never inside a sample, and never in name only."""

from dataclasses import replace

import pytest
import torch
from oracles import fitting

from gcbench import blocks, engines
from gcbench.engines import inline
from gcbench.engines.jobs import Job
from gcbench.errors import UsageError
from gcbench.measure import runtimes
from gcbench.measure.runtimes import compiled
from gcbench.results import tables
from gcbench.spec import cases as spec
from gcbench.spec.cases import Axes, Effort, parse_pair

SHORT = Effort(precision=0.5, max_time_s=0.3)
SMALL = Axes(device="cpu", channels=16, size=(6, 5), ratio=4, threads=1)

# torch says so where a CUDA build runs without a GPU
pytestmark = pytest.mark.filterwarnings("ignore:.*CUDA initialization:UserWarning")

MODULES = """
import torch
from oracles import fitting
from torch import nn

class Hidden(nn.Module):
    def __init__(self, channels):
        super().__init__()
    @torch.compiler.disable
    def forward(self, x):
        return x * 2

class Broken(nn.Module):
    def __init__(self, channels):
        super().__init__()
    def forward(self, x):
        y = x + 1
        torch._dynamo.graph_break()
        return y * 2

class Restless(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.n = 0
    def forward(self, x):
        self.n += 1
        # the same numbers by other code each time
        return x + 0 * self.n
"""


@pytest.fixture
def modules(tmp_path, monkeypatch):
    (tmp_path / "compile_me.py").write_text(MODULES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """What the compiler writes stays in a folder of the tests."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "inductor"))


def measured(names, axes=SMALL, pair=None, effort=SHORT):
    both = None if pair is None else parse_pair("--pair", pair, axes)
    return tables.frame(engines.run([engines.compare(names, axes, pair=both)], effort))


def test_a_graph_on_a_cpu_is_refused_and_where_it_is_met_all_the_same_a_skipped_row():
    axes = Axes(device="cpu", channels=16, ratio=4, runtime="graph")
    with pytest.raises(UsageError, match="--runtime graph: a CUDA graph needs a CUDA device"):
        engines.compare(["gc", "se"], axes)
    cases = spec.comparison_of([blocks.resolve(name) for name in ("gc", "se")], axes, "cpu")
    record = inline.measure(Job(cases, SHORT))
    assert {m.status for m in record.measurements} == {"skipped"}
    assert all("a CUDA graph needs a CUDA device" in m.reason for m in record.measurements)


def test_a_backward_pass_alone_has_no_graph():
    case = replace(
        spec.comparison_of([blocks.resolve("se")], Axes(), "cuda").cases[0], runtime="graph"
    )
    assert runtimes.why_not(case) is None
    assert "take mode train" in runtimes.why_not(replace(case, mode="backward"))


@pytest.mark.slow
def test_compiled_stands_beside_eager_and_its_compile_time_apart():
    table = measured(["gc", "se"], pair="runtime").set_index(["block", "runtime"])
    assert (table["status"] == "ok").all(), table["reason"].tolist()
    assert table["compile_ms"].isna().tolist() == [True, False, True, False]
    for block in ("gc", "se"):
        eager, compiled = table.loc[(block, "eager")], table.loc[(block, "compile")]
        assert eager["verdict"] == "baseline"
        assert compiled["baseline"] == eager["key"]
        assert compiled["macs"] == eager["macs"]


@pytest.fixture
def made(monkeypatch):
    """How many graphs were made for each compiled case; dynamic shapes are never asked for."""
    counts = []
    compiler, flags = torch.compile, compiled.flags_of

    def noting(function, **options):
        assert options["dynamic"] is False
        return compiler(function, **options)

    def counting(graphs):
        counts.append(graphs)
        return flags(graphs)

    monkeypatch.setattr(torch, "compile", noting)
    monkeypatch.setattr(compiled, "flags_of", counting)
    return counts


@pytest.mark.slow
def test_sizes_compiled_one_after_the_other_are_static_graphs_each(made):
    for n in (8, 12, 16):
        axes = Axes(device="cpu", channels=16, size=(n, n), ratio=4, runtime="compile", threads=1)
        record = inline.measure(Job(engines.compare(["se"], axes), SHORT))
        assert [m.status for m in record.measurements] == ["ok"]
    assert made == [1, 1, 1]


@pytest.mark.slow
def test_ten_ratios_of_one_block_stay_compiled(made):
    names = [f"se:ratio={ratio}" for ratio in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)]
    axes = Axes(device="cpu", channels=16, size=(6, 5), runtime="compile", threads=1)
    record = inline.measure(Job(engines.compare(names, axes), SHORT))
    assert [m.status for m in record.measurements] == ["ok"] * 10
    assert all("compile_ms" in m.metrics for m in record.measurements)
    assert made == [1] * 10
    assert {arm.case for arm in record.timings[0].arms} == set(range(10))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["train", "backward"])
def test_a_compiled_block_is_trained(mode):
    axes = Axes(
        device="cpu", channels=16, size=(6, 5), ratio=4, mode=mode, runtime="compile", threads=1
    )
    table = measured(["gc"], axes)
    assert table["status"].tolist() == ["ok"], table["reason"].tolist()
    assert table["saved_memory_bytes"].notna().all()


@pytest.mark.slow
def test_what_would_not_be_compiled_is_an_error_and_the_rest_go_on(modules):
    axes = Axes(device="cpu", channels=16, size=(6, 5), ratio=4, runtime="compile", threads=1)
    names = ["se", "compile_me:Hidden", "compile_me:Broken", "compile_me:Restless"]
    table = measured(names, axes).set_index("spec")
    assert table["status"].tolist() == ["ok", "error", "ok", "error"], table["reason"].tolist()
    assert "made no graph" in table.loc["compile_me:Hidden", "reason"]
    assert "graphs=2" in table.loc["compile_me:Broken", "flags"]
    assert "recompile" in table.loc["compile_me:Restless", "reason"]


@pytest.mark.slow
def test_a_session_leaves_the_compiler_as_it_was():
    config = torch.compiler.config
    before = config.force_disable_caches
    measured(["se"], Axes(device="cpu", channels=16, size=(6, 5), ratio=4, runtime="compile"))
    assert config.force_disable_caches == before
    double = torch.compile(lambda x: x * 2, dynamic=False)
    assert double(torch.ones(3)).tolist() == [2, 2, 2]
    # it may be compiled again for another shape
    assert double(torch.ones(4)).tolist() == [2, 2, 2, 2]


@pytest.mark.slow
@pytest.mark.parametrize("name", [entry.name for entry in blocks.BLOCKS])
@torch.no_grad()
def test_a_compiled_block_is_one_graph_and_computes_the_same(name):
    channels = fitting(name, 16)
    case = spec.comparison_of(
        [blocks.resolve(name)], replace(SMALL, channels=channels), "cpu"
    ).cases[0]
    module = blocks.build_case(case, 0).eval()
    x = torch.randn(case.shape, generator=torch.Generator().manual_seed(1))
    torch._dynamo.reset()
    compiled = torch.compile(module, dynamic=False, fullgraph=True)
    torch.testing.assert_close(compiled(x), module(x), rtol=1e-4, atol=1e-5)
