"""How fast a case is counted: by each counter, and at a size that no machine could allocate."""

import pytest

from gcbench import blocks
from gcbench.measure.counting import Subject, count
from gcbench.spec.cases import Axes, comparison_of


def subject(name, size, counter):
    axes = Axes(size=(size, size))
    case = comparison_of([blocks.resolve(name)], axes, "cpu").cases[0]
    return Subject(case, blocks.build_meta(case), lambda: blocks.build_case(case, 0), counter)


@pytest.mark.parametrize("counter", ["gcbench", "fvcore", "torch", "formula"])
@pytest.mark.parametrize("name", ["gc", "nl"])
def test_counting_a_case_at_28x28(benchmark, name, counter):
    cells, reasons = benchmark(lambda: count(subject(name, 28, counter)))
    assert not reasons
    assert cells["macs_counter"] == counter


def test_counting_nl_at_512x512_with_its_map_of_256_gib(benchmark):
    cells, _ = benchmark(lambda: count(subject("nl", 512, "auto")))
    assert cells["peak_memory_bytes"] > 2**38
