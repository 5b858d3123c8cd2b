"""Runtimes of others: what they compute is eager's, where it lies is torch's, and who says no."""

import random
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
import torch
from oracles import fitting
from runs import manifest

from gcbench import blocks, engines, runtime
from gcbench.cli.app import main
from gcbench.engines import apart, deploying, inline
from gcbench.engines.isolated import Isolated
from gcbench.engines.jobs import Job
from gcbench.engines.static import Static
from gcbench.errors import BlockError, UsageError
from gcbench.measure import modules, runtimes
from gcbench.measure.runtimes.foreign import Deployment, cause_of, exported
from gcbench.measure.runtimes.openvino import silent
from gcbench.measure.workload import make_workload
from gcbench.records import QUICK, Measurement
from gcbench.results import tables
from gcbench.runtime import RUNTIMES
from gcbench.spec import cases
from gcbench.spec.cases import Axes, Effort, parse_pair

FOREIGN = [entry.name for entry in RUNTIMES if entry.foreign]
SMALL = Axes(device="cpu", channels=8, size=(4, 3), ratio=4, threads=1)
SHORT = Effort(precision=0.5, max_time_s=0.3)

MODULES = """
import torch
from torch import nn

class Plain(nn.Module):
    def __init__(self, channels):
        super().__init__()

class Branching(Plain):
    def forward(self, x):
        return x * 2 if x.sum() > 0 else x

class Attending(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.attention = nn.MultiheadAttention(channels, 4, batch_first=True)
    def forward(self, x):
        rows = x.flatten(2).transpose(1, 2)
        return x + self.attention(rows, rows, rows)[0].transpose(1, 2).reshape(x.shape)

class Otherwise(Plain):
    # what an exporter sees is not what eager does
    def forward(self, x):
        return x * (3 if torch.compiler.is_exporting() else 2)
"""


@pytest.fixture
def own_blocks(tmp_path, monkeypatch):
    (tmp_path / "deployed_blocks.py").write_text(MODULES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.fixture(params=FOREIGN)
def foreign(request):
    missing = RUNTIMES[request.param].missing
    if missing:
        pytest.skip(f"without {missing}")
    return request.param


def case_of(name, **axes):
    return cases.comparison_of([blocks.resolve(name)], replace(SMALL, **axes), "cpu").cases[0]


@pytest.fixture
def deployed(foreign):
    """A block as a runtime has it, with the module that it was made of."""
    case = case_of("gc", runtime=foreign)
    module = blocks.build_case(case, 0).eval()
    # its last weights begin at zero, and would hide what stands before them
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(2))
    x = torch.randn(case.shape, generator=torch.Generator().manual_seed(1))
    artefact = exported(runtimes.of(case), module, x)
    return Deployment(runtimes.of(case), artefact, x, 1), module


@torch.no_grad()
def test_a_call_reads_its_input_and_writes_its_outputs_where_they_lie(deployed, foreign):
    work, module = deployed
    bound = [output.data_ptr() for output in work.outputs]
    # what torch itself runs makes its outputs anew
    assert bound or not RUNTIMES[foreign].needs
    for seed in (3, 4):
        work.x.copy_(torch.randn(work.x.shape, generator=torch.Generator().manual_seed(seed)))
        work.settle()
        torch.testing.assert_close(work.outputs[0], module(work.x), rtol=1e-5, atol=1e-5)
    assert not bound or [output.data_ptr() for output in work.outputs] == bound


