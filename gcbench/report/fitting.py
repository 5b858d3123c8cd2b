"""Tables of text fitted to a width, for formats that set letters below each other."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich.cells import cell_len

from gcbench.report.document import Layout, Legend
from gcbench.report.text import printable


def widths_of(layout: Layout) -> list[int]:
    """How wide each column is, in letters of a terminal."""
    shown = layout.lines if layout.bare else (layout.header, *layout.lines)
    columns = zip(*shown, strict=True) if shown else ((),) * len(layout.header)
    return [max((cell_len(printable(cell)) for cell in column), default=0) for column in columns]


def banks(layout: Layout, width: int, gap: str) -> Iterator[Layout]:
    """Share the columns out among tables that are no wider than so many letters."""
    widths = [each + len(gap) for each in widths_of(layout)]
    labels = list(range(layout.labels))
    bank: list[int] = []
    for column in range(layout.labels, len(widths)):
        if bank and sum(widths[each] for each in (*labels, *bank, column)) - len(gap) > width:
            yield chosen(layout, [*labels, *bank])
            bank = []
        bank.append(column)
    yield chosen(layout, [*labels, *bank])


def chosen(layout: Layout, columns: Sequence[int]) -> Layout:
    """The same with these columns alone, and without the legends of the others."""
    header = [layout.header[column] for column in columns]
    notes = (n.about(header) if isinstance(n, Legend) else n for n in layout.notes)
    return replace(
        layout,
        header=header,
        lines=[[line[column] for column in columns] for line in layout.lines],
        notes=[note for note in notes if note is not None],
    )


def aligned(layout: Layout, gap: str = "   ") -> Iterator[str]:
    """The lines of a table as text whose columns stand below each other, without its header."""
    widths = widths_of(layout)
    for line in layout.lines:
        sides = [
            f"{cell}{space}" if layout.is_left(column) else f"{space}{cell}"
            for column, (cell, space) in enumerate(_padded(line, widths))
        ]
        yield gap.join(sides)


def _padded(line: Sequence[str], widths: Sequence[int]) -> Iterator[tuple[str, str]]:
    for cell, width in zip(line, widths, strict=True):
        yield cell, " " * (width - cell_len(printable(cell)))
