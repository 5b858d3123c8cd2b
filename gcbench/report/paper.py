"""The paper's tables: printed cells beside derived ones."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from gcbench.report.detail import Detail, told
from gcbench.report.document import Document, Layout, Lines, Section
from gcbench.report.notes import in_words, lines, of_flags
from gcbench.units import interval_text, latency_text, number_text

if TYPE_CHECKING:
    import pandas as pd

_WHERE = ("timed_height", "timed_width", "device", "device_name")

Row = Mapping[str, Any]


def document(table: "pd.DataFrame") -> Document:
    """A table for each of the paper's, and a row for each of its rows."""
    cells = table.astype(object).where(table.notna(), None)
    columns = tuple(map(str, cells.columns))
    rows = [dict(zip(columns, line, strict=True)) for line in cells.itertuples(index=False)]
    return Document(
        title="the GCNet paper's tables",
        sections=lambda detail: _sections(rows, detail),
        rows=lambda: rows,
        columns=columns,
    )


def _sections(rows: Sequence[Row], detail: Detail) -> Iterator[Section]:
    for _, group in groupby(rows, lambda row: row["table"]):
        yield _layout(list(group))
    if notes := _notes(rows, detail):
        yield Lines(notes)


def _layout(rows: Sequence[Row]) -> Layout:
    """Each row's cells by their heading; a heading under which no row has anything is left out."""
    cells = [_cells(row) for row in rows]
    kept = [name for name in cells[0] if any(line[name] for line in cells)]
    return Layout(
        heading=[f"{rows[0]['table']}: {rows[0]['summary']}"],
        header=kept,
        labels=1,
        lines=[[line[name] for name in kept] for line in cells],
        notes=[f"{row['row']}: {row['why']}" for row in rows if row["why"] is not None],
    )


def _cells(row: Row) -> dict[str, str]:
    known = {name: cell for name, cell in row.items() if cell is not None}
    adds = "insert" in known
    return {
        "row": str(row["row"]),
        "params, paper": _printed(known, "params_printed_m", "M"),
        "params": f"{row['params']:,}",
        "Δ params": _difference(known, "params_difference", 1e6, "M"),
        "MACs, paper": _printed(known, "macs_printed_g", "G"),
        "MACs": f"{row['macs'] / 1e9:.3f}G",
        "Δ MACs": _difference(known, "macs_difference", 1e9, "G"),
        "added, paper": _printed(known, "macs_added_printed_g", "G") if adds else "",
        "added": f"{row['macs_added'] / 1e9:.4f}G" if adds else "",
        "Δ added": _difference(known, "macs_added_difference", 1e9, "G") if adds else "",
        "V100, published": _printed(known, "latency_printed_ms", " ms"),
        "relative, V100": f"{known['relative_printed']:.3f}" if "relative_printed" in known else "",
        **_timed(known),
    }


def _printed(known: Row, column: str, unit: str) -> str:
    return f"{known[column]}{unit}" if column in known else ""


def _difference(known: Row, column: str, scale: float, unit: str) -> str:
    return f"{known[column] / scale:+.3f}{unit}" if column in known else ""


def _timed(known: Row) -> dict[str, str]:
    cells = {"here": known.get("reason", "") if known.get("status", "ok") != "ok" else ""}
    cells |= dict.fromkeys(("relative, here", "95 % interval", "verdict"), "")
    if "latency_us" in known:
        cells["here"] = latency_text(*_estimate(known, "latency_us"))
    if "relative" in known:
        estimate = _estimate(known, "relative")
        divided = known["verdict"] != "baseline"
        cells["relative, here"] = number_text(*estimate) if divided else "1"
        cells["95 % interval"] = interval_text(*estimate) if divided else ""
        cells["verdict"] = known["verdict"]
    return cells


def _estimate(known: Row, name: str) -> tuple[float, float, float]:
    lo, hi = known.get(f"{name}_lo", -math.inf), known.get(f"{name}_hi", math.inf)
    return known[name], lo, hi


def _notes(rows: Sequence[Row], detail: Detail) -> list[str]:
    """What is said below all tables: each sentence of theirs once."""
    said = ["Δ is derived less printed."]
    said += dict.fromkeys(row["note"] for row in rows)
    said += dict.fromkeys(row["remark"] for row in rows if row["remark"] is not None)
    timed = [row for row in rows if row["device"] is not None]
    for height, width, device, name in dict.fromkeys(
        tuple(row[each] for each in _WHERE) for row in timed
    ):
        said.append(f"Timed here: one {height}x{width} image on {device}, {name}.")
    flags = [row["flags"].split() for row in rows if row["flags"] is not None]
    return told(
        detail,
        cells=said,
        causes=lines(of_flags(flags)),
        rest=in_words(flag for each in flags for flag in each),
    )
