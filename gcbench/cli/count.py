"""`gcbench count`: what each part of a module costs on paper."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from gcbench import blocks, spec
from gcbench.anatomy import By
from gcbench.blocks import BLOCKS
from gcbench.cli import faults, options
from gcbench.errors import UsageError
from gcbench.formats import ANATOMY_FORMATS
from gcbench.networks import NETWORKS
from gcbench.registry import nearest

TargetText = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        autocompletion=options.completed,
        help="A block (gc:ratio=8), a network (resnet50, timm/NAME) or a module of yours "
        "(my.module:MyBlock, my.module:make_model).",
        show_default=False,
    ),
]
Shape = Annotated[
    str | None,
    options.option(
        "--shape",
        help="Input of any rank, as in 2x197x768. Default: 1x256x56x56, or 1x3x224x224.",
        metavar="NxCx...",
        panel=options.AXES,
    ),
]
Channels = Annotated[
    str | None,
    options.option(
        "-C",
        "--channels",
        help="Channels that a block is built for. Default: the input's second side.",
        metavar="N",
        panel=options.AXES,
    ),
]
Depth = Annotated[
    str | None,
    options.option("--depth", help="Levels of modules shown. Default: all.", metavar="N"),
]
Per = Annotated[str, typer.Option("--by", help="What a row is.", metavar=options.words(By))]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        help="What stdout carries.",
        metavar="|".join(entry.name for entry in ANATOMY_FORMATS),
        rich_help_panel=options.OUTPUT,
    ),
]
Output = Annotated[
    Path | None,
    options.option(
        "-o",
        "--output",
        help="Write the result here instead of on stdout.",
        metavar="FILE",
        panel=options.OUTPUT,
    ),
]


def count(
    target: TargetText,
    shape: Shape = None,
    channels: Channels = None,
    ratio: options.Ratio = "16",
    dtype: options.Dtype = "float32",
    depth: Depth = None,
    by: Per = "module",
    seed: options.Seed = "0",
    timeout: options.Timeout = None,
    output: Output = None,
    format: Format = "table",
    traceback: faults.Traceback = False,
) -> None:
    """Count parameters, MACs and activations of each part of a module. Times nothing."""
    from gcbench.cli.output import (
        print_in_colour,
        print_lines,
        require_stdout,
        require_writable,
        write_whole,
    )

    require_known(target)
    sides = None if shape is None else read_shape(shape)
    width = None if channels is None else spec.parse_count("--channels", channels)
    divisor = spec.parse_count("--ratio", ratio)
    kind = spec.parse_choice("--dtype", dtype, spec.Dtype)
    levels = None if depth is None else spec.parse_count("--depth", depth, least=0)
    row = spec.parse_choice("--by", by, By)
    drawn_from = spec.parse_count("--seed", seed, least=0)
    limit_s = options.read_timeout(timeout)
    shown = ANATOMY_FORMATS[format]
    require_writable("--output", output)
    if output is None:
        require_stdout()
    faults.say(f"counting {target}; loading torch")

    from gcbench import engines

    # stdout is the result alone, whatever a module of the user's own prints
    with redirect_stdout(sys.stderr), engines.opened(is_foreign(target), limit_s) as engine:
        found = engines.take_apart(target, sides, width, divisor, kind, drawn_from, engine.call)
    if output is None and shown.name == "table" and sys.stdout.isatty():
        from gcbench.formats.anatomy import layout

        print_in_colour([layout(found, row, levels)])
        return
    text = shown.load()(found, row, levels)
    if output is None:
        print_lines(text)
    else:
        write_whole(output, text)


def require_known(target: str) -> None:
    """Make sure that a target is a block or a network, as far as that needs no torch.

    Raises UsageError with the nearest name.
    """
    name = spec.parse_block(target).target
    if name in NETWORKS:
        return
    near = nearest(name, (entry.name for entry in NETWORKS))
    if near and not nearest(name, (entry.name for entry in BLOCKS)) and not set(":/") & set(name):
        raise UsageError(f"unknown block or network {name!r}: did you mean {near!r}?")
    if not ("/" in name and name.startswith("timm/")):
        blocks.require_known(target)


def is_foreign(target: str) -> bool:
    """Whether a target is code of others."""
    return spec.parse_block(target).target not in NETWORKS and not blocks.is_ours(target)


def read_shape(text: str) -> tuple[int, ...]:
    """Read a shape of two sides or more, `2x197x768`. Raises UsageError."""
    sides = text.split("x")
    if len(sides) < 2:
        raise UsageError(f"--shape {text!r}: takes a batch and more, as in 2x197x768")
    return tuple(spec.parse_count("--shape", side) for side in sides)
