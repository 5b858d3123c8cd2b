"""What a table for people says of a comparison, before any format writes it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from rich.cells import cell_len

from gcbench.disturbance import FLAG_WORDS, OF_BLOCKS
from gcbench.formats.cells import estimate, shown
from gcbench.formats.order import Ordered
from gcbench.formats.provenance import devices, floor_text, made_with
from gcbench.formats.text import printable
from gcbench.labels import (
    AXES,
    axes_text,
    axis_word,
    full_label,
    label,
    label_of_key,
    shared,
    unusual,
)
from gcbench.roofline import GRAPH_GAIN, HOST_SHARE, NEAR
from gcbench.tables import Row
from gcbench.units import count_text, counted, interval_text, percent_text

# columns that stand even where every cell is empty; the second ones only where something was timed
_ALWAYS = ("block", "params", "MACs")
REASONS_TOLD = 5
_OF_TIME = ("latency", "relative", "95 % interval", "verdict")


class Legend(str):
    """A note that explains columns: what of it is said depends on which of them stand.

    `parts` are its pieces in their order, each with the column that it is about.
    """

    parts: Sequence[tuple[str, str]]

    def __new__(cls, *parts: tuple[str, str]) -> "Legend":
        """Join the pieces."""
        made = super().__new__(cls, "; ".join(text for _, text in parts))
        made.parts = parts
        return made

    def about(self, header: Sequence[str]) -> "Legend | None":
        """The same of these columns alone; None where it is about none of them."""
        kept = [part for part in self.parts if part[0] in header]
        return Legend(*kept) if kept else None


@dataclass(frozen=True)
class Layout:
    """Text for a table: lines above it, a header, lines of cells, and notes below it.

    The first `labels` columns name their line and stand to the left, as the verdict does. Without a
    header there is no table, only what stands above and below it.
    """

    heading: Sequence[str]
    header: Sequence[str]
    labels: int
    lines: Sequence[Sequence[str]]
    notes: Sequence[str]

    def is_left(self, column: int) -> bool:
        """Whether a column stands to the left."""
        return column < self.labels or self.header[column] == "verdict"


def comparisons(rows: Iterable[Row], node: str) -> Iterator[Layout]:
    """Lay out each comparison of a run; rows in an order across comparisons as one table.

    What was not measured on the run's own node says where.
    """
    if isinstance(rows, Ordered) and len({row["comparison"] for row in rows}) > 1:
        yield listed(rows)
        return
    for _, group in groupby(rows, lambda row: row["comparison"]):
        yield laid_out(list(group), node)


def laid_out(rows: Sequence[Row], node: str | None = None) -> Layout:
    """Lay out the rows of one comparison; its node is named where it is another than `node`."""
    pair = rows[0]["pair"]
    lines = [_cells(row, pair) for row in rows]
    names = _filled(lines)
    return Layout(
        heading=_heading(rows, node),
        header=[f"vs {_against(rows)}" if name == "relative" else name for name in names],
        labels=2 if pair else 1,
        lines=[[line[name] for name in names] for line in lines],
        notes=list(_notes(rows)),
    )


def listed(rows: Sequence[Row]) -> Layout:
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
        notes=[*failures(rows), *_counters(rows), *_flags(rows, told_each=False)],
    )


def _filled(lines: Sequence[Mapping[str, str]]) -> list[str]:
    """The columns to show: one that no row fills is none, except where that says something."""
    timed = any(line["latency"] for line in lines)
    always = (*_ALWAYS, *(_OF_TIME if timed else ()))
    return [name for name in lines[0] if name in always or any(line[name] for line in lines)]


def failures(rows: Iterable[Row]) -> Iterator[str]:
    """Why cases failed, the commonest reasons first, with how many they are."""
    failed = Counter(
        (row["status"], row["reason"] or "no reason was kept")
        for row in rows
        if row["status"] != "ok"
    )
    for (status, reason), times in failed.most_common(REASONS_TOLD):
        yield f"{status} ({times}): {reason}"
    if len(failed) > REASONS_TOLD:
        yield f"and {counted(len(failed) - REASONS_TOLD, 'more reason')} (--csv FILE has all)"


def widths_of(layout: Layout) -> list[int]:
    """How wide each column is, in letters of a terminal."""
    columns = zip(layout.header, *layout.lines, strict=True)
    return [max(cell_len(printable(cell)) for cell in column) for column in columns]


def banks(layout: Layout, width: int, gap: str) -> Iterator[Layout]:
    """Share the columns out among tables that are no wider than so many letters."""
    widths = [each + len(gap) for each in widths_of(layout)]
    labels = list(range(layout.labels))
    bank: list[int] = []
    for column in range(layout.labels, len(widths)):
        if bank and sum(widths[each] for each in (*labels, *bank, column)) - len(gap) > width:
            yield chosen(layout, [*labels, *bank])
            bank = []
        bank.append(column)
    yield chosen(layout, [*labels, *bank])


def chosen(layout: Layout, columns: Sequence[int]) -> Layout:
    """The same with these columns alone, and without the legends of the others."""
    header = [layout.header[column] for column in columns]
    notes = (n.about(header) if isinstance(n, Legend) else n for n in layout.notes)
    return replace(
        layout,
        header=header,
        lines=[[line[column] for column in columns] for line in layout.lines],
        notes=[note for note in notes if note is not None],
    )


def _heading(rows: Sequence[Row], node: str | None) -> list[str]:
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
        + ("" if node in (None, first["node"]) else f" · node {first['node']}"),
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
    doubt = " ?" if {"peaks_busy", "above_ceiling"} & set((row["flags"] or "").split()) else ""
    adds = row["network"] and row["key"] != row["baseline"]
    return {
        "block": label(row),
        **({pair: str(row[pair])} if pair else {}),
        "params": shown(row, "params"),
        "+params": shown(row, "params_added") if adds else "",
        "MACs": shown(row, "macs"),
        "+MACs": shown(row, "macs_added") if adds else "",
        "latency": shown(row, "latency_us") if row["status"] == "ok" else row["status"],
        "relative": shown(row, "relative"),
        "95 % interval": interval_text(*estimate(row, "relative")) if divided else "",
        "verdict": judged,
        "x copy": "" if row["network"] else shown(row, "copies"),
        "images/s": shown(row, "images_per_s"),
        "bound": f"{row['bound'] or ''}{doubt if row['bound'] else ''}",
        "floor": f"{floor}{doubt if floor else ''}",
        "peak memory": shown(row, "peak_memory_bytes"),
        "saved": shown(row, "saved_memory_bytes"),
        "compile": shown(row, "compile_ms"),
    }


def _notes(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        if row["reason"]:
            state = "" if row["status"] == "ok" else f" {row['status']}"
            yield f"{full_label(row)}{state}: {row['reason']}"
    yield from _counters(rows)
    yield from _inside(rows)
    if any(row["mode"] != "infer" for row in rows):
        yield Legend(
            ("MACs", "MACs are of one forward pass"),
            (
                "saved",
                "saved is what it keeps for the backward pass beside its output, weights and input",
            ),
        )
    if any(row["compile_ms"] is not None for row in rows):
        yield Legend(("compile", "compile is the first call less the second: it is in no latency"))
    if any(row["memory_source"] == "predicted" for row in rows):
        yield Legend(("peak memory", "peak memory of what did not run is predicted"))
    if any(row["bound"] for row in rows):
        yield _bounds(rows)
    timed = [row for row in rows if row["stopped_by"]]
    if timed:
        yield _ending(timed)
    yield from _flags(rows)


def _counters(rows: Sequence[Row]) -> Iterator[str]:
    """Who counted the MACs, which products were not counted, and who counts otherwise."""
    counters = dict.fromkeys(row["macs_counter"] for row in rows if row["macs_counter"])
    if counters:
        yield f"MACs by {', '.join(counters)}"
    uncounted = [
        f"{full_label(row)} {row['uncounted_products']}"
        for row in rows
        if row["uncounted_products"]
    ]
    if uncounted:
        yield f"not counted, and may multiply matrices: {', '.join(uncounted)}"
    others = [told for row in rows if (told := _otherwise(row))]
    if others:
        yield f"other counters differ: {'; '.join(others)}"


def _otherwise(row: Row) -> str:
    """What other counters say of a row's MACs, where one differs."""
    said = {name.removeprefix("macs_"): row[name] for name in ("macs_fvcore", "macs_torch")}
    differ = {name: macs for name, macs in said.items() if macs not in (None, row["macs"])}
    if row["macs"] is None or not differ:
        return ""
    counts = {row["macs_counter"]: row["macs"], **differ}
    told = ", ".join(f"{count_text(macs)} by {name}" for name, macs in counts.items())
    return f"{full_label(row)} {told}"


