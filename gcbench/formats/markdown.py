"""Markdown: what the table for people says, for an issue or a page."""

import re
from collections.abc import Iterable, Iterator

from gcbench.formats.layout import Layout, comparisons
from gcbench.formats.pivot import Pivot
from gcbench.formats.text import inert, printable
from gcbench.records import Manifest
from gcbench.tables import Row


def render(rows: Iterable[Row], manifest: Manifest) -> Iterator[str]:
    """Write a table for each comparison, what it rests on above and below it."""
    for number, each in enumerate(comparisons(rows, manifest.node)):
        yield "\n" * bool(number) + _section(each)


def pivoted(pivot: Pivot, manifest: Manifest) -> Iterator[str]:
    """Write a pivot as one table."""
    yield _section(pivot.layout())


def _section(layout: Layout) -> str:
    heading = "  \n".join(map(_escaped, layout.heading))
    notes = "".join(f"- {_escaped(note)}\n" for note in layout.notes)
    sides = [":---" if layout.is_left(i) else "---:" for i in range(len(layout.header))]
    lines = [_line(map(_cell, layout.header)), _line(sides)]
    lines += [_line(map(_cell, line)) for line in layout.lines]
    return f"{heading}\n\n{''.join(lines)}" + (f"\n{notes}" if notes else "")


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _cell(text: str) -> str:
    return _escaped(inert(text))


def _escaped(text: str) -> str:
    r"""Take every meaning from what Markdown or HTML would read.

    >>> _escaped("a|b <script> [x](y)")
    'a\\|b \\<script\\> \\[x\\](y)'
    """
    return re.sub(r"([\\`*\[\]<>|~&])", r"\\\1", printable(text))
