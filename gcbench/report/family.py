"""The family of blocks, and what they cost at one shape."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gcbench.records import Cell
from gcbench.report.document import Document, Layout
from gcbench.units import count_text, latency_text, size_text

FamilyRow = Mapping[str, Cell]

COST_COLUMNS = (
    *("block", "spec", "ratio", "batch", "channels", "height", "width", "params", "macs"),
    *(
        "min_bytes",
        "floor_us",
        "floor_flags",
        "growth_n",
        "growth_c",
        "macs_counter",
        "status",
        "reason",
    ),
)


def places(rows: Sequence[FamilyRow], notes: Sequence[str]) -> Document:
    """The family: a row for each block, with its place and the order of its MACs."""
    # a description of the block names its source
    names = [name for name in rows[0] if name != "source"]
    header = [name if name != "order" else "MACs" for name in names]
    # what an announced block is takes more room than a place
    placed, others = ([row for row in rows if bool(row["order"]) == own] for own in (True, False))
    announced = [f"{row['block']} is {row['context']}" for row in others]
    lines = [[str(row[name] or "") for name in names] for row in placed]
    return Document(
        title="blocks",
        sections=lambda detail: [
            Layout([], header, len(header), lines, [*announced, *notes]),
        ],
        rows=lambda: rows,
        columns=tuple(rows[0]),
    )


def costs(rows: Sequence[FamilyRow]) -> Document:
    """What blocks cost at one shape."""
    return Document(
        title="what blocks cost",
        sections=lambda detail: [_costs(rows)],
        rows=lambda: rows,
        columns=COST_COLUMNS,
    )


def _costs(rows: Sequence[FamilyRow]) -> Layout:
    # the tables of measurements load what a list of names has no use for
    from gcbench.report.below import failures

    shape = "x".join(str(rows[0][side]) for side in ("batch", "channels", "height", "width"))
    lines = [_cells(row) for row in rows]
    always = ("block", "params", "MACs")
    names = [n for n in lines[0] if n in always or any(line[n] for line in lines)]
    notes = ["in N, in C: exponents of the MACs' growth to twice the sides, and the channels"]
    if "floor" in names:
        flags = rows[0]["floor_flags"]
        busy = f", measured while the machine was busy ({flags}); rerun gcbench peaks"
        notes.append(f"floor: least time on this machine, by its kept ceilings{busy * bool(flags)}")
    else:
        notes.append("no floor: this machine's ceilings are not known; gcbench peaks measures them")
    called = [str(row["spec"]) for row in rows if row["macs_counter"] not in ("formula", None)]
    if called:
        notes.append(f"counted by a call, not by a closed form: {', '.join(dict.fromkeys(called))}")
    return Layout(
        [f"{shape} · float32 · infer · counted on paper"],
        names,
        1,
        [[line[name] for name in names] for line in lines],
        [*notes, *failures([dict(row) for row in rows])],
    )


def _cells(row: FamilyRow) -> dict[str, str]:
    ratio = "" if row["ratio"] is None else f" r{row['ratio']}"
    return {
        "block": f"{row['spec']}{ratio}",
        "params": _scaled(row["params"], count_text),
        "MACs": _scaled(row["macs"], count_text),
        "bytes": _scaled(row["min_bytes"], size_text),
        "floor": _scaled(row["floor_us"], lambda us: latency_text(us, us * 0.99, us * 1.01)),
        "in N": _scaled(row["growth_n"], "{:.2f}".format),
        "in C": _scaled(row["growth_c"], "{:.2f}".format),
        "status": "" if row["status"] == "ok" else str(row["status"]),
    }


def _scaled(cell: Cell, text: Callable[[Any], str]) -> str:
    return "" if cell is None else text(cell)
