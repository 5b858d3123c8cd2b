"""The table that a person sees first: one for each comparison, with what it rests on."""

import io
import math
from collections.abc import Collection, Iterator
from typing import Any, Literal

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
# the order in which columns are left out of a narrow terminal, last first
_OPTIONAL = ("params", "MACs", "x copy", "peak memory")
_FLAG_WORDS = {
    "steal": "the host took more than 2 % of the time for others (steal): expect wide intervals",
    "low_cpu_share": "the process had under 90 % of a core (low_cpu_share): something else ran",
    "drift": "latencies drifted by more than 10 % (drift): the ratios are paired and stand it",
    "contended": "a median latency is over 3 times the fastest sample (contended): "
    "threads waited for cores, so free the machine or try a smaller --threads",
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


def renderable(table: pd.DataFrame, width: int = 200) -> RenderableType:
    """Lay the tables out for a rich console of so many columns, one for each comparison.

    Where the width does not hold all columns, the last ones are left out, and that is said: numbers
    are never cut.
    """
    shared = list(SHARED_AXES)
    comparisons = table.groupby(shared, sort=False, dropna=False)
    return Group(*(_comparison(rows, width) for _, rows in comparisons))


def _comparison(rows: pd.DataFrame, width: int) -> RenderableType:
    console = Console(width=1000)
    left_out: list[str] = []
    body = _body(rows, left_out)
    for name in (*reversed(_OPTIONAL), ""):
        if not name or console.measure(body).maximum <= width:
            break
        left_out.append(name)
        body = _body(rows, left_out)
    notes = [Text(f"too narrow for {', '.join(left_out)}: --csv has them")] if left_out else []
    return Group(_heading(rows), body, *_footing(rows), *notes)


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


def _body(rows: pd.DataFrame, left_out: Collection[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    baseline = rows[rows["key"] == rows.iloc[0]["baseline"]].iloc[0]
    lines = [_cells(row) for _, row in rows.iterrows()]
    names = [name for name in lines[0] if name not in left_out]
    for name in names:
        heading = f"vs {_label(baseline)}" if name == "relative" else name
        side: Literal["left", "right"] = "left" if name in ("block", "verdict") else "right"
        table.add_column(heading, justify=side, no_wrap=True)
    for line in lines:
        table.add_row(*(line[name] for name in names))
    return table


def _cells(row: "pd.Series[Any]") -> dict[str, Text | str]:
    failed = row["status"] != "ok"
    latency, relative = _estimate(row, "latency_us"), _estimate(row, "relative")
    judged = row["verdict"] if isinstance(row["verdict"], str) else ""
    divided = judged not in ("", "baseline")
    return {
        "block": _label(row),
        "params": _scaled(row["params"], count_text),
        "MACs": _scaled(row["macs"], count_text),
        "latency": Text(row["status"], style="red") if failed else latency_text(*latency),
        "relative": number_text(*relative) if divided else "1" if judged else "",
        "95 % interval": interval_text(*relative) if divided else "",
        "verdict": Text(judged, style=_COLOURS.get(judged, "")),
        "x copy": "" if failed else factor_text(row["copies"]),
        "peak memory": _scaled(row["peak_memory_bytes"], size_text),
    }


def _footing(rows: pd.DataFrame) -> Iterator[Text]:
    for _, row in rows[rows["reason"].notna()].iterrows():
        state = "" if row["status"] == "ok" else f" {row['status']}"
        yield Text(f"{_label(row)}{state}: {row['reason']}")
    for counter, group in rows.groupby("macs_counter", sort=False):
        operators = sorted(set(" ".join(group["uncounted_ops"].fillna("")).split()))
        yield Text(f"MACs by {counter}; not counted: {', '.join(operators) or 'nothing'}")
    if rows.iloc[0]["mode"] != "infer":
        yield Text("MACs are of one forward pass; peak memory is predicted in mode infer only")
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