@torch.no_grad()
def test_a_copy_elsewhere_computes_the_same_in_buffers_of_its_own(deployed):
    work, module = deployed
    moved = work.elsewhere(random.Random(0))
    work.settle()
    moved.settle()
    places = {each.data_ptr() for each in (work.x, moved.x, *work.outputs, *moved.outputs)}
    assert len(places) == 4
    torch.testing.assert_close(moved.outputs[0], module(work.x), rtol=1e-5, atol=1e-5)
    assert (work.repeatable, work.cold, work.turns) == (True, False, 1)
    cold = Deployment(*work._given[:2], work.x, 1, before=lambda: None)
    assert (cold.repeatable, cold.cold) == (False, True)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_those_that_were_asked_for(deployed, foreign, threads):
    work, _ = deployed
    own, artefact = work._given[:2]
    loaded = own.load(artefact, work.x, threads)
    if foreign == "openvino":
        assert loaded.compiled.get_property("INFERENCE_NUM_THREADS") == threads
        assert loaded.compiled.get_property("NUM_STREAMS") == 1
        assert loaded.compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"
    if foreign == "onnxruntime":
        options = loaded._session.get_session_options()
        assert (options.intra_op_num_threads, options.inter_op_num_threads) == (threads, 1)
        assert options.get_session_config_entry("session.force_spinning_stop") == "1"


def test_what_a_runtime_cannot_do_is_said(foreign):
    def why(**axes):
        return runtimes.why_not(case_of("se", runtime=foreign, **axes))

    assert why() is None
    assert why(dtype="float16") is None
    for axes, words in (
        ({"mode": "train"}, "it only infers, and mode is train"),
        ({"dtype": "float64"}, "not in float64"),
        ({"dtype": "bfloat16"}, "not in bfloat16"),
        ({"layout": "channels_last"}, "NCHW in memory"),
        ({"device": "cuda:0"}, "measured on the CPU"),
        ({"regime": "sustained"}, "regime burst"),
    ):
        assert words in why(**axes)


def test_where_one_of_a_pair_cannot_be_run_it_is_a_skipped_row_and_the_other_is_not(foreign):
    axes = replace(SMALL, runtime=foreign)
    mixed = engines.compare(["se"], axes, pair=parse_pair("--pair", "mode=infer,train", axes))
    record = inline.measure(Job(mixed, SHORT))
    assert [m.status for m in record.measurements] == ["ok", "skipped"]
    assert record.measurements[1].reason == "it only infers, and mode is train"
    with pytest.raises(UsageError, match=f"--runtime {foreign}: it only infers"):
        engines.compare(["se"], replace(axes, mode="train"))


def test_what_fails_is_a_row_with_its_cause(own_blocks, foreign):
    axes = replace(SMALL, runtime=foreign)
    names = ["se", "deployed_blocks:Branching", "deployed_blocks:Otherwise"]
    record = inline.measure(Job(engines.compare(names, axes), SHORT))
    fine, branching, otherwise = record.measurements
    assert fine.status == "ok"
    assert fine.metrics["export_s"] > 0
    assert fine.metrics["load_ms"] > 0
    # that of torch's allocator would be another program's
    assert "peak_memory_bytes" not in fine.metrics
    assert [m.status for m in (branching, otherwise)] == ["error"] * 2
    assert branching.reason.startswith("it cannot be exported: it branches on values")
    assert not any(word in branching.reason for word in ("\x1b", "step 1", "ExportError"))
    assert f"{foreign} differs from eager by up to" in otherwise.reason
    [row, *_] = tables.rows_of(record, manifest())
    assert row["latency_us"] > 0
    assert row.get("bound") is None


def test_outputs_may_differ_by_what_a_dtype_allows_and_no_more():
    ours = torch.tensor([8.0, -2.0, float("inf")])
    allowed = 8 * torch.finfo(torch.float32).eps ** (2 / 3)
    near, far = ours.clone(), ours.clone()
    near[1] += 0.5 * allowed
    far[1] += 2 * allowed
    assert deploying.difference(near, ours) is None
    assert "where the largest output is 8" in deploying.difference(far, ours)
    assert "gives numbers where eager gives none" in deploying.difference(
        torch.tensor([8.0, -2.0, 1.0]), ours
    )
    assert "float64" in deploying.difference(ours.double(), ours)
    whole = torch.tensor([1, 2])
    assert deploying.difference(whole, whole.clone()) is None
    assert "whole numbers" in deploying.difference(whole, whole + 1)
    assert deploying.difference(torch.ones(3), torch.zeros(3)) is not None


