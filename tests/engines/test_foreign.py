"""Code of others runs in a process of its own in every command: what ends that is a row."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from commands import assert_refused, ran

from gcbench import engines, store
from gcbench.engines.isolated import Isolated
from gcbench.engines.worker_process import CallError

SMALL = ["-C", "8", "-s", "4", "-r", "4", "--precision", "50%", "--max-time", "200ms"]

MODULES = """
import os, time
import torch
from torch import nn

class Good(nn.Module):
    def __init__(self, channels):
        super().__init__()
    def forward(self, x):
        return x + 1

class Exits(Good):
    def forward(self, x):
        if not x.is_meta:
            os._exit(3)
        return x

class Aborts(Good):
    def forward(self, x):
        if not x.is_meta:
            os.abort()
        return x

class Hangs(Good):
    def forward(self, x):
        if not x.is_meta:
            time.sleep(600)
        return x

class Unbuilt(Good):
    def __init__(self, channels):
        os._exit(4)

class Attending(nn.Module):
    calls = 0
    last = 10**9

    def __init__(self, channels):
        super().__init__()

    def attention_map(self, x):
        keys = x.flatten(2)
        return (keys.transpose(1, 2) @ keys).softmax(-1)

    def forward(self, x):
        if not x.is_meta:
            Attending.calls += 1
            if Attending.calls > self.last:
                os._exit(9)
        return x + (x.flatten(2) @ self.attention_map(x).transpose(1, 2)).view_as(x)

class Never(Attending):
    last = 0

class Twice(Attending):
    last = 2

class Network(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=4)
        self.block = block(4)
    def forward(self, x):
        return self.block(self.stem(x)).mean((2, 3))

def attending():
    return Network(Attending)

def never():
    return Network(Never)

def twice():
    return Network(Twice)

def exits():
    return Network(Exits)

def unmade():
    os._exit(5)

def told(upto, heard):
    for number in range(upto):
        heard(number)
    return "all"

def stopped(heard):
    number = 0
    try:
        while True:
            heard(number)
            number += 1
            time.sleep(0.01)
    except KeyboardInterrupt:
        heard("stopped")
        return number
"""


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    (tmp_path / "foreign_code.py").write_text(MODULES)
    (tmp_path / "ends.py").write_text("import os\nos._exit(3)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("foreign_code", None)


def rows_of(path):
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def found(path):
    return {row["spec"]: row for row in rows_of(path)}


@pytest.mark.slow
def test_a_block_that_ends_its_process_is_a_row_of_bench_and_the_others_are_measured(
    foreign, capfd
):
    names = [f"foreign_code:{name}" for name in ("Good", "Exits", "Aborts", "Hangs", "Unbuilt")]
    given = ["bench", "gc", *names, *SMALL, "--timeout", "8s", "--csv", "a.csv", "-o", "a.jsonl"]
    code, _, err = ran(*given, capsys=capfd)
    assert code == 3, err
    rows = found("a.csv")
    assert rows["gc"]["status"] == rows["foreign_code:Good"]["status"] == "ok"
    assert float(rows["foreign_code:Good"]["relative"]) > 0
    for name, status, words in (
        ("Exits", "crashed", "ended with exit code 3"),
        ("Aborts", "crashed", "SIGABRT"),
        ("Hangs", "timeout", "more than 8 s (--timeout)"),
        ("Unbuilt", "crashed", "ended with exit code 4"),
    ):
        row = rows[f"foreign_code:{name}"]
        assert row["status"] == status
        assert words in row["reason"]
    assert store.manifest(Path("a.jsonl")).engine == "process"


def test_code_of_gcbench_runs_in_process_and_the_manifest_says_so(foreign, capfd):
    assert ran("bench", "gc", *SMALL, "-o", "a.jsonl", capsys=capfd)[0] == 0
    assert store.manifest(Path("a.jsonl")).engine == "inline"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["bench", "gc", "ends:Block"], "block 'ends:Block': to import it ended its process"),
        (["network", "ends:make"], "network 'ends:make': to import it ended its process"),
        (["count", "ends:Block"], "ends:Block: to count it ended its process with exit code 3"),
    ],
)
def test_an_import_that_ends_its_process_is_one_sentence(command, words, foreign, capfd):
    assert_refused(ran(*command, capsys=capfd), words)


@pytest.mark.slow
def test_a_network_that_ends_its_process_is_rows(foreign, capfd):
    given = ["--insert", "se:ratio=2@stem", "-s", "16", *SMALL[6:], "--csv", "a.csv"]
    for name, code in (("exits", 3), ("unmade", 5)):
        assert ran("network", f"foreign_code:{name}", *given, capsys=capfd)[0] == 4
        for row in found("a.csv").values():
            assert row["status"] == "crashed"
            assert f"ended with exit code {code}" in row["reason"]


@pytest.mark.slow
def test_what_ends_its_process_when_it_is_counted_is_a_row_of_a_static_sweep(foreign, capfd):
    given = ["sweep", "gc", "foreign_code:Unbuilt", "--static", "-C", "8", "-s", "4", "-r", "4"]
    assert ran(*given, "--csv", "a.csv", capsys=capfd)[0] == 3
    rows = found("a.csv")
    assert rows["gc"]["status"] == "ok"
    assert rows["foreign_code:Unbuilt"]["status"] == "crashed"
    assert (
        "to count it ended its process with exit code 4" in rows["foreign_code:Unbuilt"]["reason"]
    )


def attended(name, *more, capfd):
    pytest.importorskip("PIL")
    from PIL import Image

    Image.effect_noise((50, 40), 90).save("a.png")
    given = ["--images", "a.png", "--size", "32", "--threads", "1", "--csv", "a.csv", *more]
    code, out, err = ran("attention", f"foreign_code:{name}", *given, capsys=capfd)
    return code, out, err, rows_of("a.csv") if Path("a.csv").exists() else []


@pytest.mark.slow
def test_a_model_that_ends_its_process_leaves_rows_that_say_so(foreign, capfd):
    code, _, _, [row] = attended("never", capfd=capfd)
    assert (code, row["status"], row["block"]) == (4, "crashed", "block")
    assert row["reason"] == "while pictures went through, it ended its process with exit code 9"
    # one picture, and the first call of what is timed
    code, _, err, [row] = attended("twice", "-o", "maps.png", capfd=capfd)
    assert (code, row["status"], row["images"]) == (3, "ok", "1")
    assert 0 <= float(row["query_share"]) <= 1
    assert row["price_reason"] == ("while blocks were timed, it ended its process with exit code 9")
    assert "wrote maps.png" in err


def test_a_model_that_is_never_made_is_one_sentence(foreign, capfd):
    code, out, err, _ = attended("unmade", capfd=capfd)
    said = "\n".join(line for line in err.splitlines() if "no --weights" not in line)
    words = "network 'foreign_code:unmade': to make it ended its process with exit code 5"
    assert_refused((code, out, said), words)


WITHOUT_TORCH = """
import sys
from gcbench.engines.worker_process import Worker

