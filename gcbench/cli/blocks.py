"""`gcbench blocks`: the family of blocks, one of them in detail, or what all of them cost."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gcbench.cli import faults
from gcbench.cli.taking import takes
from gcbench.errors import UsageError
from gcbench.options import Option
from gcbench.options.readers import many, one, parse_counts, parse_shapes, whether
from gcbench.options.table import completed, format_of
from gcbench.report import GENERAL
from gcbench.report.document import Document, Layout
from gcbench.spec.cases import Shape

if TYPE_CHECKING:
    from gcbench.blocks.equality import Finding

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
    format_of([entry.name for entry in GENERAL]),
)
def blocks(
    block: list[str] | None,
    shape: Sequence[Shape] | None,
    ratio: Sequence[int] | None,
    sort: str | None,
    verify: bool,
    output: Path | None,
    format: str,
) -> None:
    """List the blocks, describe one, or count all of them at a shape."""
    from gcbench.cli.output import leave, require_writable

    shown = GENERAL[format]
    require_writable("--output", output)
    code = 0
    if verify:
        if block or shape is not None:
            raise UsageError("--verify compares every block with its peers: name none")
        document, code = _verify()
    elif shape is not None:
        document, code = _count(block, shape[0], ratio or (RATIO,), sort)
    elif ratio is not None or sort is not None:
        raise UsageError(f"{'--ratio' if ratio is not None else '--sort'} goes with --shape")
    elif not block:
        document = _list()
    elif len(block) > 1:
        raise UsageError("one block is described at a time: --shape BxCxHxW counts several")
    else:
        from gcbench.cli.describe import describe

        document = describe(block[0])
    leave(document, shown, output)
    raise typer.Exit(code)


def _list() -> "Document":
    """The family by its place in the framework, the libraries and the groups."""
    from gcbench.blocks import groups
    from gcbench.blocks.catalog import catalogue
    from gcbench.blocks.peers import LIBRARIES
    from gcbench.report import family

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
    faults.warn(f"block {clash}" for clash in clashes)
    return family.places(rows, notes)


def _count(
    named: Sequence[str] | None, shape: Shape, ratios: Sequence[int], sort: str | None
) -> "tuple[Document, int]":
    """What blocks cost at a shape, counted on paper, and the exit code of what failed."""
    from gcbench.blocks import groups
    from gcbench.report import family
    from gcbench.report.order import ordered, parse_sort
    from gcbench.spec.cases import axes_at

    keys = [] if sort is None else parse_sort("--sort", sort, family.COST_COLUMNS)
    names = groups.expanded(named or [f"{groups.MARK}all"])
    faults.info("counting; loading torch")

    from gcbench.family import costs

    rows = ordered(costs(names, axes_at(shape, {}), ratios), keys)
    return family.costs(rows), faults.code_of(rows, strict=False)


def _verify() -> "tuple[Document, int]":
    """What comparing the blocks with their peers gave, and 5 where one differs."""
    from gcbench.blocks import equality

    faults.info("comparing with peers; loading torch")
    findings = list(equality.verify())
    rows = [
        {
            "block": found.ours,
            "peer": found.theirs,
            "difference": None if found.missing else found.difference,
            "largest_output": None if found.missing else found.largest,
            "equal": None if found.missing else found.equal,
            "matched_by": found.set_equal or None,
            "reason": found.missing,
        }
        for found in findings
    ]
    notes = [
        "the largest difference of any number of the outputs, in float64, with the same weights"
    ]
    notes += [
        f"defect of {defect.library} {defect.version}: {defect.words} ({defect.here})"
        for defect in equality.DEFECTS
    ]
    notes += [f"no counterpart: {name}: {why}" for name, why in equality.NO_EQUAL.items()]
    lines = [(found.ours, found.theirs, *_result(found)) for found in findings]
    table = Layout((), ("block", "peer", "difference", "result"), 4, lines, notes)
    document = Document(
        title="blocks and their peers",
        sections=lambda detail: [table],
        rows=lambda: rows,
        columns=tuple(rows[0]),
    )
    differs = any(not found.missing and not found.equal for found in findings)
    return document, faults.UNTRUSTED if differs else 0


def _result(found: "Finding") -> tuple[str, str]:
    if found.missing:
        return "", f"not compared: {found.missing}"
    matched = f"matched by: {found.set_equal}" if found.set_equal else "identical"
    return f"{found.difference:.2g}", ("" if found.equal else "DIFFERS ") + matched
