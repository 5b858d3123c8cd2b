"""What each part of a module costs: `gcbench count`."""

from collections.abc import Iterator, Sequence

from gcbench.anatomy import Anatomy, By, PartRow, rows
from gcbench.report.document import Document, Layout
from gcbench.stats.machine_flags import FLAG_WORDS
from gcbench.units import count_text, size_text

# a share below this is no digit
LEAST_SHARE = 0.0005


def document(anatomy: Anatomy, by: By, depth: int | None) -> Document:
    """A table of the whole and its parts, and a row for each."""
    return Document(
        title=anatomy.target,
        sections=lambda detail: [layout(anatomy, by, depth)],
        rows=lambda: rows(anatomy, by, depth),
        columns=(),
        about={
            "target": anatomy.target,
            "shape": anatomy.shape,
            "dtype": anatomy.dtype,
            "counted_on": anatomy.counted_on,
            "value_dependent": anatomy.value_dependent,
            "params": anatomy.whole.params,
            "macs": anatomy.whole.macs,
            "flops": 2 * anatomy.whole.macs,
            "peak_bytes": anatomy.peak_bytes,
            "uncounted_products": anatomy.whole.unknown,
        },
    )


def layout(anatomy: Anatomy, by: By, depth: int | None) -> Layout:
    """Lay a table out: the whole above it, a line a part."""
    whole, size = anatomy.whole, "x".join(map(str, anatomy.shape))
    lines = rows(anatomy, by, depth)
    cells = [
        {"module": _name(row, anatomy), **_of_module(row)} if by == "module" else _of_operator(row)
        for row in lines
    ]
    return Layout(
        heading=[
            f"{anatomy.target} · {size} · {anatomy.dtype} · one forward pass in eval",
            f"{whole.params:,} parameters · {whole.macs:,} MACs · {2 * whole.macs:,} FLOPs"
            f"{', and more' if whole.unknown else ''} · "
            f"peak memory {size_text(anatomy.peak_bytes)}",
        ],
        header=list(cells[0]) if cells else [],
        labels=2 if by == "module" else 1,
        lines=[list(line.values()) for line in cells],
        notes=list(_notes(anatomy, by, lines)),
        paths=[row["module"] or anatomy.target for row in lines] if by == "module" else (),
    )


def _name(row: PartRow, anatomy: Anatomy) -> str:
    """A module's name, set in below that of the one that it is in."""
    return f"{'  ' * row['depth']}{row['module'].rpartition('.')[2] or anatomy.target}"


def _of_module(row: PartRow) -> dict[str, str]:
    return {
        "kind": row["kind"],
        "params": _count(row["params"]),
        "MACs": _macs(row),
        "share": _share(row["share"]),
        "activations": size_text(row["activation_bytes"]) if row["activation_bytes"] else "",
        "output": row["output"] or "",
        "calls": str(row["calls"]) if row["calls"] != 1 else "",
    }


def _of_operator(row: PartRow) -> dict[str, str]:
    return {
        "operator": row["operator"],
        "calls": str(row["calls"]),
        "MACs": "not counted" if row["macs"] is None else _count(row["macs"]),
        "share": _share(row["share"]),
        "activations": size_text(row["activation_bytes"]) if row["activation_bytes"] else "",
    }


def _count(number: int) -> str:
    return count_text(number) if number else ""


def _macs(row: PartRow) -> str:
    """MACs as a person reads them; a plus where products are not counted."""
    more = " + ?" if row["uncounted_products"] else ""
    return f"{count_text(row['macs'])}{more}" if row["macs"] or more else ""


def _share(share: float) -> str:
    if share < LEAST_SHARE:
        return ""
    return f"{100 * share:.1f} %"


def _notes(anatomy: Anatomy, by: By, lines: Sequence[PartRow]) -> Iterator[str]:
    if anatomy.whole.unknown:
        yield f"not counted, and may multiply matrices: {', '.join(anatomy.whole.unknown)}"
    if anatomy.value_dependent:
        yield FLAG_WORDS["value_dependent"]
    if by == "module" and any(row["calls"] == 0 and row["params"] for row in lines):
        yield "0 calls: never called, or inside a fused operator of the module above"
