"""A module of the user's own: every way to go wrong is one sentence, with the line at fault."""

import logging
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gcbench import blocks, engines
from gcbench.cli.app import main
from gcbench.engines.isolated import Isolated
from gcbench.engines.jobs import Job, call_here
from gcbench.engines.worker_process import Worker
from gcbench.errors import UsageError
from gcbench.spec.cases import Axes, Effort

SOURCE = """\
import dataclasses
import functools

import pandas
import torch
from torch import nn


class Good(nn.Module):
    def __init__(self, dim, ratio=4):
        super().__init__()
        self.narrow = nn.Conv2d(dim, dim // ratio, 1)
        self.widen = nn.Conv2d(dim // ratio, dim, 1)

    def forward(self, x):
        return x + self.widen(self.narrow(x))


class Refuses(Good):
    def __init__(self, dim):
        super().__init__(dim)
        raise ValueError("seventeen is the only width")


class RefusesInside(Good):
    def __init__(self, dim):
        super().__init__(dim)
        self.extra = nn.Conv2d(dim, dim, 1, groups=7)


class Raises(Good):
    def forward(self, x):
        return self.widen(x)


def deeper(x):
    raise KeyError("below")


class Nested(Good):
    def forward(self, x):
        return deeper(x)


class CallsLibrary(Good):
    def forward(self, x):
        return pandas.concat([])


class Shrinks(Good):
    def forward(self, x):
        return self.narrow(x)


class Pair(Good):
    def forward(self, x):
        return x, x


class Noisy(Good):
    def forward(self, x):
        return x + 0.1 * torch.randn_like(x)


class Drops(Good):
    def __init__(self, dim):
        super().__init__(dim)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(super().forward(x))


class Looks(Good):
    def __init__(self, dim):
        super().__init__(dim)
        self.first = self.widen.bias[0].item()


class Alone(nn.Module):
    def __init__(self):
        super().__init__()


class Bare(nn.Module):
    def forward(self, x):
        return -x


class Demands(Good):
    def __init__(self, dim, heads):
        super().__init__(dim)


class NoModule:
    def __init__(self, dim):
        self.dim = dim


def halves(planes):
    return nn.Conv2d(planes, planes // 2, 1)


def demands(planes, *, heads):
    return nn.Conv2d(planes, planes, 1)


partly = functools.partial(demands, 3)


@dataclasses.dataclass
class Generated:
    dim: int
    heads: int

    def forward(self, x):
        return abs(x)


def text(planes):
    return "no module"
"""
# what each says, and the line of SOURCE where its fault lies
UNBUILT = {
    "own_blocks:Refuses": (
        "seventeen is the only width",
        "def __init__(self, dim):\n        super().__init__(dim)\n        raise",
        2,
    ),
    "own_blocks:RefusesInside": ("groups", "self.extra", 0),
    "own_blocks:Alone": ("it takes no argument", "def __init__(self):", 0),
    "own_blocks:Bare": (
        "takes 1 positional argument but 2",
        "def forward(self, x):\n        return -",
        0,
    ),
    "own_blocks:Demands": ("needs heads: add it", "def __init__(self, dim, heads)", 0),
    "own_blocks:demands": ("needs heads: add it", "def demands", 0),
    "own_blocks:partly": ("it takes only heads, by name", "def demands", 0),
    "own_blocks:Generated": (
        "needs heads: add it",
        "def forward(self, x):\n        return abs(x)",
        0,
    ),
    "own_blocks:NoModule": (
        "not a torch.nn.Module",
        "def __init__(self, dim):\n        self.dim",
        0,
    ),
    "own_blocks:text": ("makes str, not a torch.nn.Module", "def text", 0),
    "own_blocks:Nothing": ("no class or function 'Nothing'", None, 0),
    "broken_blocks:Good": (
        "cannot import 'broken_blocks': ZeroDivisionError",
        "broken_blocks.py:2",
        None,
    ),
    "unread_blocks:Good": (
        "cannot import 'unread_blocks': SyntaxError",
        "unread_blocks.py:1",
        None,
    ),
    "lacking_blocks:Good": (
        "cannot import 'lacking_blocks': ModuleNotFoundError",
        "lacking_blocks.py:1",
        None,
    ),
}
FAILING = {
    "own_blocks:Raises": ("RuntimeError: ", "return self.widen(x)"),
    "own_blocks:Nested": ("KeyError: 'below'", 'raise KeyError("below")'),
    "own_blocks:CallsLibrary": ("ValueError: No objects to concatenate", "return pandas.concat"),
    "own_blocks:Shrinks": (
        "the output has shape (1, 4, 6, 5), the input (1, 16, 6, 5)",
        "def forward(self, x):\n        return self.narrow",
    ),
    "own_blocks:Pair": (
        "the output is a tuple, not a tensor",
        "def forward(self, x):\n        return x, x",
    ),
    "own_blocks:Noisy": (
        "not deterministic in eval: two calls on one input differ by up to",
        "def forward(self, x):\n        return x + 0.1",
    ),
    "own_blocks:halves": ("the output has shape (1, 8, 6, 5)", "def halves"),
}
SMALL = ["-C", "16", "-s", "6x5", "-r", "4", "--precision", "50%", "--max-time", "300ms"]


