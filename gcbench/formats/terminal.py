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

from gcbench.disturbance import FLAG_WORDS
from gcbench.roofline import GRAPH_GAIN, HOST_SHARE, NEAR
from gcbench.units import (
    count_text,
    duration_text,
    factor_text,
    interval_text,
    latency_text,
    number_text,
    percent_text,
    size_text,
)

_COLOURS = {"faster": "green", "slower": "red", "unresolved": "yellow", "untrusted": "bold red"}
# the order in which columns are left out of a narrow terminal, last first
_OPTIONAL = (
    *("params", "MACs", "+params", "+MACs", "x copy", "images/s"),
    *("peak memory", "bound", "floor", "saved", "compile"),
)
# columns that stand even where every cell is empty
_ALWAYS = ("block", "params", "MACs", "latency", "relative", "95 % interval", "verdict")


def render(table: pd.DataFrame) -> str:
    """Write the tables as plain text of any width."""
    return plain(renderable(table))


def plain(laid_out: RenderableType) -> str:
    """Write what is laid out as plain text of any width, without trailing spaces."""
    out = io.StringIO()
    console = Console(file=out, width=200, color_system=None)
    console.print(laid_out)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def renderable(table: pd.DataFrame, width: int = 200) -> RenderableType:
    """Lay the tables out for a rich console of so many columns, one for each comparison.

    Where the width does not hold all columns, the last ones are left out, and that is said: numbers
    are never cut.
    """
    comparisons = table.groupby(["run", "comparison"], sort=False)
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
    if not pd.isna(first["network"]):
        shape = f"{first['network']} · {shape}"
    axes = [_values(rows, axis) for axis in ("dtype", "mode", "runtime", "layout", "cache")]
    where = f"{first['device']}: {first['device_name']}"
    if first["device"] == "cpu":
        threads = _values(rows, "threads")
        where += f", {threads} thread{'' if threads == '1' else 's'}"
    if (processes := rows["processes"].fillna(0).max()) > 1:
        where += f", {processes} fresh processes (intervals hold the median of each)"
    lines = [
        Text(" · ".join([shape, *axes[:-1], f"{axes[-1]} cache"]), style="bold"),
        Text(f"{where} · torch {first['torch_version']}"),
    ]
    aa = rows[rows["verdict"] == "baseline"]
    if len(aa):
        # of several baselines the one whose copy is farthest off
        ends = max(
            ((_number(row["aa_lo"]), _number(row["aa_hi"])) for _, row in aa.iterrows()), key=_reach
        )
        ends_text = interval_text(1.0, *ends)
        lines.append(Text(f"A/A (a baseline against its own copy): {ends_text}"))
    return Text("\n").join(lines)


def _reach(ends: tuple[float, float]) -> float:
    return max(abs(end - 1) for end in ends)


def _values(rows: pd.DataFrame, axis: str) -> str:
    """The values of an axis: more than one where it is paired."""
    return " and ".join(str(value) for value in rows[axis].unique())


