"""Options of `gcbench network`, and what of their text can be read without torch."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

from gcbench.blocks import groups
from gcbench.errors import UsageError
from gcbench.networks import NETWORKS, inputs, variants
from gcbench.networks.places import Position
from gcbench.options import AXES, INSIDE, Option
from gcbench.options.defaults import Said
from gcbench.options.readers import choices, many, one, whether
from gcbench.options.table import like
from gcbench.spec import cases
from gcbench.units import parse_share

# the paper's GCNet, and its two ways of putting in what it comes from
DEFAULT_INSERTS = ("gc@+all", "snl@+1", "nl@+1")
# where --within looks: one residual block of a stage, and all of the last stages
SEARCHED = (
    *("c5.last", "c4.last", "c3.last", "c2.last"),
    *("c5.all", "c4-c5.all", "c3-c5.all", "c2-c5.all"),
)
SEARCHED_RATIOS = (4, 16)

NET = Option(
    "net",
    f"One of {', '.join(entry.name for entry in NETWORKS)}; timm/NAME; "
    "my.module:make_model. Options follow as in resnet50:style=caffe.",
    metavar="NET",
    argument=True,
    required=True,
)
INSERT = Option(
    "insert",
    "A block and where: gc@c3-c5.all, nl@c4.last-1/after_add, se:ratio=8@layer3.5, "
    "gc@features.4; gc@c3+se@c4 puts both in; +1 and +all are the GCNet paper's places. "
    f"Repeatable: each is a row. Default: {' '.join(DEFAULT_INSERTS)}.",
    kind="texts",
    metavar="SPEC@PLACES",
    panel=INSIDE,
)
REPLACE = Option(
    "replace",
    "A class, or the path of a module, and the block that comes in its place: "
    "SqueezeExcitation=timm/eca, layer3.5.se=gc. Repeatable: each is a row.",
    kind="texts",
    metavar="WHAT=SPEC",
    panel=INSIDE,
)
POSITION = Option(
    "position",
    "Where at a residual block, for places that do not say: after_1x1 (behind its last "
    "norm, before the addition), after_add, or both, as in after_1x1,after_add.",
    metavar="LIST",
    panel=INSIDE,
    read=many(choices(Position)),
    usual="after_1x1",
)
RATIO = like(
    "ratio",
    help="Bottleneck reductions where a block has one: 4,8,16. Each is a row. Default: 16; "
    "with --within 4,16.",
    panel=INSIDE,
)
WITHIN = Option(
    "within",
    "Say which rows add at most this share of the latency. A block without places is "
    "searched over stages: --insert gc --within 3%.",
    metavar="SHARE",
    panel=INSIDE,
    read=one(parse_share),
)
WEIGHTS = Option(
    "weights",
    "A state dict of the plain network, by torch.save or as .safetensors. Nothing is downloaded.",
    kind="path",
    metavar="FILE",
    panel=INSIDE,
)
WHOLE = Option(
    "whole",
    "All of a detector, on fixed proposals, instead of its backbone and FPN.",
    kind="flag",
    read=one(whether),
    panel=INSIDE,
)
SIZE = like(
    "size",
    help="Heights and widths of the images: 224, or 224,800x1280.",
    usual="224",
    in_files=False,
    variable=False,
)
INPUT = Option(
    "input",
    "What the network takes, instead of --batch and --size: 1x1x64x64, repeated where it "
    "takes several tensors (images first), or a function that makes them.",
    kind="texts",
    metavar="SHAPE|my.module:make",
    panel=AXES,
    excludes=("batch", "size"),
)
MAX_TIME = like(
    "max_time", help="Time that a comparison may take. Default: 60s on a CPU, 20s on CUDA."
)
OWN = (NET, INSERT, REPLACE, POSITION, RATIO, WITHIN, WEIGHTS, WHOLE, SIZE, INPUT, MAX_TIME)


def read_rows(
    insert: list[str] | None,
    replaced: list[str] | None,
    positions: Sequence[Position],
    searched: bool,
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
    placed = list(product(inserts, positions))
    return [*placed, *((text, "after_1x1") for text in replaced)]


def _searched(block: str) -> list[str]:
    return [f"{block}@{places}" for places in SEARCHED]


def require_told(within: float | None, static: bool, format: str) -> None:
    """Raise UsageError where nobody would be told which rows fit into an added latency."""
    if within is not None and static:
        raise UsageError("--within is about latencies, and --static times nothing: drop one")
    if within is not None and format != "table":
        raise UsageError(
            f"--within is a table for people: drop --format {format}; --csv FILE has every interval"
        )


def read_input(said: Said) -> "tuple[tuple[inputs.Sides, ...], str | None]":
    """Read what the network takes. Raises UsageError where that is said in two ways."""
    if "input" in said and ("batch" in said.line or "size" in said.line):
        raise UsageError("--input says how many images and how large: leave --batch and --size out")
    return inputs.read(said.value("input") or [])


def read_weights(path: Path | None) -> str | None:
    """Name a file of weights so that another process finds it. Raises UsageError without one."""
    if path is not None and not path.is_file():
        raise UsageError(f"--weights {path}: there is no such file")
    return None if path is None else str(path.resolve())


def require_readable(net: str, wanted: Sequence[tuple[str, Position]]) -> None:
    """Raise UsageError where what can be read without torch is wrong."""
    from gcbench import blocks

    cases.parse_block(net, "network")
    for text, position in wanted:
        for part in variants.read(text, position):
            blocks.require_known(part.spec)


def is_foreign(net: str, wanted: Sequence[tuple[str, Position]], maker: str | None) -> bool:
    """Whether a network, what is put into it or what makes its inputs is code of others."""
    from gcbench import blocks
    from gcbench.networks import NETWORKS

    put = [part.spec for each in wanted for part in variants.read(*each)]
    is_known = cases.parse_block(net, "network").target in NETWORKS and not maker
    return not (is_known and all(map(blocks.is_ours, put)))
