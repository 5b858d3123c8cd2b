"""JSON: the manifest, the rows with full digits, and what they show; null where not measured.

The findings are made when the rows have gone by, and so stand behind them.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from gcbench.findings import Watch
from gcbench.formats.detail import Detail
from gcbench.formats.pivot import Pivot
from gcbench.records import Manifest
from gcbench.tables import Row


def render(
    rows: Iterable[Row],
    manifest: Manifest,
    watch: Watch | None = None,
    detail: Detail = Detail.NONE,
) -> Iterator[str]:
    """Write one object of a manifest and rows, a row a line."""
    return object_of({"manifest": manifest}, rows, watch)


def pivoted(
    pivot: Pivot, manifest: Manifest, watch: Watch | None = None, detail: Detail = Detail.NONE
) -> Iterator[str]:
    """Write a pivot as rows too: the labels, and an object of the values by column."""
    rows = (
        {
            **dict(zip(pivot.row_names, labels, strict=True)),
            pivot.value: dict(zip(pivot.columns, (cell.value for cell in cells), strict=True)),
        }
        for labels, cells in pivot.lines
    )
    return object_of({"manifest": manifest, "about": pivot.carried}, rows, watch)


def object_of(
    head: Mapping[str, object], rows: Iterable[dict[str, Any]], watch: Watch | None = None
) -> Iterator[str]:
    """Write one object: what stands above the rows, each on a line, and the rows, a row a line.

    What they show, where a watch was kept, stands behind them.
    """
    yield "{" + "".join(f"{_text(name)}: {_text(value)},\n" for name, value in head.items())
    yield '"rows": ['
    for number, row in enumerate(rows):
        yield f"{',' if number else ''}\n{_text(row)}"
    yield "\n]"
    if watch:
        yield f',\n"findings": {_text(watch.findings.as_json())}'
    yield "}\n"


def _text(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)
