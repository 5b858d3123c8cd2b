"""Markdown: what the table for people says, for an issue or a page."""

import re
from collections.abc import Iterable, Iterator

from gcbench.findings import Watch
from gcbench.formats.detail import Detail
from gcbench.formats.layout import Layout, comparisons
from gcbench.formats.pivot import Pivot
from gcbench.formats.text import inert, printable
from gcbench.records import Manifest
from gcbench.tables import Row

# an underscore inside a word is one; a mark at the start of a line makes it an item or a heading
_MEANS = re.compile(r"([\\`*\[\]<>|~&$#]|(?<![^\W_])_|_(?![^\W_])|^[-+](?=\s))")


def render(
    rows: Iterable[Row],
    manifest: Manifest,
    watch: Watch | None = None,
    detail: Detail = Detail.CELLS,
) -> Iterator[str]:
    """Write a table for each comparison, what it rests on above it, and notes if asked for."""
    yield from sections(comparisons(rows, manifest, detail))
    yield from _findings(watch)


def pivoted(
    pivot: Pivot, manifest: Manifest, watch: Watch | None = None, detail: Detail = Detail.CELLS
) -> Iterator[str]:
    """Write a pivot as one table."""
    yield from sections([pivot.layout(detail)])
    yield from _findings(watch)


def sections(layouts: Iterable[Layout]) -> Iterator[str]:
    """Write tables one below the other."""
    for number, each in enumerate(layouts):
        yield "\n" * bool(number) + _section(each)


def _findings(watch: Watch | None) -> Iterator[str]:
    told = watch.findings.sentences() if watch else []
    yield "\n" * bool(told) + _list(told)


def _list(sentences: Iterable[str]) -> str:
    return "".join(f"- {_escaped(sentence)}\n" for sentence in sentences)


def _section(layout: Layout) -> str:
    heading = "  \n".join(map(_escaped, layout.heading)) + ("\n\n" if layout.heading else "")
    notes = _list(layout.notes)
    if not layout.header:
        return f"{heading}{notes}"
    sides = [":---" if layout.is_left(i) else "---:" for i in range(len(layout.header))]
    lines = [_line(map(_cell, layout.header)), _line(sides)]
    lines += [_line(map(_cell, line)) for line in layout.lines]
    return f"{heading}{''.join(lines)}" + (f"\n{notes}" if notes else "")


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _cell(text: str) -> str:
    return _escaped(inert(text))


def _escaped(text: str) -> str:
    r"""Take every meaning from what Markdown or HTML would read: formulas and headings too.

    >>> _escaped("a|b <script> [x](y)"), _escaped("$x_1$ __a__ my_block")
    ('a\\|b \\<script\\> \\[x\\](y)', '\\$x_1\\$ \\_\\_a\\_\\_ my_block')
    """
    return re.sub(_MEANS, r"\\\1", printable(text))
