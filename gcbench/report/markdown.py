"""Markdown: what the table for people says, for an issue or a page."""

import re
from collections.abc import Iterable, Iterator

from gcbench.report.detail import Detail
from gcbench.report.document import Document, Layout, Section
from gcbench.report.fitting import aligned
from gcbench.report.text import inert, printable

# an underscore inside a word is one; a mark at the start of a line makes it an item or a heading
_MEANS = re.compile(r"([\\`*\[\]<>|~&$#]|(?<![^\W_])_|_(?![^\W_])|^[-+](?=\s))")
# what is set in so far is code, and means nothing
_CODE = "    "


def write(document: Document) -> Iterator[str]:
    """Write section below section: tables with what they rest on above them, and lists."""
    written = filter(None, map(_section, document.told(Detail.CELLS)))
    for number, text in enumerate(written):
        yield "\n" * bool(number) + text


def _section(section: Section) -> str:
    if isinstance(section, Layout):
        return _table(section.in_full())
    return _code(section.lines) if section.verbatim else _list(section.lines)


def _table(layout: Layout) -> str:
    heading = "  \n".join(map(_escaped, layout.heading)) + ("\n\n" if layout.heading else "")
    notes = _list(layout.notes)
    if not layout.header:
        return f"{heading}{notes}"
    return f"{heading}{_body(layout)}" + (f"\n{notes}" if notes else "")


def _body(layout: Layout) -> str:
    if layout.bare:
        return _code(aligned(layout))
    sides = [":---" if layout.is_left(i) else "---:" for i in range(len(layout.header))]
    lines = [_line(map(_cell, layout.header)), _line(sides)]
    lines += [_line(map(_cell, line)) for line in layout.lines]
    return "".join(lines)


def _list(sentences: Iterable[str]) -> str:
    return "".join(f"- {_escaped(sentence)}\n" for sentence in sentences)


def _code(lines: Iterable[str]) -> str:
    return "".join(f"{_CODE}{printable(line)}".rstrip() + "\n" for line in lines)


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