FORMS = """\
import math

from own_blocks import Good


class Forms(Good):
    def letters(self, shape):
        B, C, H, W = shape
        return {"B": B, "C": C, "N": H * W, "q": C // 4}

    def closed_form(self, B, C, N, q):
        macs = 2 * B * C * N * q
        return {"params": 2 * C * q + q + C, "macs": macs, "min_elements": 2 * B * C * N}


class Explained(Forms):
    LETTERS = {"q": "width within C // ratio"}


class More(Explained):
    def closed_form(self, **letters):
        return super().closed_form(**letters) | {"products": 2}


class Lacks(Forms):
    def closed_form(self, B, C, N, q):
        return {"params": 2 * C * q + q + C}


class OtherLetters(Forms):
    def closed_form(self, B, C, N):
        return {"params": 0, "macs": 0, "min_elements": 0}


class NoArithmetic(Forms):
    def closed_form(self, B, C, N, q):
        return {"params": 0, "macs": int(math.log2(C)), "min_elements": 0}


class NoShape(Forms):
    def letters(self):
        return {}
"""
FORMULAS = [
    "Closed forms:",
    "  parameters               2*C*q + C + q",
    "  MACs                     2*B*C*N*q",
    "  elements that must move  2*B*C*N",
]


def line_of(text, below=0):
    return SOURCE[: SOURCE.index(text)].count("\n") + 1 + below


