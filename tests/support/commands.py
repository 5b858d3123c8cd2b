"""Commands as a test calls them, and what they say."""

import csv
from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from gcbench.cli.app import main
from gcbench.measure.counting.account import watched
from gcbench.measure.counting.uncompiled import uncompiled
from gcbench.measure.workload import Workload


def ran(*arguments, capsys):
    """Run the program in this process; return its exit code, stdout and stderr."""
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    out, err = capsys.readouterr()
    return exit_info.value.code, out, err


def assert_refused(result, *words):
    """One clear line on stderr behind the first words, nothing on stdout, exit code 2."""
    code, out, err = result
    assert code == 2
    assert out == ""
    last = err.splitlines()[-1]
    assert len([line for line in err.splitlines() if "loading torch" not in line]) == 1
    assert "Traceback" not in err
    for word in words:
        assert word in last


def rows(path):
    with Path(path).open() as file:
        return list(csv.DictReader(file))


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


# what multiplies matrices below any operator that torch's dispatch shows, by the profiler's names
KERNELS = {
    *("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::mv", "aten::addmv"),
    *("aten::dot", "aten::vdot", "aten::addbmm", "aten::_trilinear", "aten::_euclidean_dist"),
    *("aten::mkldnn_convolution", "aten::_slow_conv2d_forward", "aten::slow_conv3d_forward"),
    *("aten::thnn_conv2d", "aten::_convolution", "aten::convolution", "aten::conv_tbc"),
    *("aten::_scaled_dot_product_flash_attention_for_cpu", "aten::_sparse_addmm"),
    *("aten::mkldnn_rnn_layer", "aten::_native_multi_head_attention", "aten::linear"),
    *("aten::convolution_backward", "aten::_transformer_encoder_layer_fwd", "aten::matmul"),
    *("quantized::linear_dynamic", "torchvision::deform_conv2d", "aten::_int_mm"),
}


def events_of(call):
    """Every operator that ran, with the names of those that it ran inside of."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        call()
    stack = [(event, ()) for event in profiler.profiler.kineto_results.experimental_event_tree()]
    while stack:
        event, inside = stack.pop()
        yield event.name, inside
        stack.extend((child, (*inside, event.name)) for child in event.children)


@torch.no_grad()
def silent(module, x):
    """Products that were executed and that are neither counted nor named."""
    work = Workload(module, x)
    work.settle()
    steps = []
    found = watched(work, steps)
    seen = {step.operator for step in steps if step.macs or step.unknown} | set(found.unknown)
    with uncompiled():
        ran = list(events_of(work.call))
    # an operator is known by itself, by one around it, or by what it is made of
    known = {name for name, inside in ran if short(name) in seen}
    made_of = {outer for name, inside in ran if name in known for outer in inside}
    return {
        name
        for name, inside in ran
        if name in KERNELS and name not in known | made_of and not known & set(inside)
    }


def short(name):
    namespace, _, operator = name.partition("::")
    return operator.strip("_") if namespace == "aten" else f"{namespace}.{operator}"
