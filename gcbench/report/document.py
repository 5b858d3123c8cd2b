"""What a command tells, before any format writes it.

Who makes a document knows of no format and escapes nothing; a format knows of no command. Rows and
sections are made when they are asked for, so a document of any size takes the memory of a part.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec

from gcbench.records import Cell, Manifest
from gcbench.report.detail import Detail

# what a line says of what it is about; a terminal has a colour for it
Tone = Literal["", "good", "bad", "doubt"]


class Legend(str):
    """A note that explains columns: what of it is said depends on which of them stand.

    `parts` are its pieces in their order, each with the column that it is about.
    """

    parts: Sequence[tuple[str, str]]

    def __new__(cls, *parts: tuple[str, str]) -> "Legend":
        """Join the pieces."""
        made = super().__new__(cls, "; ".join(text for _, text in parts))
        made.parts = parts
        return made

    def about(self, header: Sequence[str]) -> "Legend | None":
        """The same of these columns alone; None where it is about none of them."""
        kept = [part for part in self.parts if part[0] in header]
        return Legend(*kept) if kept else None


@dataclass(frozen=True)
class Layout:
    """Text for a table: lines above it, a header, lines of cells, and notes below it.

    The first `labels` columns name their line and stand to the left, as do those of words: `left`,
    by their header. Without a header there is no table, only what stands above and below it. A
    `bare` one is shown without its header. A narrow terminal leaves out `optional` columns, the
    last of them first. `paths` are what the first cells of lines are called in full, where those
    are set in by spaces.
    """

    heading: Sequence[str]
    header: Sequence[str]
    labels: int
    lines: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    left: Collection[str] = ("verdict",)
    bare: bool = False
    optional: Sequence[str] = ()
    paths: Sequence[str] = ()

    def is_left(self, column: int) -> bool:
        """Whether a column stands to the left."""
        return column < self.labels or self.header[column] in self.left

    def in_full(self) -> "Layout":
        """The same for a format that keeps no spaces at the start of a cell."""
        if not self.paths:
            return self
        lines = [(path, *line[1:]) for path, line in zip(self.paths, self.lines, strict=True)]
        return replace(self, lines=lines, paths=())


@dataclass(frozen=True)
class Lines:
    """A few lines of text: sentences, or words that are kept as they stand, spaces and all."""

    lines: Sequence[str]
    verbatim: bool = False
    tone: Tone = ""


Section = Layout | Lines
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Document:
    """What a command tells: sections for people, and rows for programs.

    `sections` are made with as much detail as is asked for: `detail`, or what the format has by
    default. `rows` have all digits, None where there is nothing; a cell that holds cells by name is
    several columns. `columns` name those of a document without rows. `shared` is what all rows rest
    on: behind the cells of each in a table of them, else above. `about` stands above the rows of an
    object, `found` below, once they have gone by. `whole` is an object in the place of all that.
    Sections and rows may be asked for several times.
    """

    title: str
    sections: Callable[[Detail], Iterable[Section]]
    rows: Callable[[], Iterable[Row]]
    columns: Sequence[str]
    manifest: Manifest | None = None
    about: Mapping[str, object] = field(default_factory=dict)
    shared: Mapping[str, Cell] = field(default_factory=dict)
    found: Callable[[], Mapping[str, object]] = dict
    whole: object = None
    detail: Detail | None = None

    def told(self, default: Detail) -> Iterable[Section]:
        """The sections with the detail that was asked for, or that of a format."""
        return self.sections(default if self.detail is None else self.detail)


def joined(documents: Sequence[tuple[Mapping[str, Cell], Document]]) -> Document:
    """One document of several, one below the other; a single one stays as it is.

    Each comes with the cells that tell its rows, or its object, from those of the others.
    """
    if len(documents) == 1:
        return documents[0][1]
    first = documents[0][1]
    return replace(
        first,
        sections=lambda detail: (each for _, one in documents for each in one.told(detail)),
        rows=lambda: (
            {**cells, **row, **one.shared} for cells, one in documents for row in one.rows()
        ),
        whole=[{**cells, **_object(one)} for cells, one in documents],
        shared={},
    )


def _object(document: Document) -> Mapping[str, Any]:
    """What a document is where it is one object among others."""
    if document.whole is not None:
        made: Mapping[str, Any] = msgspec.to_builtins(document.whole)
        return made
    return {
        **({"manifest": document.manifest} if document.manifest else {}),
        **({"about": document.shared} if document.shared else {}),
        **document.about,
        "rows": list(document.rows()),
        **document.found(),
    }