@pytest.fixture
def own_blocks(tmp_path, monkeypatch, foreign_code_here):
    """Files with blocks in the working directory, forgotten afterwards."""
    (tmp_path / "own_blocks.py").write_text(SOURCE)
    (tmp_path / "own_forms.py").write_text(FORMS)
    (tmp_path / "broken_blocks.py").write_text("one = 1\none / 0\n")
    (tmp_path / "unread_blocks.py").write_text("def (:\n")
    (tmp_path / "lacking_blocks.py").write_text("import no_such_thing_at_all\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    for name in ("own_blocks", "own_forms", "broken_blocks", "unread_blocks", "lacking_blocks"):
        sys.modules.pop(name, None)


def ran(*arguments, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["bench", *arguments, *SMALL])
    out, err = capsys.readouterr()
    return exit_info.value.code, out, err


@pytest.mark.parametrize("spec", UNBUILT)
def test_what_cannot_be_built_is_exit_2_and_one_sentence_with_its_line(spec, own_blocks, capsys):
    words, text, below = UNBUILT[spec]
    code, out, err = ran("gc", spec, capsys=capsys)
    said = err.splitlines()[-1]
    assert (code, out) == (2, "")
    assert words in said
    if text is not None:
        place = text if below is None else f"own_blocks.py:{line_of(text, below)}"
        assert f"({place})" in said
    assert "Traceback" not in err
    _, _, err = ran("gc", spec, "--traceback", capsys=capsys)
    assert "Traceback" in err


def test_a_worker_says_the_same_of_what_cannot_be_built(own_blocks):
    with Isolated(60.0) as apart:
        for spec in UNBUILT:
            said = []
            for call in (call_here, apart.call):
                with pytest.raises(UsageError) as raised:
                    engines.compare([spec], Axes(channels=16, size=(6, 5)), call=call)
                said.append(str(raised.value))
            assert said[0] == said[1]


@pytest.mark.parametrize("spec", FAILING)
def test_what_fails_when_called_is_a_row_and_one_sentence_with_its_line(spec, own_blocks, capsys):
    words, text = FAILING[spec]
    code, out, err = ran("gc", spec, "--format", "csv", capsys=capsys)
    assert code == 3
    [row] = [line for line in out.splitlines() if spec in line.split(",")[1]]
    assert words in row
    assert f"(own_blocks.py:{line_of(text)})" in row
    assert ",error," in row
    assert "Traceback" not in err
    _, _, err = ran("gc", spec, "--traceback", capsys=capsys)
    assert "Traceback" in err
    assert words in err


@pytest.mark.slow
@pytest.mark.parametrize("level", [logging.NOTSET, logging.DEBUG])
def test_a_case_that_another_process_tried_is_told_alike(level, own_blocks, capfd, monkeypatch):
    monkeypatch.setattr(logging.getLogger("gcbench"), "level", level)
    comparison = engines.compare(["own_blocks:Nested"], Axes(channels=16, size=(6, 5)))
    with Isolated() as isolated:
        [row] = isolated.measure(Job(comparison, Effort(0.5, 0.3))).measurements
    assert row.status == "error"
    assert row.reason == f"KeyError: 'below' (own_blocks.py:{line_of('raise KeyError')})"
    assert ("Traceback" in capfd.readouterr().err) == (level == logging.DEBUG)


@pytest.mark.parametrize("mode", ["infer", "train"])
def test_what_is_random_in_training_alone_is_measured(mode, own_blocks, capsys):
    code, _, err = ran("own_blocks:Drops", "--mode", mode, capsys=capsys)
    assert (code, "Traceback" in err) == (0, False)


def test_what_is_random_in_eval_is_found_in_training_too(own_blocks, capsys):
    code, out, _ = ran("own_blocks:Noisy", "--mode", "train", capsys=capsys)
    assert code == 4
    assert "not deterministic in eval" in out


def test_a_constructor_that_looks_at_numbers_is_built_and_measured(own_blocks, capsys):
    code, out, _ = ran("own_blocks:Looks", "--format", "csv", capsys=capsys)
    assert code == 0
    assert ",ok," in out


def test_the_table_says_which_counter_spoke_of_a_block_without_closed_form(own_blocks, capsys):
    code, out, _ = ran("own_blocks:Good", "-v", capsys=capsys)
    assert code == 0
    assert "MACs by gcbench" in out


# --- blocks that installed packages announce -----------------------------------------------------


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A function that installs a package in name only: its metadata, and no code."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(package, **points):
        folder = tmp_path / f"{package}-1.5.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n")
        lines = [f"{name} = {target}" for name, target in points.items()]
        (folder / "entry_points.txt").write_text("\n".join(["[gcbench.blocks]", *lines, ""]))

    return install


def test_an_installed_block_is_listed_and_nothing_of_it_imported(installed, capsys):
    installed("visionblocks", vb="no_such_package.blocks:Vb")
    with pytest.raises(SystemExit):
        main(["blocks"])
    out, err = capsys.readouterr()
    [line] = [line for line in out.splitlines() if line.startswith("vb ")]
    assert "no_such_package.blocks:Vb" in line
    assert "visionblocks 1.5" in line
    assert err == ""


def test_an_installed_block_is_built_by_its_name(installed, own_blocks):
    installed("visionblocks", vb="own_blocks:Good")
    block = blocks.resolve("vb:ratio=2")
    assert (block.name, block.spec, block.ratio) == ("vb", "vb", 2)
    assert blocks.build("vb", 16, 2).narrow.out_channels == 8


