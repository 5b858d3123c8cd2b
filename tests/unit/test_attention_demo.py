"""The demonstration, made small: it runs to its end, and twice to the same end."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from commands import ran
from PIL import Image

from gcbench.attention import demo
from gcbench.report import attention as words
from gcbench.spec.cases import Axes

pytest.importorskip("sklearn")

TINY = replace(
    demo.PLAN, epochs=1, train=40, test=30, digits=2, photos=1, drawn=1, photo_size=(8, 12)
)


@contextmanager
def silent(what, total):
    yield lambda step: None


def test_digits_are_parted_by_the_seed_and_made_ready_as_pictures_are():
    once, again, other = (demo.load(TINY, seed) for seed in (0, 0, 1))
    assert once.images.shape == (40, 3, 16, 16)
    assert torch.equal(once.images, again.images)
    assert not torch.equal(once.labels, other.labels)
    assert len(once.photos) == len(once.test_labels) == 30
    whole = demo.load(demo.PLAN, 0)
    assert len(whole.labels) + len(whole.test_labels) == 1797
    assert (whole.labels.bincount() > 100).all()


def test_a_network_learns_the_same_from_the_same_seed():
    states = []
    for _ in range(2):
        with demo.repeatable(1):
            assert torch.are_deterministic_algorithms_enabled()
            digits = demo.load(TINY, 0)
            torch.manual_seed(0)
            model = demo.digit_resnet()
            first = {name: value.clone() for name, value in model.state_dict().items()}
            demo.train(model, digits, TINY, 0, lambda step: None)
            states.append(model.state_dict())
    assert not torch.are_deterministic_algorithms_enabled()
    assert all(torch.equal(states[0][name], states[1][name]) for name in first)
    assert not torch.equal(first["fc.weight"], states[0]["fc.weight"])


def test_accuracy_is_the_share_that_is_named_rightly():
    digits = demo.Digits(
        torch.empty(0), torch.empty(0), torch.eye(4).reshape(4, 4), torch.tensor([0, 1, 2, 0])
    )
    assert demo.accuracy(torch.nn.Identity(), digits) == 0.75


@pytest.mark.slow
def test_the_demonstration_prints_the_same_twice(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "PLAN", TINY)
    files = ["--csv", str(tmp_path / "d.csv"), "-o", str(tmp_path / "d.png")]
    given = ("attention", "--demo", "--no-latency", *files)
    first, second = (ran(*given, capsys=capsys) for _ in range(2))
    assert first[0] == 0, first[2]
    assert first[1] == second[1]
    for said in ("before", "after", "photographs", "Accuracy beside cost, 30 test images"):
        assert said in first[1]
    for name in ("plain", *demo.ATTENDING, *demo.TWINS):
        assert f"\n{name} " in first[1]
    with Image.open(tmp_path / "d.png") as image:
        assert image.height > 3000


@pytest.mark.slow
def test_what_was_trained_is_left_where_latencies_are_not():
    def interrupted(comparison):
        raise KeyboardInterrupt

    report = demo.demonstrate(TINY, Axes(), 0, interrupted, silent, lambda text: None)
    assert report.stopped
    [plain, *others] = report.rows
    assert plain["accuracy"] is not None
    assert {row["price_reason"] for row in others} == {"it was interrupted"}
    assert all(row["macs"] and row["latency_us"] is None for row in others)


def test_accuracy_stands_beside_its_interval():
    # exact: below 1 - 0.025**(1/10) = 0.308 none of 10 is no wonder
    cells = dict.fromkeys(("latency_us", "relative"), None)
    ends = {f"{name}{end}": None for name in cells for end in ("_lo", "_hi")}
    row = {**cells, **ends, **dict.fromkeys(("params_added", "macs_added", "verdict"), None)}
    for accuracy, interval in ((0.0, "0.0 to 30.8 %"), (1.0, "69.2 to 100.0 %")):
        told = words._trained_cells({**row, "network": "nl", "accuracy": accuracy, "tested": 10})
        assert told["95 % interval"] == interval
