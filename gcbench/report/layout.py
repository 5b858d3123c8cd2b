"""What a table for people says of a comparison, before any format writes it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from gcbench.records import Manifest
from gcbench.report import below
from gcbench.report.cells import estimate, shown
from gcbench.report.detail import Detail
from gcbench.report.document import Layout
from gcbench.report.order import Ordered
from gcbench.report.provenance import devices, floor_text, made_with
from gcbench.results.tables import Row
from gcbench.spec.labels import AXES, axes_text, axis_word, label, label_of_key, shared, unusual
from gcbench.units import interval_text

# columns that stand even where every cell is empty; the second ones only where something was timed
_ALWAYS = ("block", "params", "MACs")
REASONS_TOLD = 5
# behind a time, or a ratio of times, that holds waiting for a core
DISTURBED_MARK = " ~"
# what a narrow terminal leaves out, the last first
_OPTIONAL = (
    *("params", "MACs", "+params", "+MACs", "x copy", "images/s"),
    *("peak memory", "bound", "floor", "saved", "compile", "export", "load"),
)
_OF_TIME = ("latency", "relative", "95 % interval", "verdict")


def comparisons(
    rows: Iterable[Row], manifest: Manifest, detail: Detail = Detail.CAUSES
) -> Iterator[Layout]:
    """Lay out each comparison of a run; rows in an order across comparisons as one table.

    What was not measured on the run's own node says where.
    """
    if isinstance(rows, Ordered) and len({row["comparison"] for row in rows}) > 1:
        yield listed(rows, manifest, detail)
        return
    for _, group in groupby(rows, lambda row: row["comparison"]):
        yield laid_out(list(group), manifest, detail)


def laid_out(
    rows: Sequence[Row], manifest: Manifest | None = None, detail: Detail = Detail.CAUSES
) -> Layout:
    """Lay out the rows of one comparison.

    Its node is named where it is another than that of the run's `manifest`.
    """
    pair = rows[0]["pair"]
    lines = [_cells(row, pair) for row in rows]
    names = _filled(lines)
    return Layout(
        heading=_heading(rows, manifest),
        header=[f"vs {_against(rows)}" if name == "relative" else name for name in names],
        labels=2 if pair else 1,
        lines=[[line[name] for name in names] for line in lines],
        notes=below.of_comparison(rows, _own(rows, manifest), detail),
        optional=_OPTIONAL,
    )


def listed(
    rows: Sequence[Row], manifest: Manifest | None = None, detail: Detail = Detail.CAUSES
) -> Layout:
    """Lay out rows of several comparisons as one table, with a column for every axis that varies.

    What is said below is what holds for all of them; reasons of failures are counted.
    """
    alike = shared(rows)
    axes = [axis for axis in AXES if axis not in alike]
    if len({row["network"] for row in rows}) > 1:
        axes.append("network")
    lines = [
        {"block": label(row), **{axis: axis_word(row, axis) for axis in axes}, **_cells(row, None)}
        for row in rows
    ]
    names = _filled(lines)
    baselines = {label_of_key(row["baseline"], row["network"]) for row in rows}
    against = (
        "relative"
        if len(baselines) > 1 or any(row["pair"] for row in rows)
        else f"vs {baselines.pop()}"
    )
    copies = floor_text(rows)
    return Layout(
        heading=[
            axes_text(alike),
            f"{devices(rows)} · {made_with(rows)}",
            *([copies] if copies else []),
        ],
        header=[against if name == "relative" else name for name in names],
        labels=1 + len(axes),
        lines=[[line[name] for name in names] for line in lines],
        notes=below.of_several(rows, _own(rows, manifest), detail),
        optional=_OPTIONAL,
    )


def _filled(lines: Sequence[Mapping[str, str]]) -> list[str]:
    """The columns to show: one that no row fills is none, except where that says something."""
    timed = any(line["latency"] for line in lines)
    always = (*_ALWAYS, *(_OF_TIME if timed else ()))
    return [name for name in lines[0] if name in always or any(line[name] for line in lines)]


def _own(rows: Sequence[Row], manifest: Manifest | None) -> Manifest | None:
    """The manifest, where it is of the machine that measured the rows."""
    return manifest if manifest and {row["node"] for row in rows} == {manifest.node} else None


def _heading(rows: Sequence[Row], manifest: Manifest | None) -> list[str]:
    first = rows[0]
    shape = "x".join(str(first[axis]) for axis in ("batch", "channels", "height", "width"))
    if first["network"]:
        shape = f"{first['network']} · {shape}"
    axes = [_values(rows, axis) for axis in ("dtype", "mode", "runtime", "layout", "cache")]
    regime = unusual({"regime": first["regime"]}).values()
    where = f"{first['device']}: {first['device_name']}"
    if first["device"] == "cpu":
        threads = _values(rows, "threads")
        where += f", {threads} thread{'' if threads == '1' else 's'}"
    if (processes := max(row["processes"] or 0 for row in rows)) > 1:
        where += f", {processes} fresh processes (intervals hold the median of each)"
    lines = [
        " · ".join([shape, *axes[:-1], f"{axes[-1]} cache", *regime]),
        f"{where} · {made_with(rows)}"
        + ("" if manifest is None or _own(rows, manifest) else f" · node {first['node']}"),
    ]
    copies = floor_text(rows)
    return [*lines, copies] if copies else lines


def _values(rows: Sequence[Row], axis: str) -> str:
    """The values of an axis: more than one where it is paired."""
    return " and ".join(dict.fromkeys(str(row[axis]) for row in rows))


def _against(rows: Sequence[Row]) -> str:
    key, pair = rows[0]["baseline"], rows[0]["pair"]
    if not pair:
        return label_of_key(key, rows[0]["network"])
    value = next((row[pair] for row in rows if row["key"] == key), "first")
    return f"threads {value}" if pair == "threads" else str(value)


def _cells(row: Row, pair: str | None) -> dict[str, str]:
    judged = row["verdict"] or ""
    divided = judged not in ("", "baseline")
    # the plain network adds nothing, and a copy of its images is no measure of it
    floor = shown(row, "floor_fraction")
    flags = set((row["flags"] or "").split())
    doubt = " ?" if {"peaks_busy", "above_ceiling"} & flags else ""
    wait = DISTURBED_MARK if "disturbed" in flags else ""
    adds = row["network"] and row["key"] != row["baseline"]
    return {
        "block": label(row),
        **({pair: str(row[pair])} if pair else {}),
        "params": shown(row, "params"),
        "+params": shown(row, "params_added") if adds else "",
        "MACs": shown(row, "macs"),
        "+MACs": shown(row, "macs_added") if adds else "",
        "latency": f"{shown(row, 'latency_us')}{wait}" if row["status"] == "ok" else row["status"],
        "relative": shown(row, "relative"),
        "95 % interval": interval_text(*estimate(row, "relative")) if divided else "",
        "verdict": judged.replace("_", " "),
        "x copy": "" if row["network"] else shown(row, "copies"),
        # of one image it says no more than the latency
        "images/s": shown(row, "images_per_s") if row["network"] or row["batch"] > 1 else "",
        "bound": f"{row['bound'] or ''}{doubt if row['bound'] else ''}",
        "floor": f"{floor}{doubt if floor else ''}",
        "peak memory": shown(row, "peak_memory_bytes"),
        "saved": shown(row, "saved_memory_bytes"),
        "compile": shown(row, "compile_ms"),
        "export": shown(row, "export_s"),
        "load": shown(row, "load_ms"),
    }
