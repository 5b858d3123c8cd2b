"""The memory that is predicted on the meta device is what torch's profiler sees on the CPU."""

import gc

import pytest
import torch
from oracles import changed_once, fitted, options_at, subject_at
from torch.profiler import ProfilerActivity, profile

from gcbench.blocks import BLOCKS, resolve
from gcbench.measure.counting import count
from gcbench.measure.counting.account import Account
from gcbench.measure.workload import make_workload

NAMES = [entry.name for entry in BLOCKS]
# a k x k convolution without oneDNN spreads its windows out in work space of its own
SPREAD = ("cbam", "triplet")
# bytes of Python's numbers that torch makes tensors of, and that may live when the peak is reached
SCALARS = {"simam": 12}
SPECS = [
    *(
        spec
        for name in NAMES
        for spec in changed_once(name)
        # a fused kernel keeps no map; on the meta device there is none, and the map is predicted
        if not options_at(spec).get("sdpa")
    ),
    "gc:fusion=both:norm=none:pooling=avg",
    "gc:bottleneck=false:fusion=both",
    "nl:norm=batch:similarity=concatenation:subsample=after",
    "nl:reduction=1:similarity=gaussian:subsample=before",
]

# putting oneDNN's flags back sets one that only Intel's GPUs have, and torch warns of that
pytestmark = [
    pytest.mark.filterwarnings("ignore:TF32 acceleration on top of oneDNN:UserWarning"),
    pytest.mark.usefixtures("single_thread"),
]

SHAPES = [(1, 64, 28, 28), (2, 32, 9, 13), (1, 96, 20, 11)]


def at(shape):
    return "x".join(map(str, shape))


def profiled_peak(subject):
    """The peak of what torch's allocator gave out during one call on the CPU, above its start."""
    work = make_workload(subject.build(), subject.case, "cpu")
    with torch.set_grad_enabled(True):
        work.prepare()
        work.call()
        gc.collect()
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            work.call()
    events = list(profiler.profiler.kineto_results.experimental_event_tree())
    allocations = []
    while events:
        event = events.pop()
        events.extend(event.children)
        if event.tag.name == "Allocation":
            allocations.append((event.start_time_ns, event.extra_fields.alloc_size))
    assert allocations
    live = peak = 0
    for _, size in sorted(allocations, key=lambda each: each[0]):
        live += size
        peak = max(peak, live)
    return peak


def predicted(subject):
    cells, reasons = count(subject)
    assert reasons == []
    B, C, H, W = subject.case.shape
    size = {"float32": 4, "float64": 8}[subject.case.dtype]
    weights = sum(t.numel() * t.element_size() for t in held(subject))
    assert cells["peak_memory_bytes"] - cells["activation_memory_bytes"] == (
        B * C * H * W * size + weights
    )
    return cells["activation_memory_bytes"]


def held(subject):
    """The weights and statistics on the CPU in the case's dtype."""
    module = subject.build().to(getattr(torch, subject.case.dtype))
    return [*module.parameters(), *module.buffers()]


@pytest.mark.parametrize("shape", SHAPES, ids=at)
@pytest.mark.parametrize("spec", [spec for spec in SPECS if not spec.startswith(SPREAD)])
def test_the_predicted_peak_is_what_the_profiler_sees_exactly(spec, shape):
    with torch.backends.mkldnn.flags(enabled=False):
        subject = subject_at(spec, fitted(spec, shape), "torch", ratio=8)
        assert predicted(subject) + SCALARS.get(subject.case.block, 0) == profiled_peak(subject)


def test_the_predicted_peak_of_fused_attention_is_that_of_the_written_out_one():
    fused, plain = (subject_at(spec, SHAPES[0], "torch") for spec in ("mhsa", "mhsa:sdpa=false"))
    assert profiled_peak(fused) < 0.1 * predicted(fused)
    assert predicted(fused) == pytest.approx(predicted(plain), rel=0.1)


@pytest.mark.parametrize("name", [n for n in NAMES if n in SPECS and n not in (*SPREAD, *SCALARS)])
def test_the_predicted_peak_is_what_the_profiler_sees_in_double_precision(name):
    with torch.backends.mkldnn.flags(enabled=False):
        subject = subject_at(name, (2, 32, 9, 13), "torch", ratio=8, dtype="float64")
        assert predicted(subject) == profiled_peak(subject)


@pytest.mark.parametrize("shape", SHAPES, ids=at)
@pytest.mark.parametrize("spec", SPECS)
def test_with_onednn_the_predicted_peak_is_a_lower_bound(spec, shape):
    # oneDNN reorders inputs into work space of its own, which no operator returns
    subject = subject_at(spec, fitted(spec, shape), "torch", ratio=8)
    assert predicted(subject) <= profiled_peak(subject)


@pytest.mark.parametrize("shape", SHAPES, ids=at)
def test_with_onednn_the_predicted_peak_of_non_local_is_exact(shape):
    # its map outgrows whatever a convolution takes for itself
    subject = subject_at("nl", shape, "torch")
    assert predicted(subject) == profiled_peak(subject)


@pytest.mark.parametrize("spec", SPECS)
def test_memory_grows_with_the_batch_and_the_activations_by_exactly_it(spec):
    ratio = {"ratio": 8} if resolve(spec).takes_ratio else {}
    one, three = (
        count(subject_at(spec, fitted(spec, (batch, 32, 9, 13)), "torch", **ratio))[0]
        for batch in (1, 3)
    )
    grown = three["activation_memory_bytes"] / one["activation_memory_bytes"]
    assert grown == pytest.approx(3, rel=1e-2)
    # weights are there once
    held = one["params"] > 0
    assert (three["peak_memory_bytes"] < 3 * one["peak_memory_bytes"]) == held


# --- the account itself --------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_account_knows_a_small_example(device):
    held = torch.empty(256, device=device)
    account = Account([held])
    with account:
        a = held + 1  # 1 KiB alive
        b = torch.cat([a, a])  # 3 KiB
        del a  # 2 KiB
        c = b.view(2, 256)  # a view: 2 KiB
        d = c.sum(0)  # 3 KiB
        del b  # c keeps it: 3 KiB
        e = d * 2  # 4 KiB, the peak
        del c, d  # 1 KiB
        f = torch.cat([e, e])  # 3 KiB
        del e, f
    assert account.peak_bytes == 4 * 1024
    assert account.uncounted == {"add", "cat", "sum", "mul"}


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_account_charges_nothing_for_what_is_held_or_written_in_place(device):
    held = torch.empty(256, device=device)
    account = Account([held])
    with account:
        held.add_(1)
        held.view(16, 16).mul_(2).t()
        held.detach()
    assert account.peak_bytes == 0


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_account_remembers_a_peak_that_is_past_and_follows_deaths(device):
    account = Account([])
    with account:
        for _ in range(5):
            torch.empty(1024, device=device)  # dies at once: never more than 4 KiB alive
        kept = [torch.empty(100, device=device) for _ in range(3)]
    assert account.peak_bytes == 4096
    assert len(kept) == 3


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_account_knows_products_from_what_is_not_counted(device):
    a = torch.ones(3, 4, device=device)
    account = Account([a])
    with account:
        (a @ a.t()).softmax(-1)
    assert account.uncounted == {"softmax"}
    assert account.peak_bytes == 2 * 3 * 3 * 4
