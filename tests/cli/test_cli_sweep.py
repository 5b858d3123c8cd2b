"""`gcbench sweep`: what a person meets, and what is left when it is ended."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import assert_refused, ran, rows
from harmful import MODULES, alive, gone
from moments import asked, at
from runs import manifest

from gcbench import store
from gcbench.cli import faults, sweeping
from gcbench.engines.inline import Inline
from gcbench.engines.jobs import call_here
from gcbench.engines.ray import connecting, sessions
from gcbench.errors import UsageError

SMALL = ["-C", "16", "-s", "6,5x7", "-r", "2,4", "--precision", "50%", "--max-time", "200ms"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "harmful_blocks.py").write_text(MODULES)
    return tmp_path


def swept(*arguments, **more):
    """A sweep in a process of its own, in this folder."""
    command = [sys.executable, "-m", "gcbench", "sweep", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gcc"], ["unknown block 'gcc'", "did you mean 'gc'"]),
        (["gc:"], ["block 'gc:'"]),
        (["--size", "14,,28"], ["--size: nothing stands between two commas of '14,,28'"]),
        (["--size", "56:14"], ["--size: the range '56:14' counts up"]),
        (["--channels", "1:99999"], ["--channels: '1:99999' is 99,999 values"]),
        (["--shape", "1x2x3"], ["--shape takes a shape BxCxHxW"]),
        (["--shape", "1x2x3x4", "--size", "3"], ["--size and --shape both"]),
        (["--stages", "vgg"], ["--stages 'vgg' is unknown"]),
        (["--dtype", "float32,float13"], ["--dtype 'float13' is unknown"]),
        (["--where", "chanels > 3"], ["--where: 'chanels'", "did you mean 'channels'"]),
        (["--where", "channels"], ["is no condition"]),
        (["--pair", "dtype", "--dtype", "float16,float32"], ["name them in the pair"]),
        (["gc", "--baseline", "se"], ["--baseline 'se' is not among the blocks"]),
        (["--engine", "rya"], ["--engine 'rya' is unknown", "did you mean 'ray'"]),
        (["--on-oom", "cry"], ["--on-oom 'cry' is unknown", "skip-larger"]),
        (["--memory-limit", "much"], ["--memory-limit takes a size"]),
        (["--timeout", "0"], ["--timeout takes a time above zero"]),
        (["--budget", "soon"], ["--budget takes a time"]),
        (["--device", "cuda:99"], ["--device cuda:99: this machine has"]),
        (["--device", "cpu,cuda:99"], ["--device cuda:99: this machine has"]),
        (["--file", "none.toml"], ["--file none.toml: cannot read it"]),
        (["--file", "bad.toml"], ["bad.toml: axes.size[1] takes"]),
        (["--file", "/dev/zero"], ["--file /dev/zero is no sweep"]),
        (["-o", "a" * 300], ["--output", "cannot write there"]),
        (["-o", "new", "--csv", "new"], ["the run and --csv name the same file"]),
        (["--csv", "new", "--dump-file", "new"], ["--csv and --dump-file name the same file"]),
        (["--device", "cpu:3"], ["--device takes cpu, cuda or cuda:INDEX, not 'cpu:3'"]),
        (["--threads", "1,9999"], ["--threads takes a whole number from 1 to 1024"]),
        (["--quick", "--rigorous"], ["--quick and --rigorous"]),
        (["--retry", "oom"], ["--retry and --allow-mismatch go with --resume"]),
        (["--retry", "ok", "--resume", "x"], ["--retry 'ok' is unknown"]),
        (["gc", "--resume", "x"], ["leave out BLOCK"]),
        (["-o", "y", "--size", "3", "--resume", "x"], ["leave out --size and --output"]),
        (["--resume", "none.jsonl"], ["none.jsonl"]),
        (["--resume", "bad.toml"], ["bad.toml"]),
        (["--resume", "."], ["."]),
        (["--csv", "/no/such/folder/x"], ["--csv", "there is no folder"]),
        (["-o", "/no/such/folder/x"], ["--output", "there is no folder /no/such/folder"]),
        (["-o", "."], ["--output .: that is a folder"]),
        (["--where", "height > 99"], ["--where leaves no case of the grid"]),
        (
            ["se", "gc", "--baseline", "gc", "--where", "block == 'se'"],
            ["leaves out the --baseline"],
        ),
        (["-o", "bad.toml"], ["bad.toml is there already", "--resume bad.toml"]),
        (["--batch", "1:9999", "--channels", "1:9999"], ["more than the 1,000,000"]),
    ],
)
def test_bad_input_is_one_clear_line(arguments, words, folder, capsys):
    (folder / "bad.toml").write_text("[axes]\nsize = [7, 'x']\n")
    assert_refused(ran("sweep", *arguments, capsys=capsys), *words)
    assert sorted(path.name for path in folder.iterdir()) == ["bad.toml", "harmful_blocks.py"]


def test_a_run_is_never_replaced_by_its_csv_whatever_it_is_called(folder, capsys):
    assert ran("sweep", "gc", *SMALL, "--static", "-o", "run", capsys=capsys)[0] == 0
    before = Path("run").read_bytes()
    Path("soft").symlink_to("run")
    Path("hard").hardlink_to("run")
    for name in ("run", "./run", "soft", "hard"):
        outcome = ran("sweep", "--resume", "run", "--csv", name, capsys=capsys)
        assert_refused(outcome, "the run and --csv name the same file")
    assert Path("run").read_bytes() == before


def test_links_that_go_round_are_one_clear_line(folder, capsys):
    Path("loop").symlink_to("loop")
    for option in ("-o", "--csv"):
        outcome = ran("sweep", "gc", *SMALL, "--static", option, "loop", capsys=capsys)
        assert_refused(outcome, "loop: cannot write there")
    assert_refused(ran("report", "loop", capsys=capsys), "loop")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise BaseException('base')", "BaseException: base"),
        ("class E(Exception):\n    def __str__(self): raise SystemError('s')\nraise E", "E"),
        ("def __getattr__(name): raise ZeroDivisionError(name)", "ZeroDivisionError: X"),
    ],
)
def test_a_module_that_breaks_in_odd_ways_is_refused(source, words, folder, capsys, monkeypatch):
    (folder / "odd.py").write_text(source)
    monkeypatch.delitem(sys.modules, "odd", raising=False)
    assert_refused(ran("sweep", "odd:X", *SMALL, capsys=capsys), "cannot import 'odd'", words)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import os\nos._exit(3)", "to import it ended its process with exit code 3"),
        ("import time\ntime.sleep(600)", "to import it took more than 4 s (--timeout)"),
        ("raise KeyboardInterrupt", "importing it broke off with KeyboardInterrupt (odd.py:1)"),
    ],
)
def test_a_module_that_ends_or_holds_its_process_ends_only_that(source, words, folder, capsys):
    (folder / "odd.py").write_text(source)
    outcome = ran("sweep", "gc", "odd:X", *SMALL, "--timeout", "4s", capsys=capsys)
    assert_refused(outcome, f"block 'odd:X': {words}")
    assert "odd" not in sys.modules
    assert not children_of(str(folder))


def test_a_dry_run_measures_nothing_and_leaves_nothing(folder, capsys):
    code, out, _ = ran("sweep", *SMALL, "--dry-run", capsys=capsys)
    assert code == 0
    assert "comparisons  2" in out
    assert "cases        12" in out
    assert sorted(path.name for path in folder.iterdir()) == ["harmful_blocks.py"]


def test_a_dumped_file_asks_for_the_same_sweep(folder, capsys):
    assert ran("sweep", "gc", *SMALL, "--dump-file", "s.toml", capsys=capsys)[0] == 0
    assert 'size = [\n    6,\n    "5x7",\n]' in (folder / "s.toml").read_text()
    _, first, _ = ran("sweep", "--file", "s.toml", "--dry-run", capsys=capsys)
    _, second, _ = ran("sweep", "gc", *SMALL, "--dry-run", capsys=capsys)
    assert first == second
    assert (
        "comparisons  1\n"
        in ran("sweep", "--file", "s.toml", "-s", "6", "--dry-run", capsys=capsys)[1]
    )


def test_a_static_sweep_counts_and_times_nothing(folder, capsys):
    code, out, err = ran("sweep", "--static", "-s", "7,1024", "--csv", "r.csv", capsys=capsys)
    assert code == 0
    assert out
    found = rows("r.csv")
    assert [row["status"] for row in found] == ["ok"] * 8
    assert {row["macs_counter"] for row in found} == {"formula"}
    assert {row["latency_us"] for row in found} == {""}
    assert int(found[-1]["peak_memory_bytes"]) > 2**42
    assert "8 cases in 2 comparisons" in err


@pytest.mark.slow
def test_a_sweep_leaves_a_run_a_csv_and_a_table(folder, capsys):
    code, out, err = ran(
        "sweep", "gc", "se", "nl", *SMALL, "--csv", "r.csv", "-o", "run", capsys=capsys
    )
    assert code == 0
    found = rows("r.csv")
    assert len(found) == 2 * 5
    assert len({row["key"] for row in found}) == 10
    assert {row["status"] for row in found} == {"ok"}
    assert all(float(row["latency_us"]) > 0 for row in found)
    assert "5x7" in err
    assert "2 of 2" in err
    assert out
    again, _, err = ran("sweep", "--resume", "run", capsys=capsys)
    assert again == 0
    assert "0 cases in 0 comparisons" in err


@pytest.mark.slow
def test_ray_is_wanted_only_where_something_is_due(folder, capsys, monkeypatch):
    def wanted():
        raise UsageError("Ray is wanted")

    monkeypatch.setattr(connecting, "require_ray", wanted)
    small = ["se", "-C", "16", "-s", "6", "-r", "4,32", "--max-time", "50ms", "-o", "run"]
    assert ran("sweep", *small, "--engine", "inline", capsys=capsys)[0] == 3
    # as if it had been begun on a cluster, asked from another machine
    text = Path("run").read_text()
    text = text.replace(f'"node":"{os.uname().nodename}"', '"node":"elsewhere"')
    Path("run").write_text(text.replace('engine = \\"inline', 'engine = \\"ray'))
    code, _, err = ran("sweep", "--resume", "run", capsys=capsys)
    assert (code, "0 cases in 0 comparisons" in err) == (3, True)
    assert ran("sweep", "--resume", "run", "--dry-run", capsys=capsys)[0] == 0
    retried = ran("sweep", "--resume", "run", "--retry", "skipped", capsys=capsys)
    assert_refused(retried, "Ray is wanted")
    each = Path("run").read_text().replace("[engine]", "[engine]\\nper_device = true")
    Path("run").write_text(each.replace('"kind":null', '"kind":"this kind"'))
    assert_refused(ran("sweep", "--resume", "run", capsys=capsys), "Ray is wanted")


def test_a_sweep_that_lost_its_last_node_names_the_run_to_go_on_with(folder, monkeypatch, capsys):
    def measure(*about, **more):
        raise sessions.NoLaneError("no node is left")

    monkeypatch.setattr(sessions, "measure", measure)
    run = sweeping.new_run()
    place = at(asked(engine="ray"))
    cluster = sessions.Cluster(place, ())
    context = sweeping.SweepContext(place, Inline(), call_here, {}, (), cluster)
    how = sweeping.ResumeOptions((), False, True, False, None, None)
    with (
        store.create(run, manifest()) as kept,
        pytest.raises(sessions.NoLaneError) as raised,
        sweeping.begun(run, how),
    ):
        sweeping.measure_into(kept, context, run, how)
    assert faults.report_error(raised.value) == sessions.NoLaneError.exit_code
    [*_, last] = capsys.readouterr().err.splitlines()
    assert last == (
        "gcbench: no node is left: what was measured is kept; "
        f"go on with: gcbench sweep --resume {run}"
    )


@pytest.mark.slow
def test_a_budget_begins_anew_where_a_sweep_goes_on_and_says_so(folder, capsys):
    tight = ["se", *SMALL[:4], "--engine", "inline", "--budget", "1ms", "-o", "run"]
    assert "anew" not in ran("sweep", *tight, capsys=capsys)[2]
    assert list(store.statuses(Path("run")).values()) == ["ok", "skipped"]
    again = ("--resume", "run", "--retry", "skipped", "--budget", "1m")
    code, _, err = ran("sweep", *again, capsys=capsys)
    assert code == 0
    assert "--budget 1 min begins anew" in err
    assert "anew" not in ran("sweep", "--resume", "run", capsys=capsys)[2]


@pytest.mark.slow
def test_what_ran_out_of_memory_is_remembered_when_a_sweep_goes_on(folder, capsys):
    ended = ["nl", "-C", "16", "-s", "56,64,7", "--max-time", "100ms", "--memory-limit", "32MiB"]
    assert ran("sweep", *ended, "--on-oom", "stop", "-o", "run", capsys=capsys)[0] == 4
    first = Path("run").read_bytes()

    def after(*more):
        Path("run").write_bytes(first)
        going_on = ("--resume", "run", "--on-oom", "skip-larger", "--csv", "r.csv")
        ran("sweep", *going_on, *more, capsys=capsys)
        return [row["status"] for row in rows("r.csv")]

    assert after() == ["oom", "skipped", "ok"]
    assert "nl ran out of memory at" in rows("r.csv")[1]["reason"]
    assert after("--memory-limit", "2GiB") == ["oom", "ok", "ok"]
    assert after("--memory-limit", "2GiB", "--retry", "oom") == ["ok", "ok", "ok"]
    # tried again, and it ran out again: then larger ones are left out as ever
    assert after("--retry", "oom") == ["oom", "skipped", "ok"]


@pytest.mark.slow
def test_what_failed_is_tried_again_beside_its_baseline_and_no_row_is_there_twice(folder, capsys):
    (folder / "mended_blocks.py").write_text(
        "from pathlib import Path\nfrom torch import nn\n"
        "class Mended(nn.Module):\n"
        "    def __init__(self, channels):\n        super().__init__()\n"
        "    def forward(self, x):\n"
        "        if x.device.type != 'meta' and not Path('mended').exists():\n"
        "            raise RuntimeError('not yet')\n"
        "        return x + 1\n"
    )
    blocks = ["se", "mended_blocks:Mended", "gc"]
    assert ran("sweep", *blocks, *SMALL[:4], *SMALL[6:], "-o", "run", capsys=capsys)[0] == 3
    (folder / "mended").touch()
    # without being asked, nothing is tried again
    code, _, err = ran("sweep", "--resume", "run", capsys=capsys)
    assert code == 3
    assert "0 cases in 0 comparisons" in err
    again = ("sweep", "--resume", "run", "--retry", "error,oom", "--csv", "r.csv")
    code, _, err = ran(*again, capsys=capsys)
    assert code == 0
    assert "4 cases in 2 comparisons" in err
    found = rows("r.csv")
    assert [row["block"] for row in found] == [*blocks, *blocks]
    assert {row["status"] for row in found} == {"ok"}
    assert len({row["key"] for row in found}) == 6
    # all of it was left to other processes
    assert "mended_blocks" not in sys.modules


@pytest.mark.slow
def test_harmful_blocks_are_rows_and_exit_code_3_and_no_process_is_left(folder):
    bad = [f"harmful_blocks:{name}" for name in ("Segfaults", "Exits", "Loops", "Hoards", "Raises")]
    arguments = [
        "gc",
        *bad,
        "se",
        "-s",
        "7",
        "--timeout",
        "8s",
        "--max-time",
        "300ms",
        "--csv",
        "r.csv",
    ]
    with swept(*arguments, start_new_session=True) as process:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 3
    assert "Traceback" not in err
    found = {row["block"].rpartition(":")[2]: row for row in rows("r.csv")}
    assert {name: row["status"] for name, row in found.items()} == {
        "gc": "ok",
        "Segfaults": "crashed",
        "Exits": "crashed",
        "Loops": "timeout",
        "Hoards": "oom",
        "Raises": "error",
        "se": "ok",
    }
    assert all(row["reason"] or row["status"] == "ok" for row in found.values())
    assert not children_of("harmful_blocks")


def children_of(words):
    """Processes whose command line holds these words, but for this one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if words in line and int(folder.name) != os.getpid() and alive(folder.name):
            found.append(folder.name)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_a_sweep_what_was_measured_is_kept_and_no_process_is_left(folder, how):
    arguments = ["se", "harmful_blocks:Parent", "-s", "6,7", "--max-time", "100ms", "-o", "run"]
    arguments += ["--where", "block == 'se' or height == 7"]
    with swept(*arguments) as process:
        deadline = time.monotonic() + 60
        while not (folder / "grandchild").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.2)
        pids = (folder / "grandchild").read_text().split()
        process.send_signal(how)
        out, err = process.communicate(timeout=30)
    assert out == ""
    assert "Traceback" not in err
    if how != signal.SIGKILL:
        assert process.returncode == 130
        assert "go on with: gcbench sweep --resume run" in err.splitlines()[-1]
    assert gone(pids)
    # the first comparison is there; the block that hung has its turn again, and now has an end
    (folder / "harmful_blocks.py").write_text(MODULES.replace('time.sleep(600)\n"""', ""))
    with swept("--resume", "run", "--timeout", "3s", "--csv", "r.csv") as process:
        _, err = process.communicate(timeout=120)
    assert process.returncode == 3, err
    assert [row["status"] for row in rows("r.csv")] == ["ok", "ok", "timeout"]
    assert gone((folder / "grandchild").read_text().split())


@pytest.mark.slow
def test_a_run_of_another_machine_is_gone_on_with_only_on_request(folder, capsys):
    run = folder / "run"
    assert ran("sweep", "--static", "se", "-o", "run", capsys=capsys)[0] == 0
    first, rest = run.read_text().split("\n", 1)
    node = os.uname().nodename
    assert f'"node":"{node}"' in first
    run.write_text(first.replace(f'"node":"{node}"', '"node":"elsewhere"') + "\n" + rest)
    assert_refused(
        ran("sweep", "--resume", "run", capsys=capsys),
        f"node: elsewhere then, {node} now",
        "--allow-mismatch",
    )
    code, _, err = ran("sweep", "--resume", "run", "--allow-mismatch", capsys=capsys)
    assert code == 0
    assert "warning: node: elsewhere then" in err
