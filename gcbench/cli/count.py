"""`gcbench count`: what each part of a module costs on paper."""

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from itertools import product
from pathlib import Path

from gcbench import blocks
from gcbench.anatomy import By
from gcbench.blocks.catalog import BLOCKS
from gcbench.cli import faults
from gcbench.cli.taking import takes
from gcbench.errors import UsageError
from gcbench.networks import NETWORKS
from gcbench.options import AXES, Option, words
from gcbench.options.defaults import Said
from gcbench.options.readers import choice, each, one
from gcbench.options.table import completed, format_of
from gcbench.registry import nearest
from gcbench.report import GENERAL
from gcbench.spec import cases


def read_shape(place: str, text: str) -> tuple[int, ...]:
    """Read a shape of two sides or more, `2x197x768`. Raises UsageError."""
    sides = text.split("x")
    if len(sides) < 2:
        raise UsageError(f"{place} {text!r}: takes a batch and more, as in 2x197x768")
    return tuple(cases.parse_count(place, side) for side in sides)


TARGET = Option(
    "target",
    "A block (gc:ratio=8), a network (resnet50, timm/NAME) or a module of yours "
    "(my.module:MyBlock, my.module:make_model).",
    metavar="TARGET",
    argument=True,
    required=True,
    completed=completed,
)
SHAPE = Option(
    "shape",
    "Input of any rank, as in 2x197x768; repeatable. Default: 1x256x56x56, or 1x3x224x224.",
    kind="texts",
    metavar="NxCx...",
    panel=AXES,
    read=each(read_shape),
)
CHANNELS = Option(
    "channels",
    "Channels that a block is built for. Default: the input's second side.",
    short="-C",
    metavar="N",
    panel=AXES,
    read=one(cases.parse_count),
)
DEPTH = Option(
    "depth",
    "Levels of modules shown. Default: all.",
    metavar="N",
    read=one(lambda place, text: cases.parse_count(place, text, least=0)),
)
PER = Option("by", "What a row is.", metavar=words(By), read=one(choice(By)), usual="module")


@takes(
    "count",
    *(TARGET, SHAPE, CHANNELS, DEPTH, PER),
    format_of([entry.name for entry in GENERAL]),
)
def count(
    said: Said,
    target: str,
    shape: Sequence[tuple[int, ...]] | None,
    channels: int | None,
    depth: int | None,
    by: By,
    output: Path | None,
    format: str,
) -> None:
    """Count parameters, MACs and activations of each part of a module. Times nothing."""
    from gcbench.cli.output import leave, require_stdout, require_writable

    require_known(target)
    asked = said.plan()
    shown = GENERAL[format]
    require_writable("--output", output)
    if output is None:
        require_stdout()
    faults.info(f"counting {target}; loading torch")

    from gcbench import engines
    from gcbench.report.anatomy import document
    from gcbench.report.document import Document, joined

    foreign, limit_s = is_foreign(target), asked.timeout_s
    # stdout is the result alone, whatever a module of the user's own prints
    parts: dict[tuple[str, ...], tuple[dict[str, str], Document]] = {}
    with redirect_stdout(sys.stderr), engines.opened(foreign, limit_s) as engine:
        shapes: Sequence[tuple[int, ...] | None] = shape or [None]
        for sides, dtype, ratio in product(shapes, asked.dtype, asked.ratio):
            found = engines.take_apart(
                target, sides, channels, ratio, dtype, asked.seed, engine.call
            )
            size = "x".join(map(str, found.shape))
            cells = {"target": found.target, "shape": size, "dtype": dtype}
            # what has no ratio is the same at each
            parts.setdefault(tuple(cells.values()), (cells, document(found, by, depth)))
    leave(joined(list(parts.values())), shown, output)


def require_known(target: str) -> None:
    """Make sure that a target is a block or a network, as far as that needs no torch.

    Raises UsageError with the nearest name.
    """
    name = cases.parse_block(target).target
    if name in NETWORKS:
        return
    near = nearest(name, (entry.name for entry in NETWORKS))
    if near and not nearest(name, (entry.name for entry in BLOCKS)) and not set(":/") & set(name):
        raise UsageError(f"unknown block or network {name!r}: did you mean {near!r}?")
    if not ("/" in name and name.startswith("timm/")):
        blocks.require_known(target)


def is_foreign(target: str) -> bool:
    """Whether a target is code of others."""
    return cases.parse_block(target).target not in NETWORKS and not blocks.is_ours(target)
