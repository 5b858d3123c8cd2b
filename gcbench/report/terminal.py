"""What a person sees first: tables with what they rest on, plain or in a terminal's colours."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from gcbench.report.detail import Detail
from gcbench.report.document import Document, Layout, Lines, Section, Tone
from gcbench.report.fitting import banks, chosen, widths_of
from gcbench.report.text import printable

GAP = "   "
_COLOURS = {
    "faster": "green",
    "slower": "red",
    **dict.fromkeys(("unresolved", "too few replicates"), "yellow"),
    "untrusted": "bold red",
    **dict.fromkeys(("missing", "failed"), "red"),
    **dict.fromkeys(("oom", "timeout", "error", "crashed", "skipped"), "red"),
}
_TONES: dict[Tone, str] = {"": "", "good": "green", "bad": "bold red", "doubt": "yellow"}


def write(document: Document) -> Iterator[str]:
    """Write section below section as plain text, as wide as it is."""
    for number, section in enumerate(document.told(Detail.CAUSES)):
        lines = "".join(f"{line.plain.rstrip()}\n" for line in _lines(section))
        yield "\n" * bool(number) + lines


def write_in_colour(document: Document) -> Iterator[str]:
    """Write section below section in the colours of the terminal that is stdout.

    Where its width does not hold all columns, those that may be are left out, and that is said;
    what it does not hold even then goes on below. Numbers are never cut.
    """
    console = Console(highlight=False)
    for line in coloured(document, console.width):
        with console.capture() as captured:
            console.print(line)
        yield captured.get()


def coloured(document: Document, width: int) -> Iterator[Text]:
    """The lines of a document in colour, for a terminal of so many columns."""
    said = document.detail is None or document.detail >= Detail.CAUSES
    for number, section in enumerate(document.told(Detail.CAUSES)):
        yield from [Text()] * bool(number)
        if isinstance(section, Layout):
            yield from _shared_out(_narrowed(section, width, said), width)
        else:
            yield from _lines(section)


def _shared_out(layout: Layout, width: int) -> Iterator[Text]:
    """Columns that a width does not hold stand below the others, beside the labels once more."""
    pieces = list(banks(layout, width, GAP))
    for piece in pieces:
        heading = layout.heading if piece is pieces[0] else ()
        notes = layout.notes if piece is pieces[-1] else ()
        yield from _lines(replace(piece, heading=heading, notes=notes))


def _lines(section: Section) -> Iterator[Text]:
    if isinstance(section, Lines):
        yield from (Text(printable(line), style=_TONES[section.tone]) for line in section.lines)
        return
    for number, above in enumerate(section.heading):
        yield Text(printable(above), style="" if number else "bold")
    if section.header:
        yield from _table(section)
    for note in section.notes:
        yield Text(printable(note))


def _table(layout: Layout) -> Iterator[Text]:
    widths = widths_of(layout)
    if not layout.bare:
        yield _line(layout, layout.header, widths, "bold")
        yield Text("─" * (sum(widths) + len(GAP) * (len(widths) - 1)))
    for line in layout.lines:
        yield _line(layout, line, widths)


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


def _narrowed(layout: Layout, width: int, said: bool) -> Layout:
    """Leave columns out until the rest is no wider than so many letters."""
    widths = dict(enumerate(widths_of(layout)))
    left_out: list[str] = []
    for name in reversed(layout.optional):
        if sum(widths.values()) + len(GAP) * (len(widths) - 1) <= width:
            break
        if name in layout.header and widths.pop(layout.header.index(name), None) is not None:
            left_out.append(name)
    if not left_out:
        return layout
    hid = [f"terminal too narrow: hid {', '.join(left_out)}"] if said else []
    narrower = chosen(layout, list(widths))
    return replace(narrower, notes=[*narrower.notes, *hid])
