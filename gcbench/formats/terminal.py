"""The table that a person sees first: one for each comparison, with what it rests on."""

import io
import math
from collections.abc import Iterator
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from gcbench.tables import SHARED_AXES
from gcbench.units import (
    count_text,
    factor_text,
    interval_text,
    latency_text,
    number_text,
    size_text,
)

_COLOURS = {"faster": "green", "slower": "red", "unresolved": "yellow", "untrusted": "bold red"}
_FLAG_WORDS = {
    "steal": "the host took more than 2 % of the time for others (steal): expect wide intervals",
    "low_cpu_share": "the process had under 90 % of a core (low_cpu_share): something else ran",
    "drift": "latencies drifted by more than 10 % (drift): the ratios are paired and stand it",
    "constant_norm": "one hidden channel makes LayerNorm constant (constant_norm)",
    "counters_disagree": "fvcore and torch count different MACs (counters_disagree)",
    "baseline_failed": "the baseline failed, so nothing is divided by it (baseline_failed)",
}


def render(table: pd.DataFrame) -> str:
    """Write the tables as plain text of any width."""
    out = io.StringIO()
    console = Console(file=out, width=200, color_system=None)
    console.print(renderable(table))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def renderable(table: pd.DataFrame) -> RenderableType:
    """Lay the tables out for a rich console, one for each comparison."""
    shared = list(SHARED_AXES)
    comparisons = table.groupby(shared, sort=False, dropna=False)
    return Group(*(_comparison(rows) for _, rows in comparisons))


def _comparison(rows: pd.DataFrame) -> RenderableType:
    return Group(_heading(rows), _body(rows), *_footing(rows))


def _heading(rows: pd.DataFrame) -> Text:
    first = rows.iloc[0]
    shape = "x".join(str(first[axis]) for axis in ("batch", "channels", "height", "width"))
    axes = [first[axis] for axis in ("dtype", "mode", "runtime", "layout")]
    where = f"{first['device']}: {first['device_name']}"
    if first["device"] == "cpu":
        where += f", {first['threads']} thread{'s' if first['threads'] > 1 else ''}"
    lines = [
        Text(" · ".join([shape, *axes, f"{first['cache']} cache"]), style="bold"),
        Text(f"{where} · torch {first['torch_version']}"),
    ]
    aa = rows[rows["verdict"] == "baseline"]
    if len(aa):
        low, high = aa.iloc[0]["aa_lo"], aa.iloc[0]["aa_hi"]
        ends = interval_text(1.0, _number(low), _number(high))
        lines.append(Text(f"A/A (the baseline against its own copy): {ends}"))
    return Text("\n").join(lines)


def _body(rows: pd.DataFrame) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    baseline = rows[rows["key"] == rows.iloc[0]["baseline"]].iloc[0]
    table.add_column("block")
    for name in ("params", "MACs", "latency", f"vs {_label(baseline)}", "95 % interval"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for name in ("x copy", "peak memory"):
        table.add_column(name, justify="right")
    for _, row in rows.iterrows():
        table.add_row(*_cells(row))
    return table


def _cells(row: "pd.Series[Any]") -> list[Text | str]:
    counted = [_scaled(row["params"], count_text), _scaled(row["macs"], count_text)]
    memory = _scaled(row["peak_memory_bytes"], size_text)
    if row["status"] != "ok":
        return [_label(row), *counted, Text(row["status"], style="red"), "", "", "", "", memory]
    latency, relative = _estimate(row, "latency_us"), _estimate(row, "relative")
    judged = row["verdict"] if isinstance(row["verdict"], str) else ""
    divided = judged not in ("", "baseline")
    return [
        _label(row),
        *counted,
        latency_text(*latency),
        (number_text(*relative) if divided else "1" if judged else ""),
        interval_text(*relative) if divided else "",
        Text(judged, style=_COLOURS.get(judged, "")),
        factor_text(row["copies"]),
        memory,
    ]


def _footing(rows: pd.DataFrame) -> Iterator[Text]:
    for _, row in rows[rows["reason"].notna()].iterrows():
        state = "" if row["status"] == "ok" else f" {row['status']}"
        yield Text(f"{_label(row)}{state}: {row['reason']}")
    for counter, group in rows.groupby("macs_counter", sort=False):
        operators = sorted(set(" ".join(group["uncounted_ops"].fillna("")).split()))
        yield Text(f"MACs by {counter}; not counted: {', '.join(operators) or 'nothing'}")
    timed = rows[rows["stopped_by"].notna()]
    if len(timed):
        yield Text(_ending(timed))
    words = dict.fromkeys(" ".join(rows["flags"].dropna()).split())
    for word in words:
        if word.startswith("far_out"):
            continue
        yield Text(_FLAG_WORDS.get(word, word))
    far = [
        f"{_label(row)} {word.partition('=')[2]} of {row['samples']}"
        for _, row in timed.iterrows()
        for word in str(row["flags"]).split()
        if word.startswith("far_out=")
    ]
    if far:
        yield Text(f"samples far out, kept all the same: {', '.join(far)}")


def _ending(timed: pd.DataFrame) -> str:
    replicates = timed["replicates"]
    fewest, most = int(replicates.min()), int(replicates.max())
    number = f"{fewest} to {most} replicates" if fewest < most else f"{most} replicates"
    number = "one replicate" if most == 1 else number
    if timed.iloc[0]["stopped_by"] == "precision":
        return f"stopped when the precision was reached, after {number}"
    return f"stopped when time was up, after {number}: --max-time gives narrower intervals"


def _label(row: "pd.Series[Any]") -> str:
    copy = str(row["key"]).rpartition("|")[2].partition("#")[2]
    ratio = "" if pd.isna(row["ratio"]) else f" r{row['ratio']}"
    return f"{row['spec']}{ratio}" + (f" #{copy}" if copy else "")


def _estimate(row: "pd.Series[Any]", name: str) -> tuple[float, float, float]:
    mid, lo, hi = _number(row[name]), _number(row[f"{name}_lo"]), _number(row[f"{name}_hi"])
    return (mid, lo, hi) if math.isfinite(hi - lo) else (mid, -math.inf, math.inf)


def _number(cell: Any) -> float:
    return math.nan if pd.isna(cell) else float(cell)


def _scaled(cell: Any, text: Any) -> str:
    return "" if pd.isna(cell) else text(int(cell))
