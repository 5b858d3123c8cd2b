"""The Python door: modules that exist already are measured by the same engine and left alone."""

import copy
import doctest
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import gcbench
from gcbench import blocks
from gcbench.errors import UsageError

SMALL = {"shape": (1, 16, 6, 5), "device": "cpu", "ratio": 4, "max_time_s": 0.3, "precision": 0.5}


class Mine(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.mix = nn.Conv2d(width, width, 1)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x):
        return x + self.norm(self.mix(x))


@pytest.mark.slow
def test_the_examples_of_the_python_page_do_what_they_say():
    page = Path(__file__).parents[2] / "docs" / "python.md"
    results = doctest.testfile(
        str(page), False, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    )
    assert results.attempted > 8
    assert results.failed == 0


def test_a_dict_names_the_arms_and_its_first_is_the_baseline():
    table = gcbench.bench({"mine": Mine(), "gc": "gc:fusion=scale"}, **SMALL)
    assert table["spec"].tolist() == ["mine", "gc"]
    assert table["status"].tolist() == ["ok", "ok"]
    assert table["verdict"][0] == "baseline"
    # the name is the arm's, the block what stands behind it, at the ratio of the axis
    assert table["params"].tolist() == [16 * 16 + 16 + 32, 17 + 2 * 16 * 4 + 4 + 16 + 8]
    assert table["key"][0].startswith("mine|1x16x6x5|float32|cpu")


def test_a_baseline_is_named_as_the_arms_are():
    table = gcbench.bench({"a": Mine(), "b": "se"}, baseline="b", **SMALL)
    assert table["verdict"][1] == "baseline"


def test_modules_in_a_list_go_by_their_class_and_are_told_apart():
    table = gcbench.bench([Mine(), Mine(), "gc"], **SMALL)
    assert table["spec"].tolist() == ["Mine", "Mine'", "gc"]


def test_a_class_that_is_called_as_a_block_is_takes_no_name_from_it():
    module = type("gc", (Mine,), {})()
    table = gcbench.bench([module, "gc"], **SMALL)
    assert table["spec"].tolist() == ["gc'", "gc"]
    assert table["params"].tolist() == [16 * 16 + 16 + 32, 17 + 2 * 16 * 4 + 4 + 16 + 8]


def test_modules_that_exist_can_be_paired():
    table = gcbench.bench({"mine": Mine()}, pair="dtype=float64,float32", **SMALL)
    assert table["dtype"].tolist() == ["float64", "float32"]
    assert table["status"].tolist() == ["ok", "ok"]


def test_what_is_given_is_measured_with_its_own_weights_and_not_touched():
    module = Mine().double().eval()
    module.mix.weight.requires_grad_(False)
    before = copy.deepcopy(module.state_dict())
    table = gcbench.bench({"mine": module}, mode="train", **SMALL)
    assert table["status"].tolist() == ["ok"]
    assert not module.training
    assert not module.mix.weight.requires_grad
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
        assert value.dtype == before[name].dtype
    with blocks.given({"mine": module}):
        built = blocks.build("mine", 16)
    assert torch.equal(built.mix.weight, module.mix.weight.float())
    assert built.mix.weight is not module.mix.weight


def test_a_given_name_means_its_module_only_while_it_is_measured():
    gcbench.bench({"gc": Mine()}, **SMALL)
    assert blocks.resolve("gc").takes_ratio
    with pytest.raises(UsageError, match="unknown block 'mine'"):
        blocks.resolve("mine")


def test_what_fails_when_called_is_a_row_with_its_line():
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("no such luck")

    table = gcbench.bench({"gc": "gc", "broken": Broken()}, **SMALL)
    assert table["status"].tolist() == ["ok", "error"]
    assert "RuntimeError: no such luck" in table["reason"][1]
    assert "test_api.py:" in table["reason"][1]


def test_what_cannot_be_copied_is_refused():
    class Single(Mine):
        def __deepcopy__(self, memo):
            raise TypeError("there is but one")

    with pytest.raises(UsageError, match="block 'one' cannot be copied: TypeError: there is but"):
        gcbench.bench({"one": Single()}, **SMALL)


@pytest.mark.parametrize("name", ["", "a|b", "a@b", "a\nb"])
def test_a_name_that_no_key_can_hold_is_refused(name):
    with pytest.raises(UsageError, match="an arm cannot be named"):
        gcbench.bench({name: Mine()}, **SMALL)


@pytest.mark.parametrize("wanted", [True, False])
def test_a_terminal_shows_how_far_it_is_unless_told_not_to(wanted, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    gcbench.bench({"mine": Mine()}, progress=wanted, **SMALL)
    out, err = capsys.readouterr()
    assert out == ""
    assert ("timing" in err) == wanted


@pytest.mark.parametrize(
    ("terminal", "jupyter", "widgets", "moves"),
    [
        (True, False, None, True),
        (False, False, "here", False),
        (False, True, "here", True),
        (False, True, None, False),
    ],
)
def test_a_bar_is_drawn_on_a_terminal_and_in_a_notebook_that_can(
    terminal, jupyter, widgets, moves, monkeypatch
):
    from types import SimpleNamespace

    from gcbench.cli import progress

    monkeypatch.setattr("importlib.util.find_spec", lambda name: widgets)
    console = SimpleNamespace(is_terminal=terminal, is_jupyter=jupyter)
    assert progress._moves(console) == moves
