"""The table of output formats. Each is one file with one function: DataFrame -> text.

A format's columns and digits are its own business; what the table holds is not.
"""

from gcbench.registry import Entry, Registry

FORMATS: Registry[Entry] = Registry(
    "format",
    (
        Entry("table", "gcbench.formats.terminal:render", "a table for people"),
        Entry("csv", "gcbench.formats.csv:render", "one row a case, every column"),
    ),
)

# of `gcbench paper`, whose tables have other columns
PAPER_FORMATS: Registry[Entry] = Registry(
    "format",
    (
        Entry("table", "gcbench.formats.paper:render", "tables for people"),
        Entry("markdown", "gcbench.formats.paper:markdown", "tables and sentences in Markdown"),
        Entry("csv", "gcbench.formats.csv:render", "one row for each of the paper's, every column"),
    ),
)
