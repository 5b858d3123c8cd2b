"""A new format is one file and one line: on a copy of the package, every command has it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from runs import DATA

import gcbench
from gcbench.blocks import BLOCKS

PACKAGE = Path(gcbench.__file__).parent
FILE = '''"""Shouting: sections and rows, counted, in capitals."""

from gcbench.formats.detail import Detail


def write(document):
    """Write how much there is of a document."""
    yield f"{len(list(document.told(Detail.ALL)))} SECTIONS, {len(list(document.rows()))} ROWS\\n"
'''
LINE = '        Format("shout", "gcbench.formats.shout:write", "capitals"),\n'
# every command but those that print no document
COMMANDS = (
    *("bench", "sweep", "network", "report", "compare", "count", "attention", "paper"),
    *("blocks", "check", "peaks", "env"),
)
HELP = """
import sys
from gcbench.cli.app import main
for command in sys.argv[1:]:
    print("\\f")
    try:
        main([command, "--help"])
    except SystemExit:
        pass
"""


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    """Python in a folder with a copy of the package that has one more format."""
    folder = tmp_path_factory.mktemp("copy")
    copied = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, folder / "gcbench", ignore=copied)
    (folder / "gcbench/formats/shout.py").write_text(FILE)
    table = folder / "gcbench/formats/__init__.py"
    before, mark, after = table.read_text().partition('        Format("csv",')
    table.write_text(before + LINE + mark + after)

    def run(*arguments):
        wide = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command, cwd=folder, env=wide, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_help_of_every_command_names_it(door):
    _, *helps = door("-c", HELP, *COMMANDS).split("\f")
    assert len(helps) == len(COMMANDS)
    for text in helps:
        assert "|shout|" in text.replace(" ", ""), text


@pytest.mark.parametrize(
    ("arguments", "rows"),
    [
        (("report", str(DATA / "run-schema3.jsonl")), 4),
        (("report", str(DATA / "run-schema3.jsonl"), "--rows", "size"), 1),
        (("compare", str(DATA / "run-schema3.jsonl"), str(DATA / "run-schema3.jsonl")), 4),
        (("blocks",), len(BLOCKS)),
    ],
)
def test_commands_write_it(door, arguments, rows):
    assert f" {rows} ROWS" in door("-m", "gcbench", *arguments, "--format", "shout")
