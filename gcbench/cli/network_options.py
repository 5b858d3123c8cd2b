"""Options of `gcbench network`, and what of their text can be read without torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from gcbench import spec
from gcbench.cli.options import AXES, EFFORT, option
from gcbench.errors import UsageError
from gcbench.networks import NETWORKS, places
from gcbench.networks.places import Position

INSIDE = "Inside"
# the paper's GCNet, and its two ways of putting in what it comes from
DEFAULT_INSERTS = ("gc@+all", "snl@+1", "nl@+1")

Net = Annotated[
    str,
    typer.Argument(
        metavar="NET",
        help=f"One of {', '.join(entry.name for entry in NETWORKS)}; timm/NAME; "
        "my.module:make_model. Options follow as in resnet50:style=caffe.",
        show_default=False,
    ),
]
Insert = Annotated[
    list[str] | None,
    option(
        "--insert",
        help="A block and where: gc@c3-c5.all, nl@c4.last-1/after_add, se:ratio=8@layer3.5, "
        "gc@features.4; +1 and +all are the GCNet paper's places. Repeatable: each is a row. "
        f"Default: {' '.join(DEFAULT_INSERTS)}.",
        metavar="SPEC@PLACES",
        panel=INSIDE,
    ),
]
Positions = Annotated[
    str,
    typer.Option(
        "--position",
        help="Where at a residual block, for places that do not say: after_1x1 (behind its last "
        "norm, before the addition), after_add, or both, as in after_1x1,after_add.",
        metavar="LIST",
        rich_help_panel=INSIDE,
    ),
]
Ratios = Annotated[
    str,
    typer.Option(
        "-r",
        "--ratio",
        help="Bottleneck reductions where a block has one: 4,8,16. Each is a row.",
        metavar="LIST",
        rich_help_panel=INSIDE,
    ),
]
Weights = Annotated[
    Path | None,
    option(
        "--weights",
        help="A state dict of the plain network, as torch.save wrote it. Nothing is downloaded.",
        metavar="FILE",
        panel=INSIDE,
    ),
]
Whole = Annotated[
    bool,
    option(
        "--whole",
        help="All of a detector, on fixed proposals, instead of its backbone and FPN.",
        panel=INSIDE,
    ),
]
Size = Annotated[
    str,
    typer.Option(
        "-s",
        "--size",
        help="Height and width of the images: 224, or 800x1280.",
        metavar="H[xW]",
        rich_help_panel=AXES,
    ),
]
MaxTime = Annotated[
    str | None,
    option(
        "--max-time",
        help="Time that it may take. Default: 60s on a CPU, 20s on CUDA.",
        metavar="TIME",
        panel=EFFORT,
    ),
]
Static = Annotated[bool, option("--static", help="Count, and time nothing.", panel=EFFORT)]


def read_ratios(text: str) -> list[int]:
    """Read a list of ratios. Raises UsageError, which names the option."""
    return [spec.parse_count("--ratio", one) for one in _unique(text)]


def read_positions(text: str) -> list[Position]:
    """Read a list of positions. Raises UsageError, which names the option."""
    return [spec.parse_choice("--position", one, Position) for one in _unique(text)]


def read_weights(path: Path | None) -> str | None:
    """Name a file of weights so that another process finds it. Raises UsageError without one."""
    if path is not None and not path.is_file():
        raise UsageError(f"--weights {path}: there is no such file")
    return None if path is None else str(path.resolve())


def require_readable(net: str, wanted: Sequence[tuple[str, Position]]) -> None:
    """Raise UsageError where what can be read without torch is wrong."""
    spec.parse_block(net, "network")
    for text, position in wanted:
        block, _ = places.split(text, position)
        spec.parse_block(block)


def _unique(text: str) -> list[str]:
    return list(dict.fromkeys(one.strip() for one in text.split(",")))
