"""Where a case lies on a GPU and what that costs, on a simulated caching allocator."""

import random

import pytest
import torch
from fake_cuda import MIB, FakeCuda

from gcbench.measure import environment
from gcbench.measure.counting.allocations import allocations
from gcbench.measure.workload import Workload, cache_flush


@pytest.fixture
def cuda(monkeypatch):
    fake = FakeCuda(monkeypatch)
    with fake.tensors(), torch.no_grad():
        yield fake


def test_a_flush_leaves_the_cache_full_of_what_need_not_be_written_back(cuda):
    cache = cuda.devices[1].last_cache
    flush = cache_flush(environment.require_cache_bytes("cuda:1"), "cuda:1")
    x = torch.randn(64, 64, 64, device="cuda:1")
    assert cuda.address(x) in cache.lines
    flush()
    assert cuda.address(x) not in cache.lines
    # the one number that reading gives
    assert cache.dirty <= 8


class Weights(torch.nn.Module):
    """Weights of the small pool, of a segment that others share, and of one alone; a buffer."""

    def __init__(self):
        super().__init__()
        sides = {"small": 32, "shared": 720, "own": 2048}
        for name, side in sides.items():
            weight = torch.empty(side, side, device="cuda:0")
            self.register_parameter(name, torch.nn.Parameter(weight, requires_grad=False))
        self.register_buffer("mean", torch.empty(32, device="cuda:0"))

    def forward(self, x):
        return x


@pytest.mark.parametrize("side", [8, 56, 112])
def test_a_rebuild_lies_at_another_place_in_memory(cuda, side):
    work = Workload(Weights(), torch.randn(1, 256, side, side, device="cuda:0"))
    rng = random.Random(0)
    places = []
    for _ in range(12):
        moved = work.elsewhere(rng)
        module = moved.module
        tensors = (module.small, module.shared, module.own, module.mean, moved.x)
        places.append([cuda.address(tensor) for tensor in tensors])
        assert all(address % 512 == 0 for address in places[-1])
        del module, moved, tensors
    for addresses in zip(*places, strict=True):
        assert len(set(addresses)) >= 9, addresses
    # nothing that was made is left
    assert cuda.memory.stats()["requested_bytes.all.current"] < 60 * MIB


class Doubles(torch.nn.Module):
    """Makes two tensors like its input, of which the first is let go."""

    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.ones(100, device="cuda:0"))

    def forward(self, x):
        return (x + 1) * 2


@pytest.mark.parametrize(
    ("shape", "segments"),
    [
        # three of 121,200 bytes and a weight of 400 lie in one segment of the small pool
        ((1, 3, 100, 101), 2 * MIB),
        # three of 3.06 MiB in one of 20 MiB
        ((1, 256, 56, 56), 2 * MIB + 20 * MIB),
        # 19.47 MiB each, for which 20 are taken
        ((1, 1, 2259, 2259), 2 * MIB + 3 * 20 * MIB),
    ],
)
def test_memory_is_what_was_requested_and_segments_are_what_it_took(cuda, shape, segments):
    x = torch.randn(shape, device="cuda:0")
    work = Workload(Doubles(), x)
    # what others left free inside their segments is not what the case needs
    others = [
        torch.empty(round(size * MIB), dtype=torch.uint8, device="cuda:0")
        for size in (0.7, 0.9, 0.8, 1.5, 3, 30)
    ]
    cells = allocations(work)
    assert cells["activation_memory_bytes"] == 2 * x.nbytes
    assert cells["peak_memory_bytes"] == 3 * x.nbytes + 400
    assert cells["reserved_memory_bytes"] == segments
    assert [cuda.address(other) for other in others]
    assert allocations(work) == cells


def test_where_no_copy_more_fits_it_is_not_known_what_would_be_taken(cuda):
    work = Workload(Doubles(), torch.randn(2048, 2048, device="cuda:0"))
    cuda.memory.total = cuda.memory.reserved + 40 * MIB
    cells = allocations(work)
    assert cells["activation_memory_bytes"] == 2 * work.x.nbytes
    assert cells["reserved_memory_bytes"] is None
    assert cuda.memory.stats()["requested_bytes.all.current"] < 20 * MIB


def test_what_a_block_keeps_of_a_call_need_not_be_copied(cuda):
    class Keeps(Doubles):
        def forward(self, x):
            self.kept = self
            return super().forward(x)

        def __deepcopy__(self, memo):
            assert not hasattr(self, "kept")
            return Keeps()

    pristine = Workload(Keeps(), torch.randn(8, 8, device="cuda:0"))
    work = pristine.elsewhere(random.Random(0))
    work.settle()
    assert allocations(work, pristine)["reserved_memory_bytes"] == 2 * MIB
