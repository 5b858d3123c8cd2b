"""What is written of rows and pivots, in few words: tests of single formats ask for it."""

from dataclasses import replace
from types import SimpleNamespace

from runs import manifest

from gcbench import report
from gcbench.report import cases, histogram, paper, terminal
from gcbench.report.pivot import Pivot


def document_of(what, manifest, watch=None, detail=None):
    """The document of rows that are cases, or of a pivot."""
    make = (
        cases.pivoted
        if isinstance(what, Pivot)
        else lambda rows, *more: cases.cases(lambda: rows, *more)
    )
    return replace(make(what, manifest, watch), detail=detail)


def writing(name):
    """What writes rows or a pivot in a format, piece by piece."""
    write = report.FORMATS[name].load()
    return lambda *what, **more: write(document_of(*what, **more))


class Writers(dict):
    """Formats by name, as they stand in their table; of each `load` gives what writes."""

    def __init__(self, known):
        super().__init__(
            (each.name, SimpleNamespace(name=each.name, load=lambda n=each.name: writing(n)))
            for each in known
        )
        self.known = known

    def __iter__(self):
        return iter(self.values())

    def __missing__(self, name):
        return self.known[name]


FORMATS, PIVOTS = Writers(report.FORMATS), Writers(report.PIVOTS)


table, markdown, latex = map(writing, ("table", "markdown", "latex"))


def coloured(rows, manifest, width, **more):
    return terminal.coloured(document_of(rows, manifest, **more), width)


def coloured_pivot(made, width):
    return terminal.coloured(document_of(made, manifest()), width)


def lines(placed, run):
    """How the samples of rows are spread, in lines of text."""
    document = cases.cases(tuple, run.manifest, below=lambda _: histogram.layouts(placed, run))
    return [line for line in "".join(terminal.write(document)).splitlines() if line]


drawn = SimpleNamespace(lines=lines, bars=histogram.bars)


def of_paper(name):
    """What writes the paper's tables in a format."""
    write = report.FORMATS[name].load()
    return lambda frame: "".join(write(paper.document(frame)))


paper_table, paper_markdown, paper_csv = map(of_paper, ("table", "markdown", "csv"))
