"""The table of output formats. Each is one file with one function: DataFrame -> text.

A format's columns and digits are its own business; what the table holds is not.
"""

from gcbench.registry import Entry, Registry

FORMATS: Registry[Entry] = Registry(
    "format",
    (
        Entry("table", "gcbench.formats.terminal:render", "a table for people"),
        Entry("csv", "gcbench.formats.csv:render", "one row a case, every column"),
        Entry(
            "pytest-benchmark",
            "gcbench.formats.pytest_benchmark:render",
            "JSON that pytest-benchmark compare reads",
        ),
    ),
)
