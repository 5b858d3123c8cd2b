"""The table of output formats. Each is one file with two functions of the names below.

`render` takes the rows of a run and its manifest, and yields text; `pivoted` does so for a pivot.
Both may get a `Watch` that the rows went by: what it found is told when they have. A `Detail` says
how much stands below a table; each format has a default of its own. A format's columns and digits
are its own business; what the rows hold is not.
"""

from gcbench.registry import Entry, Registry

FORMATS: Registry[Entry] = Registry(
    "format",
    (
        Entry("table", "gcbench.formats.terminal:render", "a table for people"),
        Entry("csv", "gcbench.formats.csv:render", "one row a case, every column"),
        Entry("markdown", "gcbench.formats.markdown:render", "the table for people, in Markdown"),
        Entry("latex", "gcbench.formats.latex:render", "the table for people, in LaTeX (booktabs)"),
        Entry("json", "gcbench.formats.json:render", "the rows with all digits, and the manifest"),
        Entry(
            "pytest-benchmark",
            "gcbench.formats.pytest_benchmark:render",
            "JSON that pytest-benchmark compare reads",
        ),
    ),
)
PIVOTS: Registry[Entry] = Registry(
    "format of a pivot",
    tuple(
        Entry(entry.name, entry.target.replace(":render", ":pivoted"), entry.summary)
        for entry in FORMATS
        if entry.name != "pytest-benchmark"
    ),
)

# of `gcbench attention`, whose rows are not cases
ATTENTION_FORMATS: Registry[Entry] = Registry(
    "format",
    (
        Entry("table", "gcbench.formats.attention:render", "tables for people, and a verdict"),
        Entry("markdown", "gcbench.formats.attention:markdown", "the same in Markdown"),
        Entry("csv", "gcbench.formats.csv:render", "one row a block, every column"),
        Entry("json", "gcbench.formats.json:render", "the rows with all digits, and the manifest"),
    ),
)

# of `gcbench count`, whose rows are parts of one module
ANATOMY_FORMATS: Registry[Entry] = Registry(
    "format",
    (
        Entry("table", "gcbench.formats.anatomy:render", "a table for people"),
        Entry("csv", "gcbench.formats.anatomy:csv", "one row a part, every column"),
        Entry("markdown", "gcbench.formats.anatomy:markdown", "the table in Markdown"),
        Entry("json", "gcbench.formats.anatomy:json", "the whole, and its parts, all digits"),
    ),
)

# of `gcbench paper`, whose tables have other columns
PAPER_FORMATS: Registry[Entry] = Registry(
    "format",
    (
        Entry("table", "gcbench.formats.paper:render", "tables for people"),
        Entry("markdown", "gcbench.formats.paper:markdown", "tables and sentences in Markdown"),
        Entry("csv", "gcbench.formats.paper:csv", "one row for each of the paper's, every column"),
    ),
)

# of `gcbench blocks`, whose rows are blocks
FAMILY_FORMATS: Registry[Entry] = Registry(
    "format",
    (
        Entry("table", "gcbench.formats.family:render", "a table for people"),
        Entry("markdown", "gcbench.formats.family:markdown", "the same in Markdown"),
        Entry("csv", "gcbench.formats.family:csv", "one row a block, every column"),
    ),
)

# of `gcbench compare`, which has two runs to tell of
COMPARISON_FORMATS: Registry[Entry] = Registry(
    "format",
    (
        Entry("table", "gcbench.formats.comparison:render", "tables for people"),
        Entry("markdown", "gcbench.formats.comparison:markdown", "the same for a pull request"),
        Entry("csv", "gcbench.formats.comparison:csv", "one row a case, every column"),
        Entry("json", "gcbench.formats.comparison:json", "the rows, and both manifests"),
    ),
)
