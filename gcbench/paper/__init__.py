"""The GCNet paper's tables as data, and every printed cell beside what gcbench derives now."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gcbench.paper.printed import TABLES, TRANSCRIBED, PaperTable, PrintedRow, table_of

if TYPE_CHECKING:
    import pandas as pd

    from gcbench.paper.deriving import Derived

__all__ = ["COLUMNS", "TABLES", "PaperTable", "frame", "table_of"]

COLUMNS = (
    *("table", "row", "network", "insert", "height", "width", "inserted"),
    *("params_printed_m", "params", "params_difference", "params_agree"),
    *("macs_printed_g", "macs", "macs_difference"),
    *("macs_added_printed_g", "macs_added", "macs_added_difference", "macs_agree"),
    *("latency_printed_ms", "relative_printed", "latency_us", "latency_us_lo", "latency_us_hi"),
    *("relative", "relative_lo", "relative_hi", "verdict", "status", "reason", "flags", "why"),
    *("device", "device_name", "timed_height", "timed_width", "summary", "note", "remark"),
)
# of the CSV of a timed case, and what they are called here
TIMED = {
    **{name: name for name in ("latency_us", "latency_us_lo", "latency_us_hi", "relative")},
    **{name: name for name in ("relative_lo", "relative_hi", "verdict", "status", "reason")},
    **{name: name for name in ("flags", "device", "device_name")},
    "height": "timed_height",
    "width": "timed_width",
}
# printed MACs of detectors are differences of two cells, each rounded
_TWO_ROUNDINGS = 2


def frame(
    tables: Sequence[PaperTable], timed: "Sequence[Mapping[str, Any]] | None" = None
) -> "pd.DataFrame":
    """Make one row for each of the tables' rows: printed cells, derived cells, and differences.

    `timed` are the rows of the CSV for each of them, in their order, where they were timed.

    A difference is derived less printed. `params_agree` is whether the derived cell has the
    printed digits; `macs_agree` the same or, for detectors, whether what is added can have been
    rounded to what the printed cells differ by. `why` is a sentence wherever one does not.
    """
    import pandas as pd

    rows = [cells for table in tables for cells in _rows(table)]
    for cells, measured in zip(rows, timed or (), strict=False):
        cells |= {here: measured[there] for there, here in TIMED.items()}
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)


def _rows(table: PaperTable) -> list[dict[str, Any]]:
    from gcbench.paper.deriving import derive

    found = []
    plain = table.rows[0]
    for row in table.rows:
        if row.network != plain.network or row.insert is None:
            plain = row
        derived, base = (derive(each, table.size, table.whole) for each in (row, plain))
        cells = {
            "table": table.name,
            "row": row.label,
            "network": row.network,
            "insert": row.insert,
            "height": table.size[0],
            "width": table.size[1],
            "inserted": derived.inserted,
            **_parameters(row, derived),
            **_macs(row, plain, derived, base, table.whole),
            **_latency(row, plain),
        }
        why = _why(row, cells, derived, base)
        said = {"summary": table.summary, "note": TRANSCRIBED, "remark": table.remark or None}
        found.append({**cells, "why": why, **said})
    return found


def _parameters(row: PrintedRow, derived: "Derived") -> dict[str, Any]:
    return {
        "params_printed_m": row.params,
        "params": derived.params,
        "params_difference": _less(derived.params, row.params, 1e6),
        "params_agree": _rounded(derived.params / 1e6, row.params),
    }


def _macs(
    row: PrintedRow, plain: PrintedRow, derived: "Derived", base: "Derived", whole: bool
) -> dict[str, Any]:
    added = derived.macs - base.macs
    cells: dict[str, Any] = {
        "macs_printed_g": row.macs,
        "macs": derived.macs,
        "macs_difference": _less(derived.macs, row.macs, 1e9),
        "macs_added": added,
        "macs_agree": _rounded(derived.macs / 1e9, row.macs),
    }
    if row.macs is None or plain.macs is None:
        return cells
    digits = _digits(row.macs)
    printed = f"{float(row.macs) - float(plain.macs):.{digits}f}"
    cells["macs_added_printed_g"] = printed
    cells["macs_added_difference"] = _less(added, printed, 1e9)
    if whole:
        allowed = _TWO_ROUNDINGS * 0.5 * 10**-digits
        cells["macs_agree"] = abs(added / 1e9 - float(printed)) <= allowed
    return cells


def _latency(row: PrintedRow, plain: PrintedRow) -> dict[str, Any]:
    if row.latency_ms is None or plain.latency_ms is None:
        return {}
    relative = float(row.latency_ms) / float(plain.latency_ms)
    return {"latency_printed_ms": row.latency_ms, "relative_printed": relative}


def _why(row: PrintedRow, cells: dict[str, Any], derived: "Derived", base: "Derived") -> str | None:
    """Say why printed and derived cells differ, where they do."""
    said = []
    if cells["params_agree"] is False:
        said.append(_why_not_rounded(row.params or "", derived.params))
    if row.insert is None and row.macs and not _rounded(derived.macs / 1e9, row.macs):
        apart = abs(cells["macs_difference"]) / 1e9
        said.append(
            f"absolute MACs are {apart:.1f}G apart, in every row alike but for rounding: see below"
        )
    if cells["macs_agree"] is False:
        products = (derived.macs - derived.conv_macs) - (base.macs - base.conv_macs)
        without = (derived.macs - products) / 1e9
        said.append((row.why or "unexplained").format(macs=derived.macs / 1e9, without=without))
    return "; ".join(said) or None


def _why_not_rounded(printed: str, params: int) -> str:
    digits = _digits(printed)
    exact = params / 1e6
    if f"{exact - 0.5 * 10**-digits:.{digits}f}" == printed:
        return f"{params:,} round to {exact:.{digits}f}M: {printed}M has the digits cut off instead"
    return f"{params:,} parameters are {exact:.{digits}f}M, and nothing explains {printed}M"


def _less(derived: int, printed: str | None, unit: float) -> int | None:
    return None if printed is None else derived - round(float(printed) * unit)


def _rounded(value: float, printed: str | None) -> bool | None:
    return None if printed is None else f"{value:.{_digits(printed)}f}" == printed


def _digits(printed: str) -> int:
    return len(printed.partition(".")[2])
