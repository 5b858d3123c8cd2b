"""Sweeps over a real Ray cluster: two nodes on this machine, each with one CPU."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import assert_refused, ran, rows
from harmful import MODULES, alive, gone

pytestmark = pytest.mark.slow
ray = pytest.importorskip("ray")

ONE_CPU = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
BRIEF = ["-C", "16", "--threads", "1", "--precision", "50%", "--max-time", "200ms"]
# lanes start slowly on a machine that others use too
MOST_S = 600.0
ON = ["--engine", "ray", "--cpus-per-comparison", "1"]

# ends what its worker answers to, as a machine without memory may: the lane
PARRICIDE = """
class Parricide(Real):
    def harm(self):
        import signal
        # the lane stands behind the guard of its worker
        guard = Path(f"/proc/{os.getppid()}/stat").read_text()
        os.kill(int(guard.rpartition(")")[2].split()[1]), signal.SIGKILL)
        time.sleep(60)
"""


class Nodes:
    """A cluster whose head measures nothing, and the nodes that do."""

    def __init__(self, folder):
        from ray.cluster_utils import Cluster

        head = {**ONE_CPU, "num_cpus": 0, "include_dashboard": False, "temp_dir": str(folder)}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.nodes = []

    @property
    def on(self):
        """The options that have a sweep measured here."""
        return [*ON, "--ray-address", self.cluster.address]

    def grow(self, number):
        """Have so many nodes."""
        while len(self.nodes) < number:
            self.nodes.append(self.cluster.add_node(**ONE_CPU))

    def lose(self):
        """Have the oldest node die."""
        self.cluster.remove_node(self.nodes.pop(0), allow_graceful=False)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    # nothing of nodes lies where the tests' own modules do, and their ceilings are measured once
    before = Path.cwd(), os.environ.get("XDG_CACHE_HOME")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    os.chdir(elsewhere)
    os.environ["XDG_CACHE_HOME"] = str(elsewhere)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # sockets below a longer path would have no name
    folder = Path(tempfile.mkdtemp(prefix="gcb-", dir="/tmp"))
    # where the address of a cluster of this machine is kept
    (Path(tempfile.gettempdir()) / "ray").mkdir()
    found = Nodes(folder)
    os.chdir(before[0])
    yield found
    found.cluster.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
    if before[1] is not None:
        os.environ["XDG_CACHE_HOME"] = before[1]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "harmful_blocks.py").write_text(MODULES + PARRICIDE)
    return tmp_path


@contextmanager
def swept(*arguments):
    command = [sys.executable, "-m", "gcbench", "sweep", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process


def lines(run):
    return len(Path(run).read_text().splitlines()) if Path(run).exists() else 0


def measured_on(run):
    """The nodes that measured something of a run that is being written."""
    found = (
        json.loads(line) for line in Path(run).read_text().splitlines(True)[1:] if line[-1:] == "\n"
    )
    return {record["machine"]["node"] for record in found}


def waited(until, within_s=MOST_S):
    deadline = time.monotonic() + within_s
    while not until() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert until()


STATIC = ("params", "macs", "flops", "min_bytes", "spec", "baseline", "ratio", "seed", "threads")


def test_a_node_comes_and_another_dies_and_every_case_is_there_once(nodes, folder, capsys):
    nodes.grow(1)
    grid = ["gc", "se", "nl", "-s", "6:65:1", *BRIEF]
    with swept(*grid, *nodes.on, "--csv", "r.csv", "-o", "run") as process:
        waited(lambda: lines("run") > 4)
        nodes.grow(2)
        waited(lambda: len(measured_on("run")) == 2)
        nodes.lose()
        out, err = process.communicate(timeout=MOST_S)
    assert process.returncode == 0, err
    assert "raylet" not in out + err
    # (that a node is gone is told only where Ray sees it before the last comparison is done)
    found = rows("r.csv")
    assert len({row["key"] for row in found}) == len(found) == 3 * 60
    assert {row["status"] for row in found} == {"ok"}
    # the one that was lost, and the one that came
    assert len({row["node"] for row in found}) == 2
    # no comparison spans two
    assert all(
        len({row["node"] for row in found if row["comparison"] == each}) == 1
        for each in {row["comparison"] for row in found}
    )
    assert ran("sweep", *grid, "--static", "--csv", "here.csv", capsys=capsys)[0] == 0
    here = {row["key"]: row for row in rows("here.csv")}
    for row in found:
        assert {name: row[name] for name in STATIC} == {
            name: here[row["key"]][name] for name in STATIC
        }


def test_harmful_blocks_are_the_same_rows_as_on_one_machine(nodes, folder):
    nodes.grow(2)
    # a comparison whose lane is lost begins again: who loses it comes first
    names = ("Parricide", "Segfaults", "Exits", "Loops", "Hoards", "Raises")
    bad = [f"harmful_blocks:{name}" for name in names]
    guards = ["--timeout", "6s", "--max-time", "300ms", "--csv", "r.csv", "-o", "run"]
    with swept("gc", *bad, "se", "-s", "7", *nodes.on, "-C", "16", *guards) as process:
        out, err = process.communicate(timeout=MOST_S)
    assert process.returncode == 3, err
    assert "Traceback" not in out + err
    assert Path("r.csv").exists(), err
    found = rows("r.csv")
    assert len({row["key"] for row in found}) == len(found) == 8
    of = {row["block"].rpartition(":")[2]: row for row in found}
    assert {name: row["status"] for name, row in of.items()} == {
        "gc": "ok",
        "Parricide": "crashed",
        "Segfaults": "crashed",
        "Exits": "crashed",
        "Loops": "timeout",
        "Hoards": "oom",
        "Raises": "error",
        "se": "ok",
    }
    assert of["Segfaults"]["reason"] == "its process ended with signal 11 (SIGSEGV)"
    assert "harmful_blocks.py:" in of["Raises"]["reason"]
    assert "were lost with it, the last time when it was tried" in of["Parricide"]["reason"]
    assert float(of["se"]["relative"]) > 0


def test_bad_addresses_and_wishes_are_one_clear_line(nodes, folder, capsys):
    nodes.grow(1)
    at = ["sweep", "gc", *BRIEF, "--engine", "ray"]
    for more, words in (
        (["--ray-address", "127.0.0.1:1"], ["no Ray cluster answers there within 5 s"]),
        (["--ray-address", "nonsense"], ["--ray-address takes HOST:PORT", "'nonsense'"]),
        ([*nodes.on[2:], "--device", "cuda"], ["--device cuda: no node", "has a GPU"]),
        (
            [*nodes.on[4:], "--cpus-per-comparison", "64"],
            ["--cpus-per-comparison 64", "has 1 CPUs"],
        ),
    ):
        code, out, err = ran(*at, *more, capsys=capsys)
        err = err.replace("gcbench: joining Ray at", "gcbench: loading torch, and joining Ray at")
        assert_refused((code, out, err), *words)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_local_ray_ends_with_its_sweep_however_that_ends(folder, how):
    mark = f"GCBENCH_TEST={folder}"
    with subprocess.Popen(
        [sys.executable, "-m", "gcbench", "sweep", "gc", "-s", "6:99:1", *BRIEF, *ON, "-o", "run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "GCBENCH_TEST": str(folder)},
    ) as process:
        waited(lambda: lines("run") > 2)
        process.send_signal(how)
        out, err = process.communicate(timeout=MOST_S)
    assert out == ""
    assert "Traceback" not in err
    if how != signal.SIGKILL:
        assert process.returncode == 130
        assert "go on with: gcbench sweep --resume run" in err.splitlines()[-1]
    left = marked(mark.encode())
    told = {pid: shown(pid) for pid in left}
    assert gone(left), {pid: (what, shown(pid)) for pid, what in told.items()}


def shown(pid):
    """What a process is, for who has to find out why it is left."""
    try:
        place = Path("/proc") / pid
        line = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return line[:200], (place / "stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return "gone"


def marked(variable):
    """Processes that inherited a variable."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if variable in (place / "environ").read_bytes().split(b"\0") and alive(place.name):
                found.append(place.name)
        except OSError:
            continue
    return found
