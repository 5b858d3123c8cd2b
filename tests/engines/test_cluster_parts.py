"""What a sweep on a cluster is made of: nodes, cores, the files that travel, what rows then say."""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from commands import assert_refused, ran
from runs import GC, SE, comparison, manifest
from written import markdown as render

from gcbench import store
from gcbench.engines.device_lock import alone_on
from gcbench.engines.ray import connecting, cores, nodes, shipping
from gcbench.engines.ray.nodes import Installed, Node
from gcbench.errors import UsageError
from gcbench.measure.environment import lock_path
from gcbench.records import Run, identity
from gcbench.report.pivot import pivot
from gcbench.results import tables
from gcbench.system.process_tree import end_holding

BIG, SMALL, BARE = Node("1", "big", 32, 4), Node("2", "small", 4, 0), Node("3", "head", 0, 0)


# --- nodes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "device", "cpus", "lanes"),
    [
        (BIG, "cpu", None, 1),
        (BIG, "cpu", 5, 6),
        (SMALL, "cpu", 5, 0),
        (BARE, "cpu", None, 0),
        (BIG, "cuda", None, 4),
        (BIG, "cuda", 16, 2),
        (SMALL, "cuda", None, 0),
    ],
)
def test_a_node_measures_as_many_at_once_as_have_a_device_for_themselves(node, device, cpus, lanes):
    assert node.lanes(device, cpus) == lanes


def test_nodes_are_read_as_ray_lists_them_and_the_dead_are_left_out():
    listed = {
        "NodeID": "1",
        "Alive": True,
        "NodeManagerHostname": "big",
        "NodeManagerAddress": "10.0.0.1",
        "Resources": {"CPU": 32.0, "GPU": 4.0, "memory": 1e9},
    }
    nameless = {**listed, "NodeManagerHostname": "", "Resources": {}}
    found = nodes.alive([listed, {**listed, "Alive": False}, nameless])
    assert found == [BIG, Node("1", "10.0.0.1", 0, 0)]


@pytest.mark.parametrize(
    ("installed", "words"),
    [
        (Installed(None, "2.9.0"), "gcbench is not installed there"),
        (Installed("0.1.0", None), "torch is not installed there (pip install torch==2.9.0)"),
        (Installed("0.2.0", "2.9.0"), "it has gcbench 0.2.0, and this is 0.1.0"),
        (Installed("0.1.0", "2.8.0"), "it has torch 2.8.0, and the run 2.9.0+cpu"),
        (Installed("0.1.0", "2.9.0+cu128"), None),
    ],
)
def test_a_node_that_lacks_something_is_told_and_only_another_torch_can_be_allowed(
    installed, words
):
    wanted = manifest(gcbench_version="0.1.0", versions={"torch": "2.9.0+cpu"})
    why = nodes.unfit(installed, wanted, allow_mismatch=False)
    assert words in why if words else why is None
    allowed = nodes.unfit(installed, wanted, allow_mismatch=True)
    assert allowed == (None if why and "--allow-mismatch" in why else why)


@pytest.mark.parametrize(
    ("devices", "cpus", "words"),
    [
        (["cuda"], None, r"no node of the cluster \(2\) has a GPU and a CPU"),
        (["cpu"], 64, "--cpus-per-comparison 64: the largest of 2 nodes has 4 CPUs"),
        (["cuda:1"], None, "each comparison has a GPU for itself"),
    ],
)
def test_what_no_node_has_is_told_before_anything_starts(devices, cpus, words):
    with pytest.raises(UsageError, match=words):
        nodes.require_lanes([SMALL, BARE], devices, cpus)
    nodes.require_lanes([BIG, BARE], ["cpu", "cuda"], 8)


def test_the_device_is_the_accelerator_if_any_node_has_one():
    assert nodes.default_device([SMALL, BIG]) == "cuda"
    assert nodes.default_device([SMALL, BARE]) == "cpu"


# --- cores ---------------------------------------------------------------------------------------


