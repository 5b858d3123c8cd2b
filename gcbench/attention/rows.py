"""What was seen and priced as rows: one a block, the CSV's columns in its order."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gcbench.attention import verdict
from gcbench.attention.readings import QUANTITIES, js_half_width, summary

if TYPE_CHECKING:
    from gcbench.attention.running import Seen

AttentionRow = dict[str, Any]

OF_QUANTITY = ("", "_sd", "_min", "_max", "_reason")
COLUMNS = (
    *("network", "weights", "state", "block", "kind", "detail"),
    *("channels", "height", "width", "queries", "keys", "heads", "batch", "dtype"),
    *("images", "image_height", "image_width", "image_names", "status", "reason"),
    *(f"{name}{end}" for name in QUANTITIES for end in OF_QUANTITY),
    *("js_pairs", "js_half_width"),
    *verdict.COLUMNS,
    *verdict.BESIDE,
    *("accuracy", "tested", "params_added", "macs_added"),
    *("device", "device_name", "threads", "seed", "gcbench_version", "torch_version"),
)


def row(cells: AttentionRow) -> AttentionRow:
    """Every column in its order, None where there is nothing."""
    return {column: cells.get(column) for column in COLUMNS}


def rows(
    seen: "Sequence[Seen]", prices: Sequence[verdict.Price], shared: AttentionRow
) -> list[AttentionRow]:
    """Make a row for each block that was seen; `shared` are the cells that all have."""
    return [
        row({**shared, **price, **_cells(each)}) for each, price in zip(seen, prices, strict=True)
    ]


def _cells(seen: "Seen") -> AttentionRow:
    found = seen.found
    cells: AttentionRow = {
        "block": found.path,
        "kind": found.kind.name,
        "detail": found.kind.load().detail(found.module),
        "queries": seen.queries,
        "keys": seen.keys,
        "heads": seen.heads,
        "status": "ok" if seen.readings else "error",
        "reason": None if seen.readings else seen.reason,
        "images": len(seen.readings),
    }
    if seen.shape:
        cells |= dict(zip(("batch", "channels", "height", "width"), seen.shape, strict=True))
        cells["dtype"] = seen.dtype
    if not seen.readings:
        return cells
    for name in QUANTITIES:
        over = summary(seen.readings, name)
        values = (over.mean, over.deviation, over.least, over.most, over.reason)
        cells |= {f"{name}{end}": value for end, value in zip(OF_QUANTITY, values, strict=True)}
    pairs = sum(reading.js_pairs for reading in seen.readings)
    return cells | {
        "js_pairs": pairs or None,
        "js_half_width": js_half_width(seen.readings) if pairs else None,
    }
