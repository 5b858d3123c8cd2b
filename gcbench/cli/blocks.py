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
    from gcbench.blocks import catalogue
    from gcbench.peers import LIBRARIES

    if block is None:
        entries, clashes = catalogue()
        lines = [(entry.name, f"{entry.summary} ({entry.source})") for entry in entries]
        lines += [
            (f"{library.name}/NAME", f"{library.summary}: {' '.join(library.names)}")
            for library in LIBRARIES
        ]
        width = max(len(name) for name, _ in lines)
        for name, words in lines:
            print(f"{name:<{width}}  {words}")
        faults.warn(f"block {clash}" for clash in clashes)
        return
    from gcbench.cli.describe import describe

    print(describe(block))
