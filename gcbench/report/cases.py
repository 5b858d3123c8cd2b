"""The documents of rows that are cases: a table for each comparison, or one value in a grid."""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

from gcbench.analysis.sections import Watch
from gcbench.analysis.within import settings
from gcbench.records import Manifest, Run
from gcbench.report import histogram
from gcbench.report.detail import Detail
from gcbench.report.document import Document, Lines, Section
from gcbench.report.layout import comparisons
from gcbench.report.pivot import Pivot
from gcbench.report.within import layout as within_layout
from gcbench.results.tables import COLUMNS, Address, Row
from gcbench.store import Stored

# gives the rows of a run, and where each stands there, as often as it is called
Placed = Callable[[], Iterable[tuple[Row, Address]]]


def cases(
    rows: Callable[[], Iterable[Row]],
    manifest: Manifest,
    watch: Watch | None = None,
    below: Callable[[Detail], Iterable[Section]] = lambda detail: (),
) -> Document:
    """A table for each comparison, what a watch finds in its rows, and other sections `below`."""

    def sections(detail: Detail) -> Iterator[Section]:
        yield from comparisons(rows(), manifest, detail)
        yield from _found(watch)
        yield from below(detail)

    return Document(
        title=manifest.run,
        sections=sections,
        rows=rows,
        columns=COLUMNS,
        manifest=manifest,
        found=lambda: _as_json(watch),
    )


def pivoted(made: Pivot, manifest: Manifest, watch: Watch | None = None) -> Document:
    """A grid of one value of each case, and what a watch finds in the rows it was made of."""
    return Document(
        title=manifest.run,
        sections=lambda detail: [made.layout(detail), *_found(watch)],
        rows=made.rows,
        columns=(*made.row_names, *made.columns),
        manifest=manifest,
        shared=made.carried,
        found=lambda: _as_json(watch),
    )


def samples(placed: Placed, run: Run | Stored) -> Callable[[Detail], Iterable[Section]]:
    """Sections of how the samples of each row are spread, where all detail is asked for."""
    return lambda detail: histogram.layouts(placed(), run) if detail >= Detail.ALL else ()


def within(rows: Iterable[Row], share: float) -> Iterator[Section]:
    """Which variants of each network fit into an added latency."""
    for _, group in groupby(rows, lambda row: row["comparison"]):
        yield within_layout(settings(list(group), share), share)


def _found(watch: Watch | None) -> Iterator[Section]:
    if watch and (said := watch.findings.sentences()):
        yield Lines(said)


def _as_json(watch: Watch | None) -> dict[str, object]:
    return {"findings": watch.findings.as_json()} if watch else {}
