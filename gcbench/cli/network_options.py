"""Options of `gcbench network`, and what of their text can be read without torch."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Annotated

import typer

from gcbench import groups, spec
from gcbench.cli.options import AXES, EFFORT, option
from gcbench.errors import UsageError
from gcbench.networks import NETWORKS, inputs, variants
from gcbench.networks.places import Position
from gcbench.units import parse_share

INSIDE = "Inside"
# a network's defaults, where --input says nothing else
BATCH, SIZE = "1", "224"
# the paper's GCNet, and its two ways of putting in what it comes from
DEFAULT_INSERTS = ("gc@+all", "snl@+1", "nl@+1")
# where --within looks: one residual block of a stage, and all of the last stages
SEARCHED = (
    *("c5.last", "c4.last", "c3.last", "c2.last"),
    *("c5.all", "c4-c5.all", "c3-c5.all", "c2-c5.all"),
)
RATIO, SEARCHED_RATIOS = "16", "4,16"

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
        "gc@features.4; gc@c3+se@c4 puts both in; +1 and +all are the GCNet paper's places. "
        f"Repeatable: each is a row. Default: {' '.join(DEFAULT_INSERTS)}.",
        metavar="SPEC@PLACES",
        panel=INSIDE,
    ),
]
Replace = Annotated[
    list[str] | None,
    option(
        "--replace",
        help="A class, or the path of a module, and the block that comes in its place: "
        "SqueezeExcitation=timm/eca, layer3.5.se=gc. Repeatable: each is a row.",
        metavar="WHAT=SPEC",
        panel=INSIDE,
    ),
]
Input = Annotated[
    list[str] | None,
    option(
        "--input",
        help="What the network takes, instead of --batch and --size: 1x1x64x64, repeated where it "
        "takes several tensors (images first), or a function that makes them.",
        metavar="SHAPE|my.module:make",
        panel=AXES,
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
    str | None,
    option(
        "-r",
        "--ratio",
        help="Bottleneck reductions where a block has one: 4,8,16. Each is a row. Default: 16; "
        "with --within 4,16.",
        metavar="LIST",
        panel=INSIDE,
    ),
]
Within = Annotated[
    str | None,
    option(
        "--within",
        help="Say which rows add at most this share of the latency. A block without places is "
        "searched over stages: --insert gc --within 3%.",
        metavar="SHARE",
        panel=INSIDE,
    ),
]
Weights = Annotated[
    Path | None,
    option(
        "--weights",
        help="A state dict of the plain network, by torch.save or as .safetensors. Nothing is "
        "downloaded.",
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


def read_ratios(text: str | None, searched: bool = False) -> list[int]:
    """Read a list of ratios. Raises UsageError, which names the option."""
    default = SEARCHED_RATIOS if searched else RATIO
    return [spec.parse_count("--ratio", one) for one in _unique(default if text is None else text)]


def read_positions(text: str) -> list[Position]:
    """Read a list of positions. Raises UsageError, which names the option."""
    return [spec.parse_choice("--position", one, Position) for one in _unique(text)]


def read_rows(
    insert: list[str] | None, replaced: list[str] | None, position: str, searched: bool
) -> list[tuple[str, Position]]:
    """What each row puts in, and the position of places that do not say. Raises UsageError.

    Where stages are `searched`, a block without places is put at each of them in turn.
    """
    replaced = replaced or []
    for text in replaced:
        variants.require_replacement(text)
    default = () if replaced else (("gc",) if searched else DEFAULT_INSERTS)
    inserts = groups.inserted(insert or default)
    if searched:
        inserts = [
            each for text in inserts for each in ([text] if "@" in text else _searched(text))
        ]
    placed = list(product(inserts, read_positions(position)))
    return [*placed, *((text, "after_1x1") for text in replaced)]


def _searched(block: str) -> list[str]:
    return [f"{block}@{places}" for places in SEARCHED]


def read_within(text: str | None, static: bool, format: str) -> float | None:
    """Read the latency that may be added. Raises UsageError where nobody would be told."""
    if text is None:
        return None
    share = parse_share("--within", text)
    if static:
        raise UsageError("--within is about latencies, and --static times nothing: drop one")
    if format != "table":
        raise UsageError(
            f"--within is a table for people: drop --format {format}; --csv FILE has every interval"
        )
    return share


def read_input(
    texts: list[str] | None, batch: str, size: str
) -> "tuple[tuple[inputs.Sides, ...], str | None]":
    """Read what the network takes. Raises UsageError where that is said in two ways."""
    if texts and (batch, size) != (BATCH, SIZE):
        raise UsageError("--input says how many images and how large: leave --batch and --size out")
    return inputs.read(texts or [])


def read_weights(path: Path | None) -> str | None:
    """Name a file of weights so that another process finds it. Raises UsageError without one."""
    if path is not None and not path.is_file():
        raise UsageError(f"--weights {path}: there is no such file")
    return None if path is None else str(path.resolve())


def require_readable(net: str, wanted: Sequence[tuple[str, Position]]) -> None:
    """Raise UsageError where what can be read without torch is wrong."""
    from gcbench import blocks

    spec.parse_block(net, "network")
    for text, position in wanted:
        for part in variants.read(text, position):
            blocks.require_known(part.spec)


def is_foreign(net: str, wanted: Sequence[tuple[str, Position]], maker: str | None) -> bool:
    """Whether a network, what is put into it or what makes its inputs is code of others."""
    from gcbench import blocks
    from gcbench.networks import NETWORKS

    put = [part.spec for each in wanted for part in variants.read(*each)]
    is_known = spec.parse_block(net, "network").target in NETWORKS and not maker
    return not (is_known and all(map(blocks.is_ours, put)))


def _unique(text: str) -> list[str]:
    return list(dict.fromkeys(one.strip() for one in text.split(",")))