# holds a core until its stdin ends, and says what it had
HOLDING = """
import os, sys
from gcbench.engines.ray.cores import own_cores
before = os.sched_getaffinity(0)
with own_cores(1, wait=False, tell=print) as alone:
    print(alone, *os.sched_getaffinity(0), flush=True)
    sys.stdin.read()
print(os.sched_getaffinity(0) == before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone keeps a process to cores")
def test_lanes_have_cores_of_their_own_and_keep_a_gcbench_of_the_whole_machine_out(monkeypatch):
    usable = sorted(os.sched_getaffinity(0))[:2]
    if len(usable) < 2:
        pytest.skip("needs two cores")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, usable)
    words = []
    try:
        command = [sys.executable, "-c", HOLDING]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            alone, theirs = other.stdout.readline().split()
            assert alone == "True"
            with cores.own_cores(1, wait=False, tell=words.append) as mine_alone:
                assert mine_alone
                assert os.sched_getaffinity(0) == set(usable) - {int(theirs)}
            assert words == []
            # neither all cores nor the whole CPU can be had meanwhile
            with cores.own_cores(2, wait=False, tell=words.append) as both:
                assert not both
            with alone_on("cpu", wait=False, tell=words.append) as whole:
                assert not whole
            assert len(words) == 2
            assert other.communicate("")[0] == "True\n"
        with alone_on("cpu", wait=False, tell=words.append) as whole:
            assert whole
            # and the other way round
            with cores.own_cores(1, wait=False, tell=words.append) as mine_alone:
                assert not mine_alone
        assert len(words) == 3
    finally:
        os.sched_setaffinity(0, before)


def test_a_lane_that_ends_frees_its_cores():
    with cores.own_cores(1, wait=False, tell=pytest.fail) as alone:
        assert alone
    with lock_path("cpu").open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_lock_that_cannot_be_had_is_told_and_the_core_left_to_others(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    usable = sorted(os.sched_getaffinity(0))
    # no link is followed: somebody else may have left it
    lock_path(f"cpu-core-{usable[0]}").symlink_to("nowhere")
    words = []
    with cores.own_cores(1, wait=False, tell=words.append) as alone:
        assert alone == (len(usable) > 1)
        assert usable[0] not in os.sched_getaffinity(0) or not alone
    assert len(words) == 1
    lock_path("cpu").unlink()
    lock_path("cpu").symlink_to("nowhere")
    with cores.own_cores(1, wait=False, tell=words.append) as alone:
        assert alone == (len(usable) > 1)
    assert all("another gcbench might measure beside this one" in line for line in words)
    assert len(words) == 3
    with cores.own_cores(len(usable), wait=True, tell=words.append) as alone:
        assert not alone


def test_a_pipe_in_place_of_a_lock_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / f"gcbench-cpu-core-{min(os.sched_getaffinity(0))}.lock")
    asks = "from gcbench.engines.ray.cores import own_cores\n"
    asks += "with own_cores(1, wait=False, tell=print) as alone: print(alone)"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", asks]
    assert subprocess.check_output(command, env=environment, timeout=30, text=True) == "True\n"


def test_a_lane_has_its_cores_before_torch_counts_them():
    asks = "import sys; import gcbench.engines.ray.lanes, gcbench.engines.ray.cores; "
    asks += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# --- what travels --------------------------------------------------------------------------------


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for path, text in {
        "travelling.py": "1 / 0\nimport torch\nimport near_by\nclass Mine: ...\n",
        "near_by.py": "def late():\n    import later_on\n",
        "later_on.py": "",
        "unrelated.py": "",
        "packed_up/__init__.py": "from packed_up.inner import Mine\n",
        "packed_up/inner.py": "import near_by\nclass Mine: ...\n",
        "packed_up/settings.yaml": "a: 1",
        "packed_up/.git/objects": "x",
        "packed_up/__pycache__/x.pyc": "x",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "packed_up" / "weights.bin").write_bytes(bytes(shipping.LARGEST_FILE + 1))
    (tmp_path / "gigabytes.bin").write_bytes(b"much")
    return tmp_path


def shipped(folder, *blocks):
    folder.mkdir()
    shipping.ship(blocks, folder)
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_only_the_files_that_blocks_need_travel_and_none_is_run(work):
    module = ["later_on.py", "near_by.py", "travelling.py"]
    assert shipped(work / "a", "gc:ratio=8", "travelling:Mine:width=3") == module
    package = ["packed_up/__init__.py", "packed_up/inner.py", "packed_up/settings.yaml"]
    assert shipped(work / "b", "packed_up.inner:Mine") == [*module[:2], *package]


def test_what_is_installed_or_ours_does_not_travel(work):
    assert shipped(work / "a", "gc", "torch.nn:Identity", "gcbench.blocks.gc:GlobalContext") == []


def test_too_much_is_one_clear_line(work, monkeypatch):
    monkeypatch.setattr(shipping, "LARGEST", 10)
    with pytest.raises(UsageError, match=r"near_by\.py, travelling\.py are .* more than the 10 B"):
        shipped(work / "a", "travelling:Mine")


# --- what rows say -------------------------------------------------------------------------------


def on(record, node, device="A", kind=None, place=0):
    there = manifest(node=node, devices={"cpu": device}, threads=7, run="")
    return replace(record, machine=there, kind=kind, place=place)


def test_rows_name_the_machine_that_measured_them_and_else_the_runs_own():
    here = manifest(node="laptop")
    record = comparison(GC, SE)
    run = Run(here, (record, on(comparison(GC, SE, size=(14, 14)), "far", "CPU of far")))
    near, _, far, _ = tables.rows(run)
    assert (near["node"], near["device_name"]) == ("laptop", here.device_name("cpu"))
    assert (far["node"], far["device_name"], far["threads"]) == ("far", "CPU of far", 7)
    assert near["run"] == far["run"] == "made"
    headings = "".join(render(tables.rows(run), here))
    assert headings.count("node far") == 1
    assert "node laptop" not in headings


def test_a_case_of_each_kind_of_device_is_a_row_of_its_own_also_when_read_back(tmp_path):
    one, two = (on(comparison(GC, SE), f"node {kind}", kind, kind) for kind in ("old", "new"))
    run = Run(manifest(), (one, two))
    store.save(run, tmp_path / "run")
    stored = store.open_run(tmp_path / "run", pytest.fail)
    for rows in (list(tables.rows(run)), list(tables.rows(stored))):
        assert [row["device_name"] for row in rows] == ["old", "old", "new", "new"]
    keys = [m.case.key for m in one.measurements]
    assert store.statuses(tmp_path / "run") == {
        identity(key, kind): "ok" for kind in ("old", "new") for key in keys
    }


def test_rows_stand_in_the_order_of_the_grid_in_whatever_order_they_came(tmp_path):
    sizes = [28, 7, 14]
    came = [
        on(comparison(GC, SE, size=(side, side)), "n", place=place)
        for side, place in zip(sizes, (2, 0, 1), strict=True)
    ]
    store.save(Run(manifest(), tuple(came)), tmp_path / "run")
    rows = list(tables.rows(store.open_run(tmp_path / "run", pytest.fail)))
    assert [row["height"] for row in rows] == [7, 7, 14, 14, 28, 28]
    assert [row["comparison"] for row in rows] == [1, 1, 2, 2, 3, 3]


def test_a_pivot_never_mixes_nodes(tmp_path):
    records = (
        on(comparison(GC, SE, size=(7, 7)), "one"),
        on(comparison(GC, SE, size=(14, 14)), "two"),
    )
    rows = list(tables.rows(Run(manifest(), records)))
    assert pivot(rows).row_names == ("size", "node")
    across = pivot(rows, across="size")
    assert across.row_names == ("block", "node")
    # a line has the values of one node alone
    assert all(sum(cell.value is None for cell in cells) == 1 for _, cells in across.lines)
    assert pivot(rows[:2]).row_names == ("size",)


def test_two_devices_of_one_node_are_told_apart_by_their_names():
    records = tuple(on(comparison(GC, SE), "one", name, name) for name in ("old", "new"))
    rows = list(tables.rows(Run(manifest(), records)))
    made = pivot(rows)
    assert made.row_names == ("device_name",)
    assert [labels for labels, _ in made.lines] == [("old",), ("new",)]


# --- the command ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--ray-address", "auto"], "--ray-address goes with --engine ray"),
        (["--per-device"], "--per-device goes with --engine ray"),
        (["--cpus-per-comparison", "2"], "--cpus-per-comparison goes with --engine ray"),
        (["--engine", "ray", "--cpus-per-comparison", "0"], "--cpus-per-comparison takes a whole"),
        (["--allow-mismatch"], "--allow-mismatch go"),
        (["--engine", "ray", "--ray-address", "x"], "--ray-address takes HOST:PORT"),
    ],
)
def test_bad_input_is_one_clear_line(arguments, words, work, capsys):
    code, out, err = ran("sweep", "gc", *arguments, capsys=capsys)
    err = err.replace("gcbench: joining Ray", "gcbench: loading torch, and joining Ray")
    assert_refused((code, out, err), words)


def test_without_ray_the_line_says_what_installs_it(work, capsys, monkeypatch):
    monkeypatch.setattr(connecting.importlib.util, "find_spec", lambda name: None)
    outcome = ran("sweep", "gc", "--engine", "ray", capsys=capsys)
    assert_refused(outcome, "--engine ray needs Ray", "pip install 'ray[default]'")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_what_holds_a_folder_is_ended_though_it_carries_no_mark(tmp_path):
    held, other = tmp_path / "held", tmp_path / "held-not"
    for folder in (held, other):
        folder.mkdir()
    waits = "import sys; file = open(sys.argv[1], 'w'); print(flush=True); sys.stdin.read()"
    one, two = (
        subprocess.Popen(
            [sys.executable, "-S", "-c", waits, str(folder / "log")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for folder in (held, other)
    )
    with one, two:
        for process in (one, two):
            process.stdout.readline()
        assert end_holding(held)
        assert one.wait(20) == -signal.SIGKILL
        assert two.poll() is None
        two.stdin.close()
        assert two.wait(20) == 0


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_who_asks_for_that_and_its_parent_are_spared(tmp_path):
    asks = "import pathlib, sys; from gcbench.system.process_tree import end_holding; "
    asks += "print(end_holding(pathlib.Path(sys.argv[1])))"
    with (tmp_path / "log").open("w"):
        done = subprocess.run(
            [sys.executable, "-c", asks, str(tmp_path)], capture_output=True, text=True, check=True
        )
    assert done.stdout == "True\n"
