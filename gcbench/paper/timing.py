"""The rows of the paper's tables, timed on this machine."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from gcbench import engines, networks
from gcbench.paper.printed import PaperTable, PrintedRow
from gcbench.records import Run
from gcbench.results import tables
from gcbench.spec.cases import Axes, Comparison, Network


def comparisons(
    wanted: Sequence[PaperTable], axes: Axes, size: tuple[int, int] | None
) -> list[Comparison]:
    """Put the rows of each network of each table beside its plain one, on this machine.

    Images have the table's size where `size` says no other. Raises UsageError as
    `gcbench.engines.compare` does.
    """
    return [
        engines.compare_inside(
            Network(networks.resolve(name), whole=table.whole),
            [networks.read_insertion(row.insert) for row in rows if row.insert],
            [axes.ratio],
            replace(axes, size=size or table.size),
        )
        for table in wanted
        for name, rows in _by_network(table)
    ]


def in_order(wanted: Sequence[PaperTable], run: Run) -> list[dict[str, Any]]:
    """The CSV's row of each row of the tables, in their order."""
    frame = tables.frame(run)
    found = []
    numbers = iter(range(1, len(run.comparisons) + 1))
    for table in wanted:
        for _, rows in _by_network(table):
            cases = frame[frame["comparison"] == next(numbers)].to_dict("records")
            variants = iter(cases[1:])
            found += [cases[0] if row.insert is None else next(variants) for row in rows]
    return [{str(name): cell for name, cell in row.items()} for row in found]


def _by_network(table: PaperTable) -> Iterator[tuple[str, list[PrintedRow]]]:
    for name, rows in groupby(table.rows, key=lambda row: row.network):
        yield name, list(rows)