def _inside(rows: Sequence[Row]) -> Iterator[str]:
    """Where in a network the blocks of each row stand."""
    for row in rows:
        if row["inserted"]:
            blocks = f"{row['inserted']} block{'s' if row['inserted'] > 1 else ''}"
            yield f"{label(row)}: {blocks}, behind {_shortened(row['inserted_at'])}"


def _shortened(paths: str) -> str:
    """A list of places, its middle left out where it is long."""
    known = paths.split()
    return ", ".join(known if len(known) <= 4 else [*known[:2], "...", known[-1]])


def _flags(rows: Sequence[Row], told_each: bool = True) -> Iterator[str]:
    """Flags in words; which rows have samples far out only where each is to be told."""
    words = [(row, word) for row in rows for word in (row["flags"] or "").split()]
    for word in dict.fromkeys(word for _, word in words):
        # whose counts differ is told with the counts
        if not word.startswith("far_out") and word != "counters_disagree":
            parts = word.replace("graphs=", "graph breaks: compiled in parts, graphs=")
            whose = [label(row) for row, own in words if own == word and word in OF_BLOCKS]
            yield (
                f"{', '.join(whose)}: {FLAG_WORDS[word]}" if whose else FLAG_WORDS.get(word, parts)
            )
    far = [
        f"{full_label(row)} {word.partition('=')[2]} of {row['samples']}"
        for row, word in words
        if word.startswith("far_out=")
    ]
    if far and told_each:
        yield f"samples far out, kept all the same: {', '.join(far)}"


