"""gcbench's blocks are those of other libraries: the same weights give the same outputs."""

import re
import sys
from dataclasses import replace
from importlib.metadata import version

import pytest

from gcbench.blocks import BLOCKS, equality
from gcbench.cli.app import main

pytestmark = pytest.mark.usefixtures("single_thread")


def compared(peer):
    pytest.importorskip(re.split("[/.:]", peer.theirs)[0], exc_type=ImportError)
    return equality.compared(peer)


@pytest.mark.parametrize("peer", equality.PEERS, ids=lambda peer: f"{peer.ours} {peer.theirs}")
def test_the_same_weights_give_the_same_outputs_but_for_rounding(peer):
    found = compared(peer)
    assert found.largest > 0.1
    assert found.equal, found


@pytest.mark.parametrize("one", equality.LOOPS, ids=lambda one: f"{one.ours} {one.theirs}")
def test_the_same_weights_give_what_the_loop_gives_but_for_rounding(one):
    found = equality.looped(one)
    assert found.largest > 0.1
    assert found.equal, found


def test_a_loop_of_another_block_is_not_what_a_block_computes():
    snl = next(one for one in equality.LOOPS if one.ours == "a2")
    with_shares_swapped = replace(
        snl, loop=lambda x, weights, options: snl.loop(x, weights, {"residual": False})
    )
    assert not equality.looped(with_shares_swapped).equal


@pytest.mark.parametrize("defect", equality.DEFECTS, ids=lambda defect: defect.library)
def test_a_defect_is_there_in_the_version_in_which_it_was_found(defect):
    pytest.importorskip(defect.library.partition("/")[0], exc_type=ImportError)
    if version(defect.package) == defect.version:
        assert defect.seen()
        assert defect.here == f"{defect.version} here: the same"


def test_a_defect_of_a_package_that_is_missing_is_not_looked_for():
    defect = replace(equality.DEFECTS[0], package="no-such-package", seen=None)
    assert defect.here == "not installed here"


@pytest.mark.parametrize(
    "peer",
    [p for p in equality.PEERS if p.set_equal.startswith(("LayerNorm", "logits"))],
    ids=lambda peer: peer.theirs,
)
def test_what_is_set_equal_made_a_difference(peer):
    unset = replace(peer, prepare=lambda module: None, convert=lambda state: state)
    assert not compared(unset).equal


def test_every_block_has_a_peer_or_a_loop():
    named = {pair.ours.partition(":")[0] for pair in (*equality.PEERS, *equality.LOOPS)}
    assert {entry.name for entry in BLOCKS} <= named


def ran(*arguments, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["blocks", *arguments])
    out, err = capsys.readouterr()
    return exit_info.value.code, out, err


def test_the_command_tells_differences_and_what_has_no_equal(capsys):
    code, out, _ = ran("--verify", capsys=capsys)
    assert code == 0
    for peer in equality.PEERS:
        [line] = [line for line in out.splitlines() if line.split()[:2] == [peer.ours, peer.theirs]]
        assert peer.set_equal in line or "not compared" in line
    for name in equality.NO_EQUAL:
        assert f"no counterpart: {name}" in out
    for defect in equality.DEFECTS:
        assert f"defect of {defect.library} {defect.version}: {defect.words} (" in out


def test_a_missing_library_is_told_in_its_row_and_the_others_are_compared(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mmcv", None)
    code, out, _ = ran("--verify", capsys=capsys)
    assert code == 0
    assert "not compared: blocks mmcv/...: mmcv is not installed: pip install" in out
    lines = [line for line in out.splitlines() if "torchvision/" in line]
    assert lines
    assert not any("not compared" in line for line in lines)


def test_a_block_that_differs_is_exit_code_5(monkeypatch, capsys):
    monkeypatch.setattr(equality, "ROUNDING", -1.0)
    code, out, _ = ran("--verify", capsys=capsys)
    assert code == 5
    assert "DIFFERS" in out


def test_verifying_one_block_is_refused(capsys):
    code, out, err = ran("gc", "--verify", capsys=capsys)
    assert (code, out) == (2, "")
    assert "--verify compares every block" in err
