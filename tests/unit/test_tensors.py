"""What a module holds, and what moving and copying it must not lose."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from gcbench.tensors import brought, dense, held, on_meta, parameter_count, pieces

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*quanti.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*quanti.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Sparse:UserWarning"),
]


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 3, bias=False)
        self.b = nn.Linear(3, 3, bias=False)
        self.b.weight = self.a.weight


def test_tied_weights_are_tied_without_numbers_too():
    twin = on_meta(Tied())
    assert twin.a.weight is twin.b.weight
    assert parameter_count(twin) == 9


def test_a_copy_without_numbers_takes_none_and_leaves_the_module_alone():
    module = nn.BatchNorm2d(4).eval()
    twin = on_meta(module)
    assert all(tensor.is_meta for tensor in (*twin.parameters(), *twin.buffers()))
    assert not any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers()))
    assert not twin.training


def test_lazy_weights_stay_lazy_and_have_no_count_yet():
    module = nn.Sequential(nn.LazyConv2d(4, 1))
    assert held(module) == dense(module) == []
    for each in (on_meta(module), brought(copy.deepcopy(module), "cpu", torch.float64)):
        assert all(map(is_lazy, each.parameters()))
        with pytest.raises(ValueError, match="made at the first call"):
            parameter_count(each)
    twin = on_meta(module)
    twin(torch.empty(1, 3, 5, 5, device="meta"))
    assert parameter_count(twin) == 3 * 4 + 4


@pytest.mark.parametrize("layout", ["to_sparse", "to_sparse_csr", "to_sparse_csc"])
def test_a_sparse_tensor_is_its_indices_and_values(layout):
    dense_one = torch.eye(4) + torch.eye(4).roll(1)
    found = pieces(getattr(dense_one, layout)())
    assert len(found) == (2 if layout == "to_sparse" else 3)
    assert all(piece.layout == torch.strided for piece in found)
    assert found[-1].numel() == int((dense_one != 0).sum())


@pytest.mark.parametrize("kind", [nn.Linear, nn.LSTM, nn.GRU])
def test_packed_weights_count_as_the_real_ones_do(kind):
    module = nn.Sequential(kind(3, 5))
    packed = torch.ao.quantization.quantize_dynamic(module, {kind}, torch.qint8)
    assert list(packed.parameters()) == []
    assert parameter_count(packed) == parameter_count(module)
    assert sum(each.numel() for each in held(packed)) == parameter_count(module)


def test_numbers_are_brought_to_a_dtype_and_whole_ones_left():
    module = nn.BatchNorm2d(4)
    module.mask = nn.Parameter(torch.ones(4, dtype=torch.bool), requires_grad=False)
    moved = brought(module, "cpu", torch.float64)
    assert moved is module
    assert (moved.weight.dtype, moved.running_mean.dtype) == (torch.float64, torch.float64)
    assert (moved.num_batches_tracked.dtype, moved.mask.dtype) == (torch.int64, torch.bool)


def test_weights_of_four_dimensions_alone_get_the_memory_format():
    module = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv3d(4, 4, 3), nn.Linear(4, 4))
    brought(module, "cpu", torch.float32, torch.channels_last)
    assert module[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert module[1].weight.is_contiguous()
    brought(module, "cpu", torch.float32, torch.contiguous_format)
    assert module[0].weight.is_contiguous()
