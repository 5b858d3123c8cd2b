"""JSON: the manifest, and the rows with full digits; null where not measured."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from gcbench.formats.pivot import Pivot
from gcbench.records import Manifest
from gcbench.tables import Row


def render(rows: Iterable[Row], manifest: Manifest) -> Iterator[str]:
    """Write one object of a manifest and rows, a row a line."""
    return object_of({"manifest": manifest}, rows)


def pivoted(pivot: Pivot, manifest: Manifest) -> Iterator[str]:
    """Write a pivot as rows too: the labels, and an object of the values by column."""
    rows = (
        {
            **dict(zip(pivot.row_names, labels, strict=True)),
            pivot.value: dict(zip(pivot.columns, (cell.value for cell in cells), strict=True)),
        }
        for labels, cells in pivot.lines
    )
    return object_of({"manifest": manifest}, rows)


def object_of(head: Mapping[str, object], rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Write one object: what stands above the rows, each on a line, and the rows, a row a line."""
    yield "{" + "".join(f"{_text(name)}: {_text(value)},\n" for name, value in head.items())
    yield '"rows": ['
    for number, row in enumerate(rows):
        yield f"{',' if number else ''}\n{_text(row)}"
    yield "\n]}\n"


def _text(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)
