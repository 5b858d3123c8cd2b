"""`gcbench blocks`: the table of blocks, or one of them in detail."""

from typing import TYPE_CHECKING, Annotated

import typer

from gcbench.cli import faults

if TYPE_CHECKING:
    from gcbench.equality import Finding

Block = Annotated[
    str | None,
    typer.Argument(metavar="[BLOCK]", help="A block spec to describe.", show_default=False),
]


Verify = Annotated[
    bool,
    typer.Option(
        "--verify",
        help="Give the blocks and those of timm, mmcv and torchvision the same weights, and print "
        "the largest difference of their outputs in float64.",
        show_default=False,
    ),
]


def blocks(
    block: Block = None, verify: Verify = False, traceback: faults.Traceback = False
) -> None:
    """List the blocks, or describe one: its options, closed forms and source."""
    from gcbench.blocks import catalogue
    from gcbench.errors import UsageError
    from gcbench.peers import LIBRARIES

    if verify:
        if block is not None:
            raise UsageError("--verify compares every block with its peers: name none")
        _verify()
        return
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


def _verify() -> None:
    """Print what comparing the blocks with their peers gave; exit 5 where one differs."""
    from gcbench import equality

    faults.say("comparing with peers; loading torch")
    findings = list(equality.verify())
    ours, theirs = (max(map(len, names)) for names in zip(*map(_names, findings), strict=True))
    for found in findings:
        if found.missing:
            result = f"not compared: {found.missing}"
        else:
            result = f"{found.difference:<9.2g}" + ("" if found.equal else "DIFFERS ")
            result += f"matched by: {found.set_equal}" if found.set_equal else "identical"
        print(f"{found.ours:<{ours}}  {found.theirs:<{theirs}}  {result}")
    print("the largest difference of any number of the outputs, in float64, with the same weights")
    for defect in equality.DEFECTS:
        print(f"defect of {defect.library} {defect.version}: {defect.words} ({defect.here})")
    for name, why in equality.NO_EQUAL.items():
        print(f"no counterpart: {name}: {why}")
    if any(not found.missing and not found.equal for found in findings):
        raise typer.Exit(faults.UNTRUSTED)


def _names(found: "Finding") -> tuple[str, str]:
    return found.ours, found.theirs