def kernels_told(rows: Iterable[Row]) -> Iterator[str]:
    """Name the kernels of a call that take longest, for each row: known of CUDA alone."""
    told = False
    for row in rows:
        if row["kernels_per_call"] is None:
            continue
        told = True
        yield f"{full_label(row)}: {counted(row['kernels_per_call'], 'kernel')} per call, longest:"
        for kernel in row["top_kernels"].split("; "):
            yield f"  {printable(kernel)}"
    if not told:
        yield "kernels: none known; they are counted on CUDA"


def _bounds(rows: Sequence[Row]) -> Legend:
    launch = (
        f"launch where the host needs {percent_text(HOST_SHARE)} of the time or a graph is "
        f"{GRAPH_GAIN:g} times as fast, "
    )
    launched = any(row["host_us"] is not None for row in rows)
    bound = (
        f"bound: {launch if launched else ''}memory or "
        f"compute from {percent_text(NEAR)} of that ceiling on, else latency"
    )
    floor = ("floor", "floor: the share of the least possible time in the latency")
    ceilings = ", ".join(dict.fromkeys(row["peaks"] for row in rows if row["peaks"]))
    return Legend(
        ("bound", bound),
        *([floor] if any(row["floor_us"] is not None for row in rows) else []),
        ("bound", f"ceilings: {ceilings}"),
    )


def _ending(timed: Sequence[Row]) -> str:
    replicates = [row["replicates"] for row in timed]
    fewest, most = min(replicates), max(replicates)
    number = f"{fewest} to {most} replicates" if fewest < most else f"{most} replicates"
    number = "one replicate" if most == 1 else number
    if timed[0]["stopped_by"] == "precision":
        return (
            f"stopped when the precision was reached, after {number}: "
            "a smaller --precision tells smaller differences"
        )
    if any(row["relative"] is not None and row["relative_lo"] is None for row in timed):
        few = f"{number}, too few for an interval of every row"
        return f"stopped when time was up, after {few}: --max-time gives more"
    return f"stopped when time was up, after {number}: --max-time gives narrower intervals"
