"""The recipes of CONTRIBUTING.md, followed on a copy of the checkout: one file and one line do.

A recipe is a section of the page with two pieces of code. The first is headed by the file that it
is; the other by a file and a table in it, to whose end it is added. Nothing else is touched, and
then the program and the tests that run over that table must know what was added. One more recipe
is a section of the page, and a function here that uses what it adds.
"""

import ast
import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from runs import DATA

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
CODE = re.compile(r"^```python (\S+)(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
QUICK = ("--precision", "50%", "--max-time", "300ms")
pytestmark = pytest.mark.slow


class Checkout:
    """A copy of the checkout, and the ways in which a user calls what is in it."""

    def __init__(self, folder):
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(None, names.split("\0")):
            if not name.startswith("results/") and (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        self.folder = folder
        assert self.python("import gcbench; print(gcbench.__file__)").startswith(str(folder))

    def follow(self, section):
        """Add the file and the line of a section of the page; return the two names."""
        text = PAGE.partition(f"\n## {section}")[2].partition("\n## ")[0]
        (file, no_table, content), (tables, table, line) = CODE.findall(text)
        assert (no_table, bool(table)) == ("", True)
        assert not (self.folder / file).exists()
        (self.folder / file).write_text(content)
        (self.folder / tables).write_text(appended((self.folder / tables).read_text(), table, line))
        self.run("-m", "ruff", "check", "--quiet", file, tables)
        self.run("-m", "ruff", "format", "--check", "--quiet", file, tables)

    def run(self, *arguments, code=0, root=None):
        """Run Python in the copy, or in another checkout; return what it printed."""
        root = root or self.folder
        here = {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=root,
            env={**os.environ, **here},
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + (done.stderr if code else "")

    def gcbench(self, *arguments, **others):
        """Run a command."""
        return self.run("-m", "gcbench", *arguments, **others)

    def rows(self, *arguments):
        """Run a command that prints a CSV; return its rows."""
        return list(csv.DictReader(io.StringIO(self.gcbench(*arguments))))

    def python(self, text):
        """Run some lines of Python."""
        return self.run("-c", text)

    def tests(self, *arguments, least):
        """Run tests; at least so many must pass, and none fail."""
        out = self.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *arguments)
        assert int(re.search(r"([0-9]+) passed", out)[1]) >= least, out


def appended(source, table, line):
    """The source of a module with one more line at the end of a table that it assigns."""
    ast.parse(line, mode="eval")
    [value] = [
        node.value
        for node in ast.parse(source).body
        if ast.unparse(node).startswith((f"{table}: ", f"{table} = "))
    ]
    entries = value.args[-1] if isinstance(value, ast.Call) else value
    lines = source.splitlines(keepends=True)
    # behind the line on which the last entry ends, with its comma
    end = entries.elts[-1].end_lineno
    added = textwrap.indent(line.rstrip(), " " * entries.elts[-1].col_offset) + ",\n"
    return "".join([*lines[:end], added, *lines[end:]])


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def test_a_block_is_one_file_and_one_line(checkout):
    checkout.follow("Add a block")
    assert re.search(
        r"^lowrank +average +two linear layers +add +C\^2$", checkout.gcbench("blocks"), re.M
    )
    described = checkout.gcbench("blocks", "lowrank")
    for words in ("parameters               2*C*q", "MACs                     2*B*C*q"):
        assert words in described
    assert described.strip().endswith(
        "C channels, N positions H*W, q width between the layers C // ratio"
    )
    counted = checkout.rows("blocks", "@light", "--shape", "2x64x7x7", "--format", "csv")
    [row] = [row for row in counted if row["block"] == "lowrank"]
    assert (row["params"], row["macs"], row["macs_counter"]) == ("512", "1024", "formula")
    [_, row] = checkout.rows(
        "bench", "se", "lowrank", "-C", "16", "-s", "7", "-r", "4", *QUICK, "--format", "csv"
    )
    assert (row["status"], row["params"], row["macs"]) == ("ok", "128", "128")
    tests = ("blocks_shapes", "blocks_options", "counting_static", "registry")
    checkout.tests(*(f"tests/unit/test_{name}.py" for name in tests), "-k", "lowrank", least=30)


def test_a_metric_is_one_file_and_one_line(checkout):
    checkout.follow("Add a metric")
    run = "run.jsonl"
    checkout.gcbench("sweep", "gc", "se", "-C", "64,256", "-s", "7", "--static", "-o", run)
    rows = checkout.rows("report", run, "--format", "csv")
    assert list(rows[0])[-1] == "weight_bytes"
    assert [int(row["weight_bytes"]) for row in rows] == [4 * int(row["params"]) for row in rows]

    larger = ("--where", "weight_bytes > 4 * 600 and weight_bytes < 2**20")
    kept = checkout.rows("report", run, *larger, "--sort", "-weight_bytes", "--format", "csv")
    most_first = sorted((int(row["weight_bytes"]) for row in rows), reverse=True)
    assert [int(row["weight_bytes"]) for row in kept] == [n for n in most_first if n > 2400]
    assert len(kept) < len(rows)

    told = checkout.gcbench("report", run, "--value", "weight_bytes")
    assert told.startswith("memory of weights\n")
    assert "KiB" in told
    frame = f"import gcbench; print(gcbench.load({run!r})['weight_bytes'].dtype)"
    assert checkout.python(frame).strip() == "Int64"
    checkout.run("-m", "cogapp", "-r", "docs/csv.md")
    line = "| weight_bytes | int, B | bytes of the parameters, in the dtype of the case |\n"
    assert line in (checkout.folder / "docs/csv.md").read_text()

    # what is stored is held against the column
    text = (checkout.folder / run).read_text()
    number = re.search(r'"weight_bytes":([0-9]+)', text)[1]
    for wrong, left in ((number, 4), ('"many"', 2), ("-1", 2), ("0.5", 2)):
        changed = text.replace(f'"weight_bytes":{number}', f'"weight_bytes":{wrong}', 1)
        (checkout.folder / "changed.jsonl").write_text(changed)
        count = "import gcbench; print(len(gcbench.load('changed.jsonl')))"
        assert int(checkout.python(count)) == left
    # runs of before and of elsewhere
    older = checkout.rows("report", str(DATA / "run-schema3.jsonl"), "--format", "csv")
    assert {row["weight_bytes"] for row in older} == {""}
    run = str(checkout.folder / run)
    elsewhere = checkout.gcbench("report", run, "--format", "json", root=ROOT)
    assert [row["params"] for row in json.loads(elsewhere)["rows"]] == [
        int(row["params"]) for row in rows
    ]

    checkout.tests(
        "tests/unit/test_counting_meta.py",
        "tests/unit/test_runs.py",
        "tests/unit/test_registry.py",
        least=40,
    )


# the commands that leave a document
TELLING = (
    *("bench", "sweep", "network", "report", "compare", "count", "attention", "paper"),
    *("blocks", "check", "peaks", "env"),
)


def test_a_runtime_is_one_file_and_one_line(checkout):
    checkout.follow("Add a runtime")
    small = ("-C", "8", "-s", "4", "-r", "4", "--threads", "1", *QUICK, "--format", "csv")
    rows = checkout.rows("bench", "se", "--pair", "runtime=eager,exported", *small)
    assert [row["runtime"] for row in rows] == ["eager", "exported"]
    assert {row["status"] for row in rows} == {"ok"}
    assert [bool(row["export_s"] and row["load_ms"]) for row in rows] == [False, True]
    assert float(rows[1]["relative"]) > 0
    refused = checkout.gcbench("bench", "se", "--runtime", "exported", "--mode", "train", code=2)
    assert "--runtime exported: it only infers, and mode is train" in refused
    unknown = checkout.gcbench("bench", "se", "--runtime", "export", code=2)
    assert "did you mean 'exported'?" in unknown
    checkout.tests("tests/unit/test_deployed.py", "-k", "exported", least=6)
    checkout.tests("tests/engines/test_runtimes.py", "tests/unit/test_spec.py", least=20)


def test_a_format_is_one_file_and_one_line(checkout):
    checkout.follow("Add a format")
    # help shows it in a column whose lines others stand beside
    shown = checkout.python(
        "from gcbench.cli.commands import COMMANDS, loaded\n"
        "for each in COMMANDS:\n"
        "    for option in loaded(each.name).params:\n"
        "        if option.name == 'format':\n"
        "            print(each.name, *option.metavar.split('|'))\n"
    )
    named = {command: names for command, *names in map(str.split, shown.splitlines())}
    assert named.keys() == set(TELLING)
    assert all("org" in names for names in named.values())

    run = str(DATA / "run-schema3.jsonl")
    told = checkout.gcbench("report", run, "--format", "org")
    rows = checkout.rows("report", run, "--format", "csv")
    assert len(re.findall(r"^\| (?:gc|se|snl|nl)\b", told, re.MULTILINE)) == len(rows) > 1
    for command in (
        ("report", run, "--rows", "size"),
        ("compare", run, run),
        ("blocks",),
        ("blocks", "gc"),
        ("blocks", "--shape", "1x16x7x7"),
        ("count", "gc", "--shape", "1x16x7x7"),
        ("bench", "gc", "-C", "16", "-s", "7", "--static"),
        ("sweep", "gc", "-C", "16", "-s", "7", "--static", "-o", "run"),
        ("paper", "--table", "stages"),
        ("env",),
    ):
        lines = checkout.gcbench(*command, "--format", "org").splitlines()
        assert all(line.startswith(("| ", ": ")) for line in lines), command
        assert lines
    checkout.gcbench("report", run, "--format", "org", "-o", "a.txt")
    assert (checkout.folder / "a.txt").read_text() == told
    tests = (
        "reports/test_documents",
        "reports/test_formats",
        "reports/test_notes",
        "cli/test_cli_report",
    )
    checkout.tests(*(f"tests/{name}.py" for name in tests), "-k", "org", least=20)
