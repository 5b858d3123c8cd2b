"""The table that a person sees first: one for each comparison, with what it rests on."""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.text import Text

from gcbench.findings import Watch
from gcbench.formats.detail import Detail
from gcbench.formats.layout import Layout, banks, chosen, comparisons, widths_of
from gcbench.formats.pivot import Pivot
from gcbench.formats.text import printable
from gcbench.records import Manifest
from gcbench.tables import Row

GAP = "   "
_COLOURS = {
    "faster": "green",
    "slower": "red",
    **dict.fromkeys(("unresolved", "too few replicates"), "yellow"),
    "untrusted": "bold red",
    **dict.fromkeys(("missing", "failed"), "red"),
    **dict.fromkeys(("oom", "timeout", "error", "crashed", "skipped"), "red"),
}
# the order in which columns are left out of a narrow terminal, last first
_OPTIONAL = (
    *("params", "MACs", "+params", "+MACs", "x copy", "images/s"),
    *("peak memory", "bound", "floor", "saved", "compile"),
    *("A", "B", "others", "of its cells"),
)


def render(
    rows: Iterable[Row],
    manifest: Manifest,
    watch: Watch | None = None,
    detail: Detail = Detail.CAUSES,
) -> Iterator[str]:
    """Write a table for each comparison as plain text, as wide as it is."""
    yield from written(comparisons(rows, manifest, detail))
    yield _plain(_findings(watch))


def pivoted(
    pivot: Pivot, manifest: Manifest, watch: Watch | None = None, detail: Detail = Detail.CAUSES
) -> Iterator[str]:
    """Write a pivot as plain text, as wide as it is."""
    yield from written([pivot.layout(detail)])
    yield _plain(_findings(watch))


def written(layouts: Iterable[Layout]) -> Iterator[str]:
    """Write tables one below the other as plain text, as wide as they are."""
    for number, each in enumerate(layouts):
        yield "\n" * bool(number) + _plain(_lines(each))


def coloured(
    rows: Iterable[Row],
    manifest: Manifest,
    width: int,
    watch: Watch | None = None,
    detail: Detail = Detail.CAUSES,
) -> Iterator[Text]:
    """Write the tables in colour for a terminal of so many columns.

    Where the width does not hold all columns, the last ones are left out, and that is said; what
    it does not hold even then goes on below. Numbers are never cut.
    """
    yield from coloured_layouts(comparisons(rows, manifest, detail), width, detail)
    yield from _findings(watch)


def coloured_layouts(
    layouts: Iterable[Layout], width: int, detail: Detail = Detail.CAUSES
) -> Iterator[Text]:
    """Write tables one below the other, as `coloured` does."""
    for number, each in enumerate(layouts):
        yield from [Text()] * bool(number)
        yield from _shared_out(_narrowed(each, width, detail), width)


def coloured_pivot(
    pivot: Pivot, width: int, watch: Watch | None = None, detail: Detail = Detail.CAUSES
) -> Iterator[Text]:
    """Write a pivot for a terminal: columns that its width does not hold stand below the others."""
    yield from _shared_out(pivot.layout(detail), width)
    yield from _findings(watch)


def plain(laid_out: RenderableType) -> str:
    """Write what rich lays out as plain text of any width, without trailing spaces."""
    out = io.StringIO()
    console = Console(file=out, width=200, color_system=None)
    console.print(laid_out)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _plain(lines: Iterable[Text]) -> str:
    return "".join(f"{line.plain.rstrip()}\n" for line in lines)


def _findings(watch: Watch | None) -> Iterator[Text]:
    """What the rows show that have gone by, below a line left free."""
    told = watch.findings.sentences() if watch else []
    yield from [Text()] * bool(told)
    yield from (Text(printable(sentence)) for sentence in told)


def _shared_out(layout: Layout, width: int) -> Iterator[Text]:
    """Columns that a width does not hold stand below the others, beside the labels once more."""
    pieces = list(banks(layout, width, GAP))
    for piece in pieces:
        heading = layout.heading if piece is pieces[0] else ()
        notes = layout.notes if piece is pieces[-1] else ()
        yield from _lines(replace(piece, heading=heading, notes=notes))


def _lines(layout: Layout) -> Iterator[Text]:
    for number, above in enumerate(layout.heading):
        yield Text(printable(above), style="" if number else "bold")
    if layout.header:
        widths = widths_of(layout)
        yield _line(layout, layout.header, widths, "bold")
        yield Text("─" * (sum(widths) + len(GAP) * (len(widths) - 1)))
        for line in layout.lines:
            yield _line(layout, line, widths)
    for note in layout.notes:
        yield Text(printable(note))


def _line(layout: Layout, cells: Sequence[str], widths: Sequence[int], style: str = "") -> Text:
    text = Text()
    for column, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        cell = printable(cell)
        gap = " " * (width - cell_len(cell))
        text.append(GAP if column else "")
        text.append("" if layout.is_left(column) else gap)
        text.append(cell, style or _COLOURS.get(cell, ""))
        text.append(gap if layout.is_left(column) else "")
    return text


def _narrowed(layout: Layout, width: int, detail: Detail) -> Layout:
    """Leave columns out until the rest is no wider than so many letters."""
    widths = dict(zip(layout.header, widths_of(layout), strict=True))
    left_out: list[str] = []
    for name in reversed(_OPTIONAL):
        if sum(widths.values()) + len(GAP) * (len(widths) - 1) <= width:
            break
        if widths.pop(name, None) is not None:
            left_out.append(name)
    if not left_out:
        return layout
    kept = [i for i, name in enumerate(layout.header) if name in widths]
    hid = [f"terminal too narrow: hid {', '.join(left_out)}"] if detail >= Detail.CAUSES else []
    narrower = chosen(layout, kept)
    return replace(narrower, notes=[*narrower.notes, *hid])
