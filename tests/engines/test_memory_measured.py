"""Memory as the allocator gives it out: exact, in every mode, and what backward keeps."""

import math
import random

import pytest
import torch

from gcbench.blocks import BLOCKS, build_case, resolve
from gcbench.measure.counting.allocations import allocations
from gcbench.measure.workload import make_workload
from gcbench.spec.cases import Axes, comparison_of

NAMES = [entry.name for entry in BLOCKS]
SHAPE = (2, 32, 12, 9)


@pytest.fixture(autouse=True)
def quiet_state():
    """One thread, and the gradient mode as it was afterwards."""
    threads, enabled = torch.get_num_threads(), torch.is_grad_enabled()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.set_grad_enabled(enabled)


def workload(name, shape=SHAPE, mode="infer", **more):
    batch, channels, height, width = shape
    axes = Axes(batch=batch, channels=channels, size=(height, width), ratio=4, mode=mode, **more)
    case = comparison_of([resolve(name)], axes, "cpu").cases[0]
    work = make_workload(build_case(case, 0), case, "cpu")
    work.settle()
    return work


def saved_by_hooks(work):
    """Bytes of the storages that autograd keeps beside weights, input and output."""
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = work.forward()
    for tensor in (*work.held(), output):
        kept.pop(tensor.untyped_storage().data_ptr(), None)
    return sum(kept.values())


def test_the_maps_of_non_local_are_there_to_the_byte():
    # with N positions, two maps of N x N float32 and what is linear in N
    found = [
        allocations(workload("nl", (1, 32, height, 10)))["activation_memory_bytes"]
        for height in (10, 20, 30)
    ]
    assert found[2] - 2 * found[1] + found[0] == 2 * (2 * 4 * 100**2)
    positions = 56 * 56
    cells = allocations(workload("nl", (1, 256, 56, 56)))
    beside = cells["activation_memory_bytes"] - 2 * 4 * positions**2
    # three projections to 128 channels, and what they are summed to: no map more, and none less
    assert 3 * 4 * 128 * positions <= beside <= 4 * 4 * 128 * positions
    assert 4 * positions**2 / 2**20 == pytest.approx(37.5, abs=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_peak_is_activations_and_what_is_held(name):
    work = workload(name)
    cells = allocations(work)
    weights = sum(t.nbytes for t in (*work.module.parameters(), *work.module.buffers()))
    held = weights + 4 * math.prod(SHAPE)
    assert cells["peak_memory_bytes"] - cells["activation_memory_bytes"] == held
    assert cells["memory_source"] == "measured"


# numbers by which blocks multiply and divide, 8 bytes each, are kept without asking the hooks
NUMBERS_KEPT = {"nl": 1, "simam": 2, "triplet": 1, "glore": 1, "apnb": 1, "dnl": 1, "bot": 1}


@pytest.mark.parametrize("name", NAMES)
def test_what_backward_keeps_is_what_saved_tensor_hooks_see(name):
    for mode in ("train", "backward"):
        work = workload(name, mode=mode)
        numbers = 8 * NUMBERS_KEPT.get(name, 0)
        assert allocations(work)["saved_memory_bytes"] == saved_by_hooks(work) + numbers


@pytest.mark.parametrize("name", NAMES)
def test_training_takes_more_than_inference_by_at_least_what_is_kept(name):
    infer = allocations(workload(name))
    train = allocations(workload(name, mode="train"))
    gradient = 4 * math.prod(SHAPE)
    assert train["saved_memory_bytes"] > 0
    # at the end of a forward pass what is kept and the output are alive, and then gradients come
    assert train["activation_memory_bytes"] >= train["saved_memory_bytes"] + 2 * gradient
    # the most that is alive in ema is alive in its loop, which has no gradients
    least = infer["activation_memory_bytes"] + (name != "ema")
    assert train["activation_memory_bytes"] >= least


@pytest.mark.parametrize("name", NAMES)
def test_backward_alone_peaks_like_the_backward_half_of_training(name):
    train = allocations(workload(name, mode="train"))
    backward = allocations(workload(name, mode="backward"))
    assert backward["saved_memory_bytes"] == train["saved_memory_bytes"]
    assert backward["activation_memory_bytes"] <= train["activation_memory_bytes"]
    assert backward["activation_memory_bytes"] > backward["saved_memory_bytes"]


def test_the_gradient_that_a_backward_pass_starts_from_is_held():
    work = workload("se", mode="train")
    cells = allocations(work)
    weights = sum(4 * p.numel() for p in work.module.parameters())
    held = cells["peak_memory_bytes"] - cells["activation_memory_bytes"]
    assert held == weights + 2 * 4 * math.prod(SHAPE)


class Doubles(torch.nn.Module):
    """Makes one tensor as large as its input, and nothing else."""

    def forward(self, x):
        return x.neg()


class Same(torch.nn.Module):
    def forward(self, x):
        return x


@pytest.mark.parametrize(("module", "copies"), [(Doubles(), 1), (Same(), 0)])
def test_a_small_example_is_known(module, copies):
    case = comparison_of([resolve("se")], Axes(channels=4, size=(5, 5), ratio=2), "cpu").cases[0]
    work = make_workload(module, case, "cpu")
    assert allocations(work)["activation_memory_bytes"] == copies * 400


@pytest.mark.parametrize("mode", ["train", "backward"])
def test_measuring_leaves_nothing_alive(mode):
    work = workload("gc", mode=mode).elsewhere(random.Random(0))
    allocations(work)
    assert work._output is None
    assert all(parameter.grad is None for parameter in work.module.parameters())
    assert work.x.grad is None
