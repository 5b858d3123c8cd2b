"""What runs in a forked copy of this process: its answer comes back, and nothing else of it."""

import os
import time

import pytest
import torch
from torch import nn

from gcbench.system.forked import ForkError, forked, is_known

kept = []


def test_an_answer_comes_back_and_what_was_kept_does_not():
    def keep():
        kept.append(torch.ones(2, device="meta"))
        return {"here": os.getpid(), "kept": len(kept), "long": "x" * 200_000}

    answer = forked(keep)
    assert answer["here"] != os.getpid()
    assert (answer["kept"], len(answer["long"]), kept) == (1, 200_000, [])


def test_what_it_raises_is_told_with_its_place():
    def fail():
        raise ValueError("not on paper")

    with pytest.raises(ForkError, match=r"ValueError: not on paper \(.*test_forked\.py"):
        forked(fail)


@pytest.mark.parametrize("end", [lambda: os._exit(3), lambda: time.sleep(60), lambda: os.abort()])
def test_a_copy_that_ends_or_hangs_is_told_and_nothing_of_it_is_left(end):
    started = time.monotonic()
    with pytest.raises(ForkError, match="ended or took too long"):
        forked(end, limit_s=1.0)
    assert time.monotonic() - started < 30
    # no child is left to be waited for
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_what_it_prints_goes_nowhere(capfd):
    def speak():
        print("loud")
        os.system("echo louder")

    forked(speak)
    assert capfd.readouterr() == ("", "")


def test_an_answer_that_cannot_be_sent_is_told():
    with pytest.raises(ForkError, match="pickle"):
        forked(lambda: lambda: None)


def test_products_on_the_cpu_do_not_wait_for_threads_that_were_not_copied():
    a = torch.ones(400, 400)
    assert float((a @ a).sum()) == forked(lambda: float((a @ a).sum()), limit_s=60.0)


def test_where_there_is_no_fork_that_is_told(monkeypatch):
    monkeypatch.delattr(os, "fork")
    with pytest.raises(ForkError, match="cannot copy a process"):
        forked(lambda: 1)


def test_a_module_is_known_where_all_of_its_classes_are():
    class Own(nn.Module):
        pass

    assert is_known(nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU()))
    assert not is_known(nn.Sequential(nn.Conv2d(1, 1, 1), Own()))
