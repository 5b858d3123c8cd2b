"""Counting on the meta device: no memory, no exception, no trace in the process."""

import resource
from dataclasses import replace

import pytest
import torch
from oracles import cost, fitted, randomise, subject_at
from torch import nn

import gcbench.measure.counting.macs as macs_module
from gcbench.blocks import BLOCKS
from gcbench.measure.counting import Subject, count
from gcbench.measure.counting.meta import meta_pass
from gcbench.metrics import METRICS

NAMES = [entry.name for entry in BLOCKS]
COLUMNS = [column for metric in METRICS for column in metric.columns]
SHAPE = (2, 12, 5, 7)
pytestmark = pytest.mark.usefixtures("single_thread")


def resident_peak():
    """The most memory that this process has held so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def subject_of(make, shape=SHAPE, counter="auto", **axes):
    """A subject around a module of the test's own, under the case of `snl`."""
    with torch.device("meta"):
        meta = make()
    return Subject(subject_at("snl", shape, **axes).case, meta, make, counter)


class Plain(nn.Module):
    """A convolution with no closed form."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(12, 12, 1)

    def forward(self, x):
        return self.conv(x)


class Reads(Plain):
    """Looks at a number, which the meta device does not have."""

    def forward(self, x):
        return x * float(x.sum())


def refuse(*_):
    raise RuntimeError("no trace today\nnor tomorrow")


def test_a_map_of_hundreds_of_gibibytes_costs_nothing_to_count():
    small = subject_at("nl", (1, 256, 8, 8))
    count(small)  # what is imported once is not what the large map costs
    before = resident_peak()
    shape = (1, 256, 512, 512)
    subject = subject_at("nl", shape)
    cells, reasons = count(subject)
    assert reasons == []
    assert cells["macs_counter"] == "gcbench"
    assert (cells["params"], cells["macs"]) == cost("nl", shape)
    assert cells["activation_memory_bytes"] >= 2 * 4 * (512 * 512) ** 2
    assert resident_peak() - before < 300 * 2**20


def witnessed(name, monkeypatch=None, fvcore=None):
    """A subject for which the other counters are asked; `fvcore` is what that one says."""
    if monkeypatch:
        monkeypatch.setattr(macs_module, "fvcore_products", fvcore)
    return replace(subject_at(name, fitted(name, SHAPE), ratio=3), witnesses=True)


def test_one_counter_counts_at_every_size_and_others_are_asked_where_that_is_cheap(monkeypatch):
    macs = cost("nl", SHAPE)[1]
    for largest, asked in ((macs, macs), (macs - 1, None)):
        monkeypatch.setattr(macs_module, "WITNESSED_MACS", largest)
        cells, _ = count(witnessed("nl"))
        assert (cells["macs_counter"], cells["macs"]) == ("gcbench", macs)
        assert (cells["macs_fvcore"], cells["macs_torch"]) == (asked, asked)


def test_others_are_not_asked_where_a_second_call_would_not_fit_in_memory(monkeypatch):
    needed = witnessed("nl").forward.peak_bytes
    for free, asked in ((2 * needed, False), (2 * needed + 2, True), (None, True)):
        monkeypatch.setattr(macs_module, "free_bytes", lambda device, free=free: free)
        cells, _ = count(witnessed("nl"))
        assert cells["macs_counter"] == "gcbench"
        assert (cells["macs_torch"] is not None) == asked


@pytest.mark.parametrize("name", NAMES)
def test_a_witness_that_fails_says_nothing_and_is_no_reason(name, monkeypatch):
    subject = witnessed(name, monkeypatch, refuse)
    cells, reasons = count(subject)
    assert reasons == []
    assert cells["macs"] == cells["macs_torch"] == cost(name, fitted(name, SHAPE), 3)[1]
    assert cells["macs_fvcore"] is None
    assert subject.flags == []


def test_where_fvcore_fails_and_is_asked_for_macs_are_empty_with_its_reason(monkeypatch):
    monkeypatch.setattr(macs_module, "fvcore_products", refuse)
    cells, reasons = count(subject_at("gc", SHAPE, "fvcore", ratio=3))
    [reason] = reasons
    assert reason.startswith("fvcore cannot trace gc r3: RuntimeError: no trace today nor tomorrow")
    assert f"test_counting_meta.py:{refuse.__code__.co_firstlineno + 1})" in reason
    for column in ("macs", "macs_counter", "uncounted_ops"):
        assert cells[column] is None
    for column in ("params", "min_bytes", "peak_memory_bytes"):
        assert cells[column] is not None


@pytest.mark.parametrize("name", NAMES)
def test_where_a_witness_differs_the_row_has_both_numbers_and_a_flag(name, monkeypatch):
    right = cost(name, fitted(name, SHAPE), 3)[1]
    subject = witnessed(name, monkeypatch, lambda *_: right + 1)
    cells, _ = count(subject)
    assert (cells["macs"], cells["macs_fvcore"], cells["macs_torch"]) == (right, right + 1, right)
    assert subject.flags == ["counters_disagree"]
    subject = witnessed(name, monkeypatch, lambda *_: right)
    count(subject)
    assert subject.flags == []


def test_without_a_closed_form_the_formula_is_empty_with_a_reason():
    cells, reasons = count(subject_of(Plain, counter="formula"))
    assert cells["macs"] is None
    assert cells["min_bytes"] is None
    assert len(reasons) == 1
    assert "no closed form" in reasons[0]
    assert "--counter auto" in reasons[0]


@pytest.mark.parametrize("counter", ["auto", "gcbench", "fvcore", "torch"])
def test_without_a_closed_form_the_counters_still_count(counter):
    cells, reasons = count(subject_of(Plain, counter=counter))
    assert reasons == []
    assert cells["macs"] == 2 * 35 * 12 * 12
    assert cells["params"] == 12 * 12 + 12
    assert cells["min_bytes"] is None


@pytest.mark.parametrize("counter", ["auto", "torch", "formula", "fvcore"])
def test_a_module_that_does_not_run_on_meta_gives_reasons_and_no_exception(counter):
    cells, reasons = count(subject_of(Reads, counter=counter))
    assert list(cells) == COLUMNS
    assert cells["params"] == 12 * 12 + 12
    assert cells["peak_memory_bytes"] is None
    assert cells["activation_memory_bytes"] is None
    assert any("is not counted: RuntimeError: Tensor.item()" in reason for reason in reasons)
    assert len(reasons) == len(set(reasons))
    assert all("\n" not in reason for reason in reasons)


@pytest.mark.parametrize("name", NAMES)
def test_every_column_of_the_table_is_filled_but_those_of_networks(name):
    cells, reasons = count(subject_at(name, fitted(name, SHAPE), ratio=3))
    assert reasons == []
    assert list(cells) == COLUMNS
    # nobody else was asked, and a block that stands alone is inserted nowhere
    empty = [name for name, value in cells.items() if value is None]
    assert empty == ["macs_fvcore", "macs_torch", "inserted", "inserted_at", "replaced"]


@pytest.mark.parametrize("mode", ["infer", "train", "backward"])
@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("counter", ["auto", "torch", "formula"])
def test_counting_leaves_the_random_state_and_the_grad_mode_alone(counter, gradients, mode):
    before = torch.get_rng_state()
    with torch.set_grad_enabled(gradients):
        for name in NAMES:
            subject = subject_at(name, fitted(name, SHAPE), counter, ratio=3, mode=mode)
            count(subject)
            assert subject.call.traffic_bytes > 0
            assert torch.is_grad_enabled() is gradients
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("gradients", [True, False])
def test_the_grad_mode_is_left_alone_where_a_module_does_not_run(gradients):
    with torch.set_grad_enabled(gradients):
        assert count(subject_of(Reads))[1]
        assert torch.is_grad_enabled() is gradients


@pytest.mark.parametrize("name", NAMES)
def test_counting_leaves_the_module_as_it_was(name):
    subject = subject_at(name, fitted(name, SHAPE), ratio=3, dtype="float16", mode="train")
    state = {key: (t.dtype, t.shape) for key, t in subject.module.state_dict().items()}
    training = subject.module.training
    count(subject)
    assert subject.call
    assert subject.module.training is training
    assert {key: (t.dtype, t.shape) for key, t in subject.module.state_dict().items()} == state
    assert all(p.device.type == "meta" and p.grad is None for p in subject.module.parameters())


def test_a_training_call_costs_the_products_of_its_backward_pass_too():
    # a convolution's backward pass has two products: for its input and for its weights
    forward = 2 * 35 * 12 * 12
    train = subject_of(Plain, mode="train").call
    backward = subject_of(Plain, mode="backward").call
    assert (train.macs, backward.macs) == (3 * forward, 2 * forward)


def test_weights_and_statistics_are_held_and_shared_ones_only_once():
    class Shared(Plain):
        def __init__(self):
            super().__init__()
            self.again = self.conv
            self.register_buffer("statistics", torch.zeros(3))

    subject = subject_of(Shared)
    assert subject.forward.held_bytes == 4 * (12 * 12 + 12 + 3 + 2 * 12 * 35)
    assert count(subject)[0]["params"] == 12 * 12 + 12


@pytest.mark.parametrize("name", NAMES)
def test_the_counts_do_not_depend_on_the_weights(name):
    subject = subject_at(name, fitted(name, SHAPE), "fvcore", ratio=3)
    other = Subject(subject.case, subject.module, lambda: randomise(subject.build()), "fvcore")
    assert count(subject) == count(other)


def test_a_pass_on_the_meta_device_counts_what_it_is_given_in_half_precision_too():
    for dtype, size in (("float32", 4), ("float16", 2), ("bfloat16", 2), ("float64", 8)):
        subject = subject_of(Plain, dtype=dtype)
        made = meta_pass(subject.module, subject.case)
        assert made.activation_bytes == size * 2 * 12 * 35
        assert made.macs == 2 * 35 * 12 * 12


class Multiplies(Plain):
    """Multiplies matrices outside any layer, in one of torch's ways."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        self.linear = nn.Linear(7, 7)

    def forward(self, x):
        rows = x.flatten(2)  # (2, 12, 35)
        y = {
            "linear": lambda: self.linear(x),
            "matmul": lambda: rows @ rows.transpose(1, 2),
            "bmm": lambda: torch.bmm(rows, rows.transpose(1, 2)),
            "einsum": lambda: torch.einsum("bcn,bdn->bcd", rows, rows),
            "mm": lambda: torch.mm(rows[0], rows[0].t()),
            "addmm": lambda: torch.addmm(rows[0, :, :12], rows[0], rows[0].t()),
        }[self.way]()
        return x + y.sum()


