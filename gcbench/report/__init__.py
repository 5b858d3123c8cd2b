"""The table of formats. Each is one file with a `write` that makes text of a `Document`.

How names and sentences are made harmless in it is a format's business alone; its columns and digits
are those of the document.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gcbench.registry import Entry, Registry

if TYPE_CHECKING:
    from gcbench.report.document import Document


@dataclass(frozen=True)
class Format(Entry):
    """A format. `screen` writes for a terminal; `of_cases` takes rows that are cases alone."""

    screen: str | None = None
    of_cases: bool = False

    def writer(self) -> "Callable[[Document], Iterator[str]]":
        """What writes documents on stdout: for a terminal, where that is one."""
        screen = self.screen if sys.stdout.isatty() else None
        write: Callable[[Document], Iterator[str]] = replace(
            self, target=screen or self.target
        ).load()
        return write


# of commands whose rows are cases: bench, network, report
FORMATS: Registry[Format] = Registry(
    "format",
    (
        Format(
            "table",
            "gcbench.report.terminal:write",
            "tables for people",
            screen="gcbench.report.terminal:write_in_colour",
        ),
        Format("csv", "gcbench.report.csv:write", "one line a row, every column"),
        Format("markdown", "gcbench.report.markdown:write", "the tables in Markdown"),
        Format("latex", "gcbench.report.latex:write", "the tables in LaTeX (booktabs)"),
        Format("json", "gcbench.report.json:write", "the rows with all digits, and the manifest"),
        Format(
            "pytest-benchmark",
            "gcbench.report.pytest_benchmark:write",
            "JSON that pytest-benchmark compare reads",
            of_cases=True,
        ),
    ),
)
_GENERAL = tuple(entry for entry in FORMATS if not entry.of_cases)
# of every other command
GENERAL: Registry[Format] = Registry("format", _GENERAL)
PIVOTS: Registry[Format] = Registry("format of a pivot", _GENERAL)
