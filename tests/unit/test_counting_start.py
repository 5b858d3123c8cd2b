"""What counting spares: second calls that tell nothing new, and libraries that nothing needs."""

import subprocess
import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from gcbench.measure.counting import account
from gcbench.measure.counting.account import settled, watched
from gcbench.measure.counting.uncompiled import uncompiled
from gcbench.measure.workload import Workload

X = (2, 8, 6, 5)


class Counting(nn.Module):
    """Counts its calls in a place that only Python sees, in the given attribute's way."""

    def __init__(self):
        super().__init__()
        self.calls = 0
        self.mix = nn.Conv2d(8, 8, 1)

    def forward(self, x):
        Counting.made += 1
        return self.mix(x)


class Flag(Counting):
    """A product more at the first call, known by a flag alone."""

    ready = False

    def forward(self, x):
        if not self.ready:
            self.ready = True
            x = x @ x.transpose(2, 3) @ x
        return super().forward(x)


class Listed(Counting):
    """The same, known by what a list holds."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        if not self.seen:
            self.seen.append(x.shape)
            x = x @ x.transpose(2, 3) @ x
        return super().forward(x)


class Table(Counting):
    """The same, known by a table that nobody but a function holds."""

    def __init__(self):
        super().__init__()
        kept = []
        self.table = lambda x: kept or kept.append(x @ x.transpose(2, 3)) or kept

    def forward(self, x):
        return super().forward(x + self.table(x)[0].sum())


class Written(Counting):
    """The same, known by a number in a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("ready", torch.zeros(()))

    def forward(self, x):
        if not self.ready:
            self.ready.fill_(1)
            x = x @ x.transpose(2, 3) @ x
        return super().forward(x)


def calls_of(module, mode="infer"):
    Counting.made = 0
    with torch.no_grad():
        gradient = None if mode == "infer" else torch.ones(X)
        found = settled(Workload(module, torch.randn(X), mode, gradient))
    return found, Counting.made


@pytest.mark.parametrize("mode", ["infer", "train"])
def test_a_first_call_that_leaves_nothing_behind_is_counted_itself(mode):
    found, made = calls_of(Counting(), mode)
    assert made == 1
    work = Workload(Counting(), torch.randn(X), mode, None if mode == "infer" else torch.ones(X))
    with torch.no_grad():
        work.settle()
        again = watched(work)
    assert (found.macs, found.traffic_bytes) == (again.macs, again.traffic_bytes)
    assert (found.peak_bytes, found.uncounted) == (again.peak_bytes, again.uncounted)


@pytest.mark.parametrize("kind", [Flag, Listed, Table, Written])
def test_a_first_call_that_leaves_something_is_not_the_one_that_counts(kind):
    found, made = calls_of(kind())
    assert made == 2
    assert found.macs == 2 * 8 * 8 * 6 * 5


def test_lazy_weights_are_counted_after_they_are_there():
    found, _ = calls_of(nn.Sequential(nn.LazyConv2d(8, 1), Counting()))
    assert found.params == 2 * (8 * 8 + 8)
    assert found.held_bytes == 4 * (found.params + 2 * 8 * 6 * 5)


def run(code):
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_pass_on_the_meta_device_loads_neither_the_compiler_nor_torchs_formulas():
    run(
        "import sys, torch, gcbench\n"
        "from gcbench.measure.counting.meta import meta_pass\n"
        "from gcbench import blocks; from gcbench.spec import cases as spec\n"
        "from gcbench.blocks import forms\n"
        "[case] = spec.comparison_of([blocks.resolve('gc')], spec.Axes(), 'cpu').cases\n"
        "module = blocks.build_meta(case)\n"
        "right = forms.closed_form(module, case.shape)['macs']\n"
        "assert meta_pass(module, case).macs == right > 0\n"
        "assert not {'torch._dynamo', 'torch.utils.flop_counter'} & set(sys.modules)\n"
        "x = torch.ones(2, device='meta')\n"
        "x + x\n"
        "assert type(sys.modules['torch._dynamo']).__name__ == 'module'\n"
    )


def test_measuring_memory_does_not_load_the_compiler():
    run(
        "import sys, torch\n"
        "from gcbench.measure.counting.allocations import allocations\n"
        "from gcbench.measure.workload import Workload\n"
        "work = Workload(torch.nn.ReLU(), torch.ones(1, 8, 16, 16))\n"
        "assert allocations(work)['activation_memory_bytes'] == 8192\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )


def test_every_formula_of_torchs_own_is_looked_for_without_being_loaded():
    run(
        "from gcbench.measure.counting.operators import OPERATORS, may_multiply, name_of\n"
        "from torch.utils.flop_counter import flop_registry\n"
        "from torch._ops import OpOverloadPacket\n"
        "own = [p for p in flop_registry if isinstance(p, OpOverloadPacket)]\n"
        "assert len(own) > 10\n"
        "for packet in own:\n"
        "    func = getattr(packet, packet.overloads()[0])\n"
        "    assert name_of(func) in OPERATORS or may_multiply(func), packet\n"
    )


def test_a_users_formula_counts_once_it_is_registered():
    run(
        "import torch\n"
        "from gcbench.measure.counting.account import watched\n"
        "from gcbench.measure.workload import Workload\n"
        "work = Workload(torch.nn.Softplus(), torch.ones(1, 2, 3, 4))\n"
        "assert watched(work).macs == 0\n"
        "from torch.utils.flop_counter import register_flop_formula\n"
        "@register_flop_formula(torch.ops.aten.softplus)\n"
        "def softplus(shape, *args, out_shape=None, **kwargs):\n"
        "    return 2 * 24\n"
        "assert watched(work).macs == 24\n"
    )


def test_the_compiler_comes_where_it_is_wanted_inside():
    run(
        "import sys, torch\n"
        "from gcbench.measure.counting.uncompiled import uncompiled\n"
        "x = torch.ones(2, device='meta')\n"
        "with uncompiled():\n"
        "    x + x\n"
        "    assert 'torch._dynamo.config' not in sys.modules\n"
        "    import torch._dynamo.config\n"
        "    made = torch.compile(lambda x: x + 1, backend='eager')\n"
        "    x + x\n"
        "assert made(torch.zeros(3)).tolist() == [1, 1, 1]\n"
        "with uncompiled():\n"
        "    assert made(torch.zeros(3)).tolist() == [1, 1, 1]\n"
    )


def test_what_stands_for_the_compiler_is_gone_afterwards_also_where_something_raised(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch._dynamo", raising=False)

    def fail():
        with uncompiled(), uncompiled():
            assert isinstance(sys.modules["torch._dynamo"], ModuleType)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert "torch._dynamo" not in sys.modules


def test_what_is_known_of_an_operator_is_asked_once():
    kind = account._kind_of(torch.ops.aten.mm.default)
    assert kind is account._kind_of(torch.ops.aten.mm.default)
    assert (kind.name, kind.computes, kind.asks, kind.writes) == ("mm", True, False, False)
