r"""LaTeX: what the table for people says, with the rules of booktabs.

Plain ASCII, and nothing but `\usepackage{booktabs}`. No floats: a run may have thousands of tables.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from gcbench.report.detail import Detail
from gcbench.report.document import Document, Layout
from gcbench.report.fitting import banks
from gcbench.report.text import printable

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
    # eighths of a bar
    **{chr(0x2580 + n): rf"\rule{{0.33em}}{{{0.1 * n:.1f}em}}" for n in range(1, 9)},
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
_EMPTY = "\\strut"
_HEAD = "% needs \\usepackage{booktabs}\n"


def write(document: Document) -> Iterator[str]:
    """Write section below section; a table is as many as it takes to fit on pages."""
    yield _HEAD
    for section in document.told(Detail.CELLS):
        if isinstance(section, Layout):
            yield from _tables(section.in_full())
        else:
            yield _small(section.lines, section.verbatim)


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


def _tables(layout: Layout) -> Iterator[str]:
    if not layout.header:
        yield _small([*layout.heading, *layout.notes])
        return
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
    write_line = _spaced_line if layout.bare else _line
    lines = "".join(map(write_line, layout.lines))
    heading = "".join(f"{escaped(line)}\\\\\n" for line in layout.heading if line)
    header = "" if layout.bare else f"{_line(layout.header)}\\midrule\n"
    return (
        "\\begin{center}\\footnotesize\\setlength{\\tabcolsep}{4pt}\n"
        f"{heading}\\makebox[\\linewidth][c]{{\\begin{{tabular}}{{{sides}}}\n"
        f"\\toprule\n{header}{lines}\\bottomrule\n"
        "\\end{tabular}}\n\\end{center}\n"
    )


def _line(cells: Iterable[str]) -> str:
    return f"{' & '.join(map(escaped, cells))} \\\\\n"


def _spaced_line(cells: Iterable[str]) -> str:
    return f"{' & '.join(map(_spaced, cells))} \\\\\n"


def _spaced(text: str) -> str:
    """The same with as many spaces as there are, where TeX would make one of them, or none."""
    return re.sub(r"^ | (?= )|(?<= ) ", r"\\ ", escaped(text))


def _small(lines: Sequence[str], verbatim: bool = False) -> str:
    written, font = (_spaced, "\\ttfamily") if verbatim else (escaped, "")
    # a line without a letter is none to TeX
    told = "".join(f"{written(line) if line else _EMPTY}\\par\n" for line in lines)
    return f"\\begin{{flushleft}}\\footnotesize{font}\n{told}\\end{{flushleft}}\n" if told else ""
