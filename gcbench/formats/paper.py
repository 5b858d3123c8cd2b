"""The paper's tables for people: printed cells beside derived ones, as text and as Markdown."""

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gcbench.formats.csv import lines_of
from gcbench.formats.detail import Detail, told
from gcbench.formats.notes import in_words, lines, of_flags
from gcbench.formats.terminal import plain
from gcbench.units import interval_text, latency_text, number_text

_WHERE = ["timed_height", "timed_width", "device", "device_name"]

Lines = list[dict[str, str]]


def render(table: pd.DataFrame, detail: Detail = Detail.CAUSES) -> str:
    """Write the tables as plain text of any width."""
    return plain(renderable(table, detail))


def renderable(table: pd.DataFrame, detail: Detail) -> RenderableType:
    """Lay the tables out for a rich console, one below the other."""
    parts: list[RenderableType] = []
    for _, rows in table.groupby("table", sort=False):
        body = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        lines = _lines(rows)
        for name in lines[0]:
            body.add_column(name, justify="left" if name == "row" else "right", no_wrap=True)
        for line in lines:
            body.add_row(*line.values())
        parts += [Text(_title(rows), style="bold"), body, *map(Text, _sentences(rows)), Text("")]
    return Group(*parts, *map(Text, _notes(table, detail)))


def markdown(table: pd.DataFrame, detail: Detail = Detail.CELLS) -> str:
    """Write the tables as Markdown."""
    parts = []
    for _, rows in table.groupby("table", sort=False):
        lines = _lines(rows)
        sides = " | ".join(":--" if name == "row" else "--:" for name in lines[0])
        body = [f"| {' | '.join(line.values())} |" for line in lines]
        said = [f"- {sentence}" for sentence in _sentences(rows)]
        head = [f"### {_title(rows)}", "", f"| {' | '.join(lines[0])} |", f"| {sides} |"]
        parts.append("\n".join([*head, *body, *([""] if said else []), *said]))
    return "\n\n".join([*parts, *_notes(table, detail)]) + "\n"


def csv(table: pd.DataFrame, detail: Detail = Detail.NONE) -> str:
    """Write the tables as comma-separated values: every column, empty where nothing is."""
    cells = table.astype(object).where(table.notna(), None)
    rows = [dict(zip(cells.columns, line, strict=True)) for line in cells.itertuples(index=False)]
    return "".join(lines_of(rows, tuple(cells.columns)))


def _title(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    return f"{first['table']}: {first['summary']}"


def _lines(rows: pd.DataFrame) -> Lines:
    """Each row's cells by their heading; a heading under which no row has anything is left out."""
    lines = [_cells(row) for _, row in rows.iterrows()]
    kept = [name for name in lines[0] if any(line[name] for line in lines)]
    return [{name: line[name] for name in kept} for line in lines]


def _cells(row: "pd.Series[Any]") -> dict[str, str]:
    known = {name: cell for name, cell in row.items() if not pd.isna(cell)}
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


def _printed(known: dict[Any, Any], column: str, unit: str) -> str:
    return f"{known[column]}{unit}" if column in known else ""


def _difference(known: dict[Any, Any], column: str, scale: float, unit: str) -> str:
    return f"{known[column] / scale:+.3f}{unit}" if column in known else ""


def _timed(known: dict[Any, Any]) -> dict[str, str]:
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


def _estimate(known: dict[Any, Any], name: str) -> tuple[float, float, float]:
    lo, hi = known.get(f"{name}_lo", -math.inf), known.get(f"{name}_hi", math.inf)
    return known[name], lo, hi


def _sentences(rows: pd.DataFrame) -> Iterator[str]:
    for _, row in rows[rows["why"].notna()].iterrows():
        yield f"{row['row']}: {row['why']}"


def _notes(table: pd.DataFrame, detail: Detail) -> list[str]:
    """What is said below all tables: each sentence of theirs once."""
    said = [
        "Δ is derived less printed.",
        *table["note"].unique(),
        *table["remark"].dropna().unique(),
    ]
    for _, row in table[table["device"].notna()].drop_duplicates(_WHERE).iterrows():
        size = f"{row['timed_height']}x{row['timed_width']}"
        said.append(f"Timed here: one {size} image on {row['device']}, {row['device_name']}.")
    flags = [text.split() for text in table["flags"].dropna()]
    return told(
        detail,
        cells=said,
        causes=lines(of_flags(flags)),
        rest=in_words(flag for each in flags for flag in each),
    )
