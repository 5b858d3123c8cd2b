"""The closed forms of memory are the account of live bytes on the meta device, to the byte."""

import subprocess
import sys
from dataclasses import replace

import pytest
from oracles import combinations, fitted, subject_at

from gcbench import blocks, engines
from gcbench.blocks import BLOCKS
from gcbench.engines.jobs import Job
from gcbench.engines.static import Static
from gcbench.measure.counting.memory import memory
from gcbench.spec.cases import Axes, Effort

# a block without a closed form of its memory is counted on the meta device
FORMED = [entry.name for entry in BLOCKS if hasattr(entry.load(), "alive_bytes")]
SPECS = [
    *(spec for name in FORMED for spec in combinations(name)),
    "nl:reduction=1",
    "nl:reduction=4:subsample=after",
    "gc:bottleneck=false:fusion=both",
]
# large, odd, narrow, one channel, and so small that the moment of the peak is another
SHAPES = [(1, 64, 28, 28), (2, 32, 9, 13), (3, 8, 2, 2), (2, 4, 5, 4), (1, 64, 2, 3)]
EFFORT = Effort(0.02, 1.0)
pytestmark = pytest.mark.usefixtures("single_thread")

BLOCK = """
import torch
from torch import nn

class Plain(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)
    def forward(self, x):
        return self.conv(x) + x

class Refuses(nn.Module):
    def __init__(self, channels):
        super().__init__()
        raise ValueError("not at all")
    def forward(self, x):
        return x
"""


@pytest.mark.parametrize("spec", SPECS)
def test_the_closed_form_of_memory_equals_the_live_bytes(spec):
    for shape in (fitted(spec, shape) for shape in SHAPES):
        ratio = {"ratio": min(8, shape[1])} if blocks.resolve(spec).takes_ratio else {}
        for dtype in ("float32", "bfloat16", "float64"):
            for layout in ("contiguous", "channels_last"):
                subject = subject_at(spec, shape, "torch", dtype=dtype, layout=layout, **ratio)
                predicted, formed = memory(subject), memory(replace(subject, by_form=True))
                assert predicted.pop("memory_source") == "predicted"
                assert formed.pop("memory_source") == "formula"
                assert formed == predicted, (shape, dtype, layout)


@pytest.mark.parametrize("size", [(1, 1), (1, 7)])
@pytest.mark.parametrize("spec", FORMED)
def test_the_closed_form_of_memory_holds_at_a_single_row_and_position(spec, size):
    for channels in (1, 3) if spec != "nl" else (2, 3):
        ratio = {"ratio": 1} if blocks.resolve(spec).takes_ratio else {}
        subject = subject_at(spec, fitted(spec, (2, channels, *size)), "torch", **ratio)
        assert memory(replace(subject, by_form=True))["peak_memory_bytes"] == (
            subject.forward.peak_bytes
        )


@pytest.mark.parametrize("entry", BLOCKS, ids=lambda entry: entry.name)
def test_what_is_static_equals_what_is_counted(entry):
    comparison = engines.compare(
        [entry.name], Axes(device="cpu", channels=32, size=(9, 7), ratio=4)
    )
    [found] = Static().measure(Job(comparison, EFFORT)).measurements
    [other] = Static().measure(Job(comparison, EFFORT, counter="torch")).measurements
    assert found.status == "ok"
    if entry.name not in FORMED:
        assert found.metrics == other.metrics | {"macs_counter": "formula"}
        return
    assert found.metrics["macs_counter"] == found.metrics["memory_source"] == "formula"
    assert other.metrics["macs_counter"] == "torch"
    # what ran tells its operators, and nothing ran where the forms spoke
    ran = {"macs_counter": "", "uncounted_ops": ""}
    assert found.metrics["uncounted_ops"] is None
    assert found.metrics | ran == other.metrics | ran


def test_a_block_that_is_bound_to_a_size_is_built_anew_for_every_one_and_others_are_not():
    engine = Static()
    for name, built in (("bot", 3), ("gc", 1)):
        engine._meta.cache_clear()
        for size in ((4, 4), (4, 6), (6, 4)):
            comparison = engines.compare([name], Axes(device="cpu", channels=32, size=size))
            [found] = engine.measure(Job(comparison, EFFORT)).measurements
            assert found.status == "ok", found.reason
        assert engine._meta.cache_info().misses == built


def test_a_block_without_closed_forms_is_counted_on_the_meta_device_and_so_told(
    tmp_path, monkeypatch
):
    (tmp_path / "static_blocks.py").write_text(BLOCK)
    monkeypatch.syspath_prepend(str(tmp_path))
    comparison = engines.compare(["static_blocks:Plain"], Axes(device="cpu", size=(1024, 1024)))
    [found] = Static().measure(Job(comparison, EFFORT)).measurements
    assert found.metrics["macs"] == 256 * 256 * 1024 * 1024
    assert found.metrics["macs_counter"] == "gcbench"
    assert found.metrics["memory_source"] == "predicted"


def test_a_case_that_cannot_be_built_is_a_row_with_its_reason(tmp_path, monkeypatch):
    (tmp_path / "static_refusals.py").write_text(BLOCK)
    monkeypatch.syspath_prepend(str(tmp_path))
    [se] = engines.compare(["se"], Axes(device="cpu", channels=16)).cases
    cases = (
        replace(se, ratio=32),
        replace(se, ratio=None, spec="static_refusals:Refuses"),
        replace(se, ratio=None, spec="nl:subsample=after", height=1),
    )
    comparison = engines.compare(["se"], Axes(device="cpu"))
    record = Static().measure(Job(replace(comparison, cases=cases, baselines=(0, 0, 0)), EFFORT))
    assert [m.status for m in record.measurements] == ["skipped", "error", "error"]
    assert record.measurements[0].reason == "ratio=32 leaves no channel of 16"
    assert "not at all" in record.measurements[1].reason
    assert "needs H and W of 2 or more" in record.measurements[2].reason


def test_a_non_local_map_of_a_tebibyte_is_counted_without_memory():
    comparison = engines.compare(["nl"], Axes(device="cpu", size=(1024, 1024)))
    [found] = Static().measure(Job(comparison, EFFORT)).measurements
    assert found.metrics["peak_memory_bytes"] > 2 * 4 * 2**40


def test_counting_blocks_on_paper_loads_neither_torchvision_nor_a_compiler(tmp_path):
    code = (
        "import sys\n"
        "from gcbench.cli.app import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "found = {'torchvision', 'torch._dynamo', 'pandas'} & set(sys.modules)\n"
        "assert not found, found\n"
    )
    sweep = ["sweep", "--static", "--size", "7,14", "-o", str(tmp_path / "run")]
    done = subprocess.run([sys.executable, "-c", code, *sweep], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
