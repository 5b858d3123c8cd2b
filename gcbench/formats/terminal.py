"""The table that a person sees first: one for each comparison, with what it rests on."""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.text import Text

from gcbench.formats.layout import Layout, comparisons
from gcbench.formats.pivot import Pivot
from gcbench.formats.text import printable
from gcbench.records import Manifest
from gcbench.tables import Row

GAP = "   "
_COLOURS = {
    "faster": "green",
    "slower": "red",
    "unresolved": "yellow",
    "untrusted": "bold red",
    **dict.fromkeys(("oom", "timeout", "error", "crashed", "skipped"), "red"),
}
# the order in which columns are left out of a narrow terminal, last first
_OPTIONAL = (
    *("params", "MACs", "+params", "+MACs", "x copy", "images/s"),
    *("peak memory", "bound", "floor", "saved", "compile"),
)


def render(rows: Iterable[Row], manifest: Manifest) -> Iterator[str]:
    """Write a table for each comparison as plain text, as wide as it is."""
    for number, each in enumerate(comparisons(rows, manifest.node)):
        yield "\n" * bool(number) + "".join(f"{line.plain.rstrip()}\n" for line in _lines(each))


def pivoted(pivot: Pivot, manifest: Manifest) -> Iterator[str]:
    """Write a pivot as plain text, as wide as it is."""
    yield "".join(f"{line.plain.rstrip()}\n" for line in _lines(pivot.layout()))


def coloured(rows: Iterable[Row], node: str, width: int) -> Iterator[Text]:
    """Write the tables in colour for a terminal of so many columns; `node` is the run's own.

    Where the width does not hold all columns, the last ones are left out, and that is said: numbers
    are never cut.
    """
    for number, each in enumerate(comparisons(rows, node)):
        yield from [Text()] * bool(number)
        yield from _lines(_narrowed(each, width))


def coloured_pivot(pivot: Pivot, width: int) -> Iterator[Text]:
    """Write a pivot for a terminal: columns that its width does not hold stand below the others."""
    layout = pivot.layout()
    banks = list(_banks(layout, width))
    for bank in banks:
        first, last = bank is banks[0], bank is banks[-1]
        yield from _lines(
            replace(
                bank, heading=layout.heading if first else (), notes=layout.notes if last else ()
            )
        )


def plain(laid_out: RenderableType) -> str:
    """Write what rich lays out as plain text of any width, without trailing spaces."""
    out = io.StringIO()
    console = Console(file=out, width=200, color_system=None)
    console.print(laid_out)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _lines(layout: Layout) -> Iterator[Text]:
    for number, above in enumerate(layout.heading):
        yield Text(printable(above), style="" if number else "bold")
    widths = _widths(layout)
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


def _widths(layout: Layout) -> list[int]:
    columns = zip(layout.header, *layout.lines, strict=True)
    return [max(cell_len(printable(cell)) for cell in column) for column in columns]


def _narrowed(layout: Layout, width: int) -> Layout:
    """Leave columns out until the rest is no wider than so many letters."""
    widths = dict(zip(layout.header, _widths(layout), strict=True))
    left_out: list[str] = []
    for name in reversed(_OPTIONAL):
        if sum(widths.values()) + len(GAP) * (len(widths) - 1) <= width:
            break
        if widths.pop(name, None) is not None:
            left_out.append(name)
    if not left_out:
        return layout
    kept = [i for i, name in enumerate(layout.header) if name in widths]
    note = f"too narrow for {', '.join(left_out)}: --csv has them"
    return replace(_chosen(layout, kept), notes=[*layout.notes, note])


def _banks(layout: Layout, width: int) -> Iterator[Layout]:
    """Share the columns out among tables that are no wider than so many letters."""
    widths = [each + len(GAP) for each in _widths(layout)]
    labels = list(range(layout.labels))
    bank: list[int] = []
    for column in range(layout.labels, len(widths)):
        if bank and sum(widths[each] for each in (*labels, *bank, column)) - len(GAP) > width:
            yield _chosen(layout, [*labels, *bank])
            bank = []
        bank.append(column)
    yield _chosen(layout, [*labels, *bank])


def _chosen(layout: Layout, columns: Sequence[int]) -> Layout:
    return replace(
        layout,
        header=[layout.header[column] for column in columns],
        lines=[[line[column] for column in columns] for line in layout.lines],
    )
