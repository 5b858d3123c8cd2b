r"""LaTeX: what the table for people says, with the rules of booktabs.

Plain ASCII, and nothing but `\usepackage{booktabs}`. No floats: a run may have thousands of tables.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from gcbench.findings import Watch
from gcbench.formats.detail import Detail
from gcbench.formats.layout import Layout, banks, comparisons
from gcbench.formats.pivot import Pivot
from gcbench.formats.text import printable
from gcbench.records import Manifest
from gcbench.tables import Row

# what a page holds in this size of letters
MOST_LINES, MOST_LETTERS = 45, 130

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\ensuremath{\sim}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",
    # behind a line's end these would belong to it
    **{each: f"{{{each}}}" for each in "[]*`"},
    **{each: f"\\{each}" for each in "&%$#_{}"},
    **dict.fromkeys("\u00b5\u03bc", r"\ensuremath{\mu}"),
    "\u00b7": r"\ensuremath{\cdot}",
    "\u00d7": r"\ensuremath{\times}",
    "\u00b0": r"\ensuremath{^\circ}",
    "\u2026": r"\ldots{}",
    "\u2013": r"\textendash{}",
}
# combining marks, and the command that sets them
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0308": '"',
}
_POWER = re.compile(r"\b([NC])\^(-?[0-9]+(?:\.[0-9]+)?)")
# two of these make another letter
_LIGATURE = re.compile(r"([-',])(?=\1)")
_HEAD = "% needs \\usepackage{booktabs}\n"


def render(
    rows: Iterable[Row],
    manifest: Manifest,
    watch: Watch | None = None,
    detail: Detail = Detail.CELLS,
) -> Iterator[str]:
    """Write a table for each comparison, what it rests on above it, and notes if asked for."""
    yield _HEAD
    for each in comparisons(rows, manifest, detail):
        yield from _section(each)
    yield _findings(watch)


def pivoted(
    pivot: Pivot, manifest: Manifest, watch: Watch | None = None, detail: Detail = Detail.CELLS
) -> Iterator[str]:
    """Write a pivot, in as many tables as it takes to fit on pages."""
    yield _HEAD
    yield from _section(pivot.layout(detail))
    yield _findings(watch)


def escaped(text: str) -> str:
    r"""Write any text as LaTeX that says just this, in ASCII.

    A letter that pdfLaTeX has no sign for becomes its number. Powers of N and C become formulas.

    >>> escaped("50% of N^2, a_b"), escaped("é 中")
    ('50\\% of $N^{2}$, a\\_b', "\\'{e} {[}U+4E2D{]}")
    """
    parts = _POWER.split(printable(text))
    words = [_LIGATURE.sub(r"\1{}", "".join(map(_letter, part))) for part in parts[::3]]
    powers = [f"${b}^{{{e}}}$" for b, e in zip(parts[1::3], parts[2::3], strict=True)]
    return "".join(a + b for a, b in zip(words, [*powers, ""], strict=True))


@lru_cache(maxsize=4096)
def _letter(letter: str) -> str:
    if letter in _SPECIAL:
        return _SPECIAL[letter]
    if letter.isascii():
        return letter
    parts = unicodedata.normalize("NFD", letter)
    if len(parts) == 2 and parts[0].isascii() and parts[1] in _ACCENTS:
        return f"\\{_ACCENTS[parts[1]]}{{{parts[0]}}}"
    return f"{{[}}U+{ord(letter):04X}{{]}}"


def _section(layout: Layout) -> Iterator[str]:
    pages = [page for bank in banks(layout, MOST_LETTERS, "  ") for page in _pages(bank)]
    for page in pages:
        heading = layout.heading if page is pages[0] else ()
        yield _centred(replace(page, heading=heading))
    yield _small(layout.notes)


def _pages(layout: Layout) -> Iterator[Layout]:
    """The lines shared out among tables that a page holds."""
    for start in range(0, max(len(layout.lines), 1), MOST_LINES):
        yield replace(layout, lines=layout.lines[start : start + MOST_LINES])


def _centred(layout: Layout) -> str:
    sides = "".join("l" if layout.is_left(i) else "r" for i in range(len(layout.header)))
    lines = "".join(_line(line) for line in layout.lines)
    heading = "".join(f"{escaped(line)}\\\\\n" for line in layout.heading if line)
    return (
        "\\begin{center}\\footnotesize\\setlength{\\tabcolsep}{4pt}\n"
        f"{heading}\\makebox[\\linewidth][c]{{\\begin{{tabular}}{{{sides}}}\n"
        f"\\toprule\n{_line(layout.header)}\\midrule\n{lines}\\bottomrule\n"
        "\\end{tabular}}\n\\end{center}\n"
    )


def _line(cells: Iterable[str]) -> str:
    return f"{' & '.join(map(escaped, cells))} \\\\\n"


def _findings(watch: Watch | None) -> str:
    return _small(watch.findings.sentences() if watch else ())


def _small(notes: Sequence[str]) -> str:
    told = "".join(f"{escaped(note)}\\par\n" for note in notes)
    return f"\\begin{{flushleft}}\\footnotesize\n{told}\\end{{flushleft}}\n" if told else ""
