"""`gcbench blocks`: the table of blocks, or one of them in detail."""

from typing import Annotated

import typer

from gcbench.cli import faults

Block = Annotated[
    str | None,
    typer.Argument(metavar="[BLOCK]", help="A block spec to describe.", show_default=False),
]


def blocks(block: Block = None, traceback: faults.Traceback = False) -> None:
    """List the blocks, or describe one: its options, closed forms and source."""
    from gcbench.blocks import BLOCKS

    if block is None:
        width = max(len(entry.name) for entry in BLOCKS)
        for entry in BLOCKS:
            print(f"{entry.name:<{width}}  {entry.summary} ({entry.source})")
        return
    from gcbench.cli.describe import describe

    print(describe(block))