def test_outputs_of_another_shape_are_none_of_eagers(deployed):
    work, _ = deployed

    class Given:
        module = staticmethod(lambda x: (x, x))

    with pytest.raises(BlockError, match="gives outputs of 1x8x4x3, and eager 1x8x4x3, 1x8x4x3"):
        deploying.require_same("it", work, Given)


def test_the_cause_of_a_failed_export_is_plain():
    failed = RuntimeError("Failed to export. This is step 1/3")
    failed.__cause__ = ValueError("\x1b[31mno such thing\x1b[0m\n  at line 3")
    assert cause_of(failed) == "ValueError: no such thing"
    assert cause_of(KeyError()) == "KeyError"


def test_what_is_not_installed_is_told_with_what_installs_it(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    found = runtime.importlib.util.find_spec
    hidden = {name for entry in RUNTIMES for name in entry.needs}
    monkeypatch.setattr(
        runtime.importlib.util, "find_spec", lambda name: None if name in hidden else found(name)
    )
    for arguments, words in (
        (("--runtime", "onnxruntime"), "onnxruntime and onnxscript: pip install 'gcbench[onnx]'"),
        (("--pair", "runtime=eager,openvino"), "openvino: pip install 'gcbench[openvino]'"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["bench", "se", "-C", "8", "-s", "4", "--device", "cpu", *arguments])
        assert ended.value.code == 2
        assert words in capsys.readouterr().err


@torch.no_grad()
def test_an_exported_file_holds_the_block_that_is_measured(foreign, capsys, tmp_path, monkeypatch):
    suffix = RUNTIMES[foreign].suffix
    if suffix is None:
        pytest.skip("it has no files")
    monkeypatch.chdir(tmp_path)
    asked = ["--shape", "1x8x4x3", "--ratio", "4", "--seed", "5", "-o", f"nl{suffix}"]
    with pytest.raises(SystemExit) as ended:
        main(["export", "nl", *asked])
    assert not ended.value.code
    loading = capsys.readouterr().out
    if foreign == "openvino":
        silent()
    found = {}
    exec(loading, found)
    x = torch.randn(1, 8, 4, 3, generator=torch.Generator().manual_seed(1))
    if foreign == "onnxruntime":
        session = found["session"]
        [output] = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    else:
        output = found["model"](x.numpy())[0]
    module = blocks.build_case(case_of("nl"), 5).eval()
    torch.testing.assert_close(torch.from_numpy(output), module(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gc", "-o", "a.pt"), "--output takes a file that ends in .onnx, .xml, not 'a.pt'"),
        (("gc",), "--output takes a file that ends in .onnx, .xml"),
        (("gc", "-o", "a.onnx", "--dtype", "float64"), "onnxruntime cannot hold it: it computes"),
        (("gc", "-o", "a.onnx", "--ratio", "4,8"), "--ratio takes one value in export"),
        (("gcc", "-o", "a.onnx"), "did you mean 'gc'?"),
        (("deployed_blocks:Branching", "-o", "a.xml", "--shape", "1x8x4x4"), "branches on values"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(arguments, words, own_blocks, capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(["export", *arguments])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".onnx", ".xml", ".bin")]


def test_each_foreign_runtime_has_a_worker_and_its_cases_second_copies_in_another():
    pair = parse_pair("--pair", "runtime=eager,onnxruntime,openvino", SMALL)
    comparison = cases.comparison_of(
        [blocks.resolve(n) for n in ("se", "gc")], SMALL, "cpu", pair=pair
    )
    assert apart.is_apart(comparison)
    seats = apart._seats(comparison)
    assert [(seat.foreign, seat.twins) for seat in seats] == [
        (name, twins) for twins in (False, True) for name in (None, "onnxruntime", "openvino")
    ]
    assert [apart._seated(seat, comparison) for seat in seats] == [[0, 3], [1, 4], [2, 5]] * 2
    assert not apart.is_apart(cases.comparison_of([blocks.resolve("se")], SMALL, "cpu"))
    # what cannot be deployed is skipped, and those beside it are timed as ever
    [block] = [blocks.resolve("se")]
    for changed in ({"device": "cuda:0"}, {"regime": "sustained"}):
        axes = replace(SMALL, **changed)
        assert not apart.is_apart(cases.comparison_of([block], axes, axes.device, pair=pair))


def test_what_is_predicted_of_torchs_memory_is_said_of_no_deployed_case():
    pair = parse_pair("--pair", "runtime=eager,onnxruntime", SMALL)
    comparison = cases.comparison_of([blocks.resolve("se")], SMALL, "cpu", pair=pair)
    eager, deployed = Static().measure(Job(comparison, QUICK)).measurements
    assert eager.metrics["params"] == deployed.metrics["params"]
    assert eager.metrics["peak_memory_bytes"] > 0
    assert "peak_memory_bytes" not in deployed.metrics
    assert "memory_source" not in deployed.metrics


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *(entry.name for entry in blocks.BLOCKS),
        *("timm/cbam", "timm/eca", "timm/coord", "deployed_blocks:Attending"),
    ],
)
@torch.no_grad()
def test_every_block_is_exported_and_computes_what_eager_does(name, own_blocks, foreign):
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    case = case_of(name, channels=fitting(name, 16), size=(7, 7), runtime=foreign)
    work = make_workload(modules.build_case(case, 0), case, "cpu")
    for parameter in work.module.parameters():
        # some begin at zero, and would hide what stands before them
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.manual_seed(2)))
    measured, deployment = deploying.deployed(
        runtimes.of(case), work, Measurement(case), seed=0, threads=1, before=None
    )
    assert measured.metrics.keys() == {"export_s", "load_ms"}
    deployment.settle()