def test_an_installed_block_that_cannot_be_imported_is_told(installed):
    installed("visionblocks", vb="no_such_package.blocks:Vb")
    with pytest.raises(UsageError, match=r"block 'vb': cannot import 'no_such_package.blocks'"):
        blocks.resolve("vb")


def test_names_that_clash_are_told_and_left_to_their_full_spelling(installed, capsys):
    installed("visionblocks", vb="vision:Vb", gc="vision:Gc")
    installed("otherblocks", vb="other:Vb")
    with pytest.raises(SystemExit):
        main(["blocks"])
    out, err = capsys.readouterr()
    assert not [line for line in out.splitlines() if line.startswith("vb")]
    assert "'gc' of visionblocks 1.5 is to be named as vision:Gc: gcbench has a block" in err
    assert "'vb' of visionblocks 1.5 is to be named as vision:Vb: another package" in err
    assert "'vb' of otherblocks 1.5 is to be named as other:Vb" in err
    assert type(blocks.build("gc", 16, 4)).__module__ == "gcbench.blocks.gc"
    with pytest.raises(UsageError, match=r"'vb'.*named as other:Vb.*named as vision:Vb"):
        blocks.resolve("vb")


@pytest.mark.slow
def test_what_a_module_forks_does_not_answer_for_it(own_blocks):
    # both go on from there, and the other one is first
    forks = "import os, time\nif os.fork():\n    time.sleep(1)\nfrom own_blocks import Good\n"
    Path("forking_blocks.py").write_text(forks)
    with Worker() as worker:
        assert (
            worker.call(blocks.resolve, ["forking_blocks:Good"], 60.0).name == "forking_blocks:Good"
        )
        time.sleep(1)
        found = worker.call(blocks.resolve, ["own_blocks:Good"], 60.0)
        assert found.name == "own_blocks:Good"


def test_listing_blocks_loads_no_torch_and_no_library():
    code = (
        "import sys\n"
        "from gcbench.cli.app import main\n"
        "try:\n"
        "    main(['blocks'])\n"
        "except SystemExit:\n"
        "    print(sorted({'torch', 'pandas', 'timm', 'mmcv', 'torchvision'} & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[1] / "support",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("Forms", [*FORMULAS, "  with B batch, C channels, N positions H*W, q"]),
        (
            "Explained",
            [*FORMULAS, "  with B batch, C channels, N positions H*W, q width within C // ratio"],
        ),
        (
            "More",
            [
                *FORMULAS,
                "  products                 2",
                "  with B batch, C channels, N positions H*W, q width within C // ratio",
            ],
        ),
    ],
)
def test_closed_forms_in_letters_of_ones_own_are_shown(name, lines, own_blocks, capsys):
    assert described(f"own_forms:{name}", capsys).splitlines()[-len(lines) :] == lines


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Lacks", "closed_form of Lacks lacks macs, min_elements"),
        ("OtherLetters", "OtherLetters.closed_form() got an unexpected keyword argument 'q'"),
        ("NoArithmetic", "TypeError: Cannot convert expression to float (own_forms.py:"),
        ("NoShape", "NoShape.letters() takes 1 positional argument but 2 were given"),
    ],
)
def test_closed_forms_that_are_none_are_one_sentence(name, words, own_blocks, capsys):
    *_, heading, told = described(f"own_forms:{name}", capsys).splitlines()
    assert heading == "Closed forms:"
    assert told.startswith("  cannot be shown: ")
    assert words in told


def test_a_closed_form_that_is_none_leaves_its_cells_empty_and_says_why(own_blocks, capsys):
    code, out, err = ran("own_forms:Lacks", "--counter", "formula", capsys=capsys)
    assert code == 0
    assert "own_forms:Lacks r4: closed_form of Lacks lacks macs, min_elements" in out
    assert "Traceback" not in err


def described(spec, capsys):
    """What `gcbench blocks` says of a block."""
    with pytest.raises(SystemExit) as exit_info:
        main(["blocks", spec])
    out, err = capsys.readouterr()
    assert (exit_info.value.code, err) == (0, "")
    return out
