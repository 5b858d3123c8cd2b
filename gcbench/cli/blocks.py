"""`gcbench blocks`: the family of blocks, one of them in detail, or what all of them cost."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from gcbench.cli import faults
from gcbench.cli.taking import takes
from gcbench.errors import UsageError
from gcbench.formats import FAMILY_FORMATS
from gcbench.options import Option
from gcbench.options.readers import many, one, parse_counts, parse_shapes, whether
from gcbench.options.table import completed, format_of
from gcbench.registry import Entry
from gcbench.spec import Shape

if TYPE_CHECKING:
    from gcbench.equality import Finding
    from gcbench.formats.family import Listing

# as the other commands have it
RATIO = 16

NAMED = Option(
    "block",
    "A block to describe; with --shape the blocks and groups to count.",
    kind="texts",
    metavar="[BLOCK]...",
    argument=True,
    completed=completed,
)
VERIFY = Option(
    "verify",
    "Give the blocks and those of timm, mmcv and torchvision the same weights, and print "
    "the largest difference of their outputs in float64.",
    kind="flag",
    read=one(whether),
)
SHAPE = Option(
    "shape",
    "Count every block at this shape, on paper.",
    metavar="BxCxHxW",
    read=one(parse_shapes),
)
RATIO_LIST = Option(
    "ratio",
    f"Ratios, with --shape. Default: {RATIO}.",
    short="-r",
    metavar="LIST",
    read=many(parse_counts),
)
SORT = Option(
    "sort", "Sort by columns, with --shape: macs, -min_bytes,block.", metavar="COLUMN,..."
)


@takes(
    "blocks",
    *(NAMED, SHAPE, RATIO_LIST, SORT, VERIFY),
    format_of([entry.name for entry in FAMILY_FORMATS]),
)
def blocks(
    block: list[str] | None,
    shape: Sequence[Shape] | None,
    ratio: Sequence[int] | None,
    sort: str | None,
    verify: bool,
    format: str,
) -> None:
    """List the blocks, describe one, or count all of them at a shape."""
    shown = FAMILY_FORMATS[format]
    if verify:
        if block or shape is not None:
            raise UsageError("--verify compares every block with its peers: name none")
        _verify()
    elif shape is not None:
        _count(block, shape[0], ratio or (RATIO,), sort, shown)
    elif ratio is not None or sort is not None:
        raise UsageError(f"{'--ratio' if ratio is not None else '--sort'} goes with --shape")
    elif not block:
        _list(shown)
    elif len(block) > 1:
        raise UsageError("one block is described at a time: --shape BxCxHxW counts several")
    else:
        from gcbench.cli.describe import describe

        print(describe(block[0]))


def _list(shown: Entry) -> None:
    """Print the family by its place in the framework, the libraries and the groups."""
    from gcbench import groups
    from gcbench.blocks import catalogue
    from gcbench.peers import LIBRARIES

    entries, clashes = catalogue()
    rows = [
        {
            "block": entry.name,
            "context": entry.context or f"{entry.summary} ({entry.source})",
            "transform": entry.transform,
            "fusion": entry.fusion,
            "order": entry.order,
            "source": entry.source,
        }
        for entry in entries
    ]
    notes = ["MACs: leading terms in N = H*W and C, without factors"]
    notes += [
        f"{library.name}/NAME: {library.summary}: {' '.join(library.names)}"
        for library in LIBRARIES
    ]
    notes += [
        f"{groups.MARK}{name}: {words}: {' '.join(groups.known()[name])}"
        for name, words in groups.TIERS.items()
    ]
    others = [name for name in groups.known() if name not in groups.TIERS]
    notes.append(f"more groups: {' '.join(f'{groups.MARK}{name}' for name in others)}")
    if shown.name == "table":
        _print_aligned(rows, notes)
    else:
        from gcbench.formats import family

        _show(family.places(rows, notes), shown)
    faults.warn(f"block {clash}" for clash in clashes)


def _print_aligned(rows: Sequence[dict[str, str]], notes: Sequence[str]) -> None:
    """Print the family; the tables of measurements would load what a list has no use for."""
    # a description of the block names its source
    names = [name for name in rows[0] if name != "source"]
    titles = {name: "MACs" if name == "order" else name for name in names}
    # an announced block has no place, and its words take the room of one
    placed = [row for row in rows if row["order"]]
    widths = [max(len(row[name]) for row in [titles, *placed]) for name in names]
    for row in [titles, *rows]:
        cells = (f"{row[name]:<{width}}" for name, width in zip(names, widths, strict=True))
        print("  ".join(cells).rstrip())
    print(*notes, sep="\n")


def _count(
    named: Sequence[str] | None,
    shape: Shape,
    ratios: Sequence[int],
    sort: str | None,
    shown: Entry,
) -> None:
    """Print what blocks cost at a shape, counted on paper."""
    from gcbench import groups
    from gcbench.formats import family
    from gcbench.formats.order import ordered, parse_sort
    from gcbench.spec import axes_at

    keys = [] if sort is None else parse_sort("--sort", sort, family.COST_COLUMNS)
    names = groups.expanded(named or [f"{groups.MARK}all"])
    faults.say("counting; loading torch")

    from gcbench.family import costs

    rows = ordered(costs(names, axes_at(shape, {}), ratios), keys)
    _show(family.costs(rows), shown)
    raise typer.Exit(faults.code_of(rows, strict=False))


def _show(listing: "Listing", shown: Entry) -> None:
    from gcbench.cli.output import print_in_colour, print_lines, require_stdout

    require_stdout()
    if shown.name == "table" and sys.stdout.isatty():
        print_in_colour([listing.layout])
        return
    print_lines(shown.load()(listing))


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