def _body(rows: pd.DataFrame, left_out: Collection[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    baseline = rows[rows["key"] == rows.iloc[0]["baseline"]].iloc[0]
    pair = _pair(rows)
    lines = [_cells(row) for _, row in rows.iterrows()]
    if pair:
        lines = [
            {"block": line.pop("block"), pair: str(row[pair]), **line}
            for line, (_, row) in zip(lines, rows.iterrows(), strict=True)
        ]
    # a column that no row fills is none
    names = [
        n
        for n in lines[0]
        if n not in left_out and (n in _ALWAYS or any(line[n] for line in lines))
    ]
    for name in names:
        against = _label(baseline)
        if pair:
            against = f"threads {baseline[pair]}" if pair == "threads" else str(baseline[pair])
        heading = f"vs {against}" if name == "relative" else name
        side: Literal["left", "right"] = "left" if name in ("block", "verdict", pair) else "right"
        table.add_column(heading, justify=side, no_wrap=True)
    for line in lines:
        table.add_row(*(line[name] for name in names))
    return table


def _pair(rows: pd.DataFrame) -> str | None:
    pair = rows.iloc[0]["pair"]
    return None if pd.isna(pair) else str(pair)


def _cells(row: "pd.Series[Any]") -> dict[str, Text | str]:
    failed = row["status"] != "ok"
    latency, relative = _estimate(row, "latency_us"), _estimate(row, "relative")
    judged = row["verdict"] if isinstance(row["verdict"], str) else ""
    divided = judged not in ("", "baseline")
    # the plain network adds nothing, and a copy of its images is no measure of it
    inside = not pd.isna(row["network"]) and row["key"] != row["baseline"]
    return {
        "block": _label(row),
        "params": _scaled(row["params"], count_text),
        "+params": _scaled(row["params_added"], count_text) if inside else "",
        "MACs": _scaled(row["macs"], count_text),
        "+MACs": _scaled(row["macs_added"], count_text) if inside else "",
        "latency": Text(row["status"], style="red") if failed else _latency(*latency),
        "relative": number_text(*relative) if divided else "1" if judged else "",
        "95 % interval": interval_text(*relative) if divided else "",
        "verdict": Text(judged, style=_COLOURS.get(judged, "")),
        "x copy": "" if failed or not pd.isna(row["network"]) else factor_text(row["copies"]),
        "images/s": "" if pd.isna(row["images_per_s"]) else factor_text(row["images_per_s"]),
        "bound": "" if pd.isna(row["bound"]) else str(row["bound"]),
        "floor": "" if pd.isna(row["floor_fraction"]) else percent_text(row["floor_fraction"]),
        "peak memory": _scaled(row["peak_memory_bytes"], size_text),
        "saved": _scaled(row["saved_memory_bytes"], size_text),
        "compile": "" if pd.isna(row["compile_ms"]) else duration_text(row["compile_ms"]),
    }


def _footing(rows: pd.DataFrame) -> Iterator[Text]:
    for _, row in rows[rows["reason"].notna()].iterrows():
        state = "" if row["status"] == "ok" else f" {row['status']}"
        yield Text(f"{_full_label(row)}{state}: {row['reason']}")
    for counter, group in rows.groupby("macs_counter", sort=False):
        operators = sorted(set(" ".join(group["uncounted_ops"].fillna("")).split()))
        yield Text(f"MACs by {counter}; not counted: {', '.join(operators) or 'nothing'}")
    if rows["network"].notna().any():
        yield from _inside(rows)
    if (rows["mode"] != "infer").any():
        yield Text(
            "MACs are of one forward pass; saved is what it keeps for the backward pass beside "
            "its output, weights and input"
        )
    if rows["compile_ms"].notna().any():
        yield Text("compile is the first call less the second: it is in no latency")
    if (rows["memory_source"] == "predicted").any():
        yield Text("peak memory of what did not run is predicted")
    if rows["bound"].notna().any():
        yield Text(_bounds(rows))
    timed = rows[rows["stopped_by"].notna()]
    if len(timed):
        yield Text(_ending(timed))
    words = dict.fromkeys(" ".join(rows["flags"].dropna()).split())
    for word in words:
        if word.startswith("far_out"):
            continue
        yield Text(
            FLAG_WORDS.get(
                word, word.replace("graphs=", "graph breaks: compiled in parts, graphs=")
            )
        )
    far = [
        f"{_full_label(row)} {word.partition('=')[2]} of {row['samples']}"
        for _, row in timed.iterrows()
        for word in str(row["flags"]).split()
        if word.startswith("far_out=")
    ]
    if far:
        yield Text(f"samples far out, kept all the same: {', '.join(far)}")


def _inside(rows: pd.DataFrame) -> Iterator[Text]:
    for _, row in rows[rows["inserted"].fillna(0) > 0].iterrows():
        blocks = f"{row['inserted']} block{'s' if row['inserted'] > 1 else ''}"
        yield Text(f"{_label(row)}: {blocks}, behind {_shortened(str(row['inserted_at']))}")


def _shortened(paths: str) -> str:
    """A list of places, its middle left out where it is long."""
    known = paths.split()
    return ", ".join(known if len(known) <= 4 else [*known[:2], "...", known[-1]])


def _bounds(rows: pd.DataFrame) -> str:
    launch = (
        f"launch where the host needs {percent_text(HOST_SHARE)} of the time or a graph is "
        f"{GRAPH_GAIN:g} times as fast, "
    )
    floor = "; floor: the share of the least possible time in the latency"
    return (
        f"bound: {launch if rows['host_us'].notna().any() else ''}memory or compute from "
        f"{percent_text(NEAR)} of that ceiling on, else latency"
        f"{floor if rows['floor_us'].notna().any() else ''}; "
        f"ceilings: {', '.join(rows['peaks'].dropna().unique())}"
    )


def _ending(timed: pd.DataFrame) -> str:
    replicates = timed["replicates"]
    fewest, most = int(replicates.min()), int(replicates.max())
    number = f"{fewest} to {most} replicates" if fewest < most else f"{most} replicates"
    number = "one replicate" if most == 1 else number
    if timed.iloc[0]["stopped_by"] == "precision":
        return (
            f"stopped when the precision was reached, after {number}: "
            "a smaller --precision tells smaller differences"
        )
    divided = timed[timed["relative"].notna()]
    if divided["relative_lo"].isna().any():
        few = f"{number}, too few for an interval of every row"
        return f"stopped when time was up, after {few}: --max-time gives more"
    return f"stopped when time was up, after {number}: --max-time gives narrower intervals"


def _label(row: "pd.Series[Any]") -> str:
    copy = str(row["key"]).rpartition("|")[2].partition("#")[2]
    ratio = "" if pd.isna(row["ratio"]) else f" r{row['ratio']}"
    return f"{row['spec']}{ratio}" + (f" #{copy}" if copy else "")


def _full_label(row: "pd.Series[Any]") -> str:
    """The label, and the value of the paired axis where there is one."""
    if pd.isna(row["pair"]):
        return _label(row)
    return f"{_label(row)} ({row['pair']} {row[row['pair']]})"


def _latency(us: float, lo: float, hi: float) -> str:
    return "" if math.isnan(us) else latency_text(us, lo, hi)


def _estimate(row: "pd.Series[Any]", name: str) -> tuple[float, float, float]:
    mid, lo, hi = _number(row[name]), _number(row[f"{name}_lo"]), _number(row[f"{name}_hi"])
    return (mid, lo, hi) if math.isfinite(hi - lo) else (mid, -math.inf, math.inf)


def _number(cell: Any) -> float:
    return math.nan if pd.isna(cell) else float(cell)


def _scaled(cell: Any, text: Any) -> str:
    return "" if pd.isna(cell) else text(int(cell))