loaded, start = [], Worker._start

def begun(self, *given):
    loaded.append({"torch", "pandas"} & set(sys.modules))
    start(self, *given)

Worker._start = begun
from gcbench.cli.app import main

try:
    main(sys.argv[1:])
except SystemExit as end:
    print(end.code, loaded[0], "torch" in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["bench", "foreign_code:Exits", *SMALL, "--csv", "a.csv"],
        [
            "network",
            "foreign_code:exits",
            "--insert",
            "se:ratio=2@stem",
            "-s",
            "16",
            "--csv",
            "a.csv",
        ],
        ["sweep", "foreign_code:Exits", *SMALL, "-o", "a.jsonl"],
    ],
)
def test_who_measures_the_code_of_others_starts_that_first_and_loads_no_torch(command, foreign):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *command], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "4 set() False", done.stderr


@pytest.mark.slow
def test_what_a_call_tells_is_heard_and_an_interrupt_reaches_it_where_that_is_allowed(foreign):
    import foreign_code

    with Isolated(60.0) as apart:
        numbers = []
        assert apart.call(foreign_code.told, 3, heard=numbers.append) == "all"
        assert numbers == [0, 1, 2]

        def interrupting(told):
            if told == 2:
                raise KeyboardInterrupt
            return True

        assert apart.call(foreign_code.stopped, heard=interrupting) in (2, 3)
        with pytest.raises(KeyboardInterrupt):
            apart.call(foreign_code.stopped, heard=lambda told: told == 2 and interrupting(2))
        with pytest.raises(CallError) as raised:
            apart.call(foreign_code.unmade)
        assert (raised.value.status, raised.value.reason) == (
            *("crashed", "ended its process with exit code 5"),
        )
        # the next one has a process again
        assert apart.call(foreign_code.told, 1, heard=numbers.append) == "all"


def test_modules_that_exist_run_in_this_process(foreign):
    import foreign_code

    from gcbench import blocks
    from gcbench.spec.cases import Axes, Effort

    axes = Axes(channels=8, size=(4, 4), ratio=2, device="cpu")
    with blocks.given({"mine": foreign_code.Good(8)}):
        run = engines.run([engines.compare(["mine"], axes)], Effort(0.5, 0.1))
    assert run.manifest.engine == "inline"