@pytest.mark.parametrize("counter", ["gcbench", "fvcore", "torch"])
@pytest.mark.parametrize(
    ("way", "macs"),
    [
        ("linear", 2 * 12 * 5 * 7 * 7),
        ("matmul", 2 * 12 * 12 * 35),
        ("bmm", 2 * 12 * 12 * 35),
        ("einsum", 2 * 12 * 12 * 35),
        ("mm", 12 * 12 * 35),
        ("addmm", 12 * 12 * 35),
    ],
)
def test_a_product_of_matrices_is_counted_however_it_is_written(way, macs, counter):
    cells, reasons = count(subject_of(lambda: Multiplies(way), counter=counter))
    assert reasons == []
    assert cells["macs"] == macs
    assert "sum" in cells["uncounted_ops"]


def test_traffic_is_what_each_operator_reads_and_writes():
    B, C, H, W = SHAPE
    p, x, pooled = C // 4, B * C * H * W, B * C
    cells, _ = count(subject_at("se:ratio=4", SHAPE))
    average = x + pooled
    squeeze, relu = pooled + (C * p + p) + B * p, 2 * B * p
    excite, sigmoid = B * p + (C * p + C) + pooled, 2 * pooled
    assert cells["traffic_bytes"] == 4 * (
        average + squeeze + relu + excite + sigmoid + (x + pooled + x)
    )


def test_traffic_of_a_convolution_is_its_input_weights_and_output():
    cells, _ = count(subject_of(Plain))
    elements = 2 * 12 * 5 * 7
    assert cells["traffic_bytes"] == 4 * (2 * elements + 12 * 12 + 12)


def test_an_expanded_tensor_is_read_once_and_a_view_not_at_all():
    class Views(nn.Module):
        def forward(self, x):
            one = x.mean((2, 3), keepdim=True)
            return x.transpose(2, 3).transpose(2, 3) * one.expand_as(x)

    cells, _ = count(subject_of(Views))
    elements, means = 2 * 12 * 5 * 7, 2 * 12
    assert cells["traffic_bytes"] == 4 * ((elements + means) + (elements + means + elements))


def test_a_call_with_a_backward_pass_has_more_macs_than_its_forward_pass():
    forward, call = (
        count(subject_of(Plain, mode=mode))[0]["call_macs"] for mode in ("infer", "train")
    )
    # the gradients to input and weights are one product each
    assert call == 3 * forward
    backward = count(subject_of(Plain, mode="backward"))[0]["call_macs"]
    assert backward == 2 * forward