@pytest.mark.slow
def test_one_table_holds_them_all_with_controls_of_their_own():
    names = [name for name in FOREIGN if not RUNTIMES[name].missing]
    pair = parse_pair("--pair", f"runtime=eager,{','.join(names)}", SMALL)
    comparison = engines.compare(["se", "nl"], SMALL, pair=pair)
    with Isolated(120.0) as isolated:
        record = isolated.measure(Job(comparison, Effort(0.5, 3.0)))
    assert [m.status for m in record.measurements] == ["ok"] * len(comparison.cases)
    [timing] = record.timings
    # a second copy of every case: of baselines, and of what other runtimes run
    assert {arm.case for arm in timing.arms if arm.role == "aa"} == set(
        range(len(comparison.cases))
    )
    rows = list(tables.rows_of(record, manifest()))
    assert all(row["relative"] > 0 for row in rows)
    assert ["export_s" not in row for row in rows] == [r["runtime"] == "eager" for r in rows]
    assert {row["macs"] for row in rows if row["spec"] == "nl"} == {rows[-1]["macs"]}


SILENCE = """
    import sys
    written, asked = [], []
    def heard(event, given):
        if event.startswith("socket.") and event != "socket.gethostname":
            asked.append((event, given))
        if event == "open" and isinstance(given[1], str) and set(given[1]) & set("wax+"):
            written.append(str(given[0]))
    sys.addaudithook(heard)
    import torch
    from torch import nn
    from gcbench.measure import runtimes
    from gcbench.measure.runtimes.foreign import Deployment, exported
    torch.set_grad_enabled(False)
    runtime, x = runtimes.named("openvino"), torch.ones(1, 4, 3, 3)
    work = Deployment(runtime, exported(runtime, nn.Conv2d(4, 4, 1).eval(), x), x, 1)
    work.settle()
    assert any(name.startswith("openvino") for name in sys.modules)
    assert not any("telemetry" in name and sys.modules[name] for name in sys.modules
                   if name.startswith("openvino_telemetry"))
    print([name for name in written if name not in ("/dev/null",)], asked)
"""


@pytest.mark.slow
@pytest.mark.skipif(bool(RUNTIMES["openvino"].missing), reason="without openvino")
def test_openvino_sends_nothing_and_writes_nothing(tmp_path, monkeypatch):
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "TMPDIR"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    done = subprocess.run(
        [sys.executable, "-B", "-c", textwrap.dedent(SILENCE)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[] []"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
