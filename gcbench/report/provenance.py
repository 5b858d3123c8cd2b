"""What numbers rest on: where, when and with what they were measured, and how far copies differ."""

import math
from collections.abc import Sequence

from gcbench.records import Cell
from gcbench.results.tables import Row
from gcbench.spec.labels import label_of_key, shared, unusual
from gcbench.units import interval_text

# what a pivot that is no table for people carries beside the axes that all its rows share
CARRIED = ("device_name", "torch_version", "gcbench_version", "started")


def made_with(rows: Sequence[Row]) -> str:
    """The versions and the day, in a line.

    >>> made_with([{"torch_version": "2.9", "gcbench_version": "1", "started": "2026-11-25T16:00"}])
    'torch 2.9 · gcbench 1 · measured 2026-11-25'
    """
    day = rows[0]["started"].partition("T")[0]
    return (
        f"torch {rows[0]['torch_version']} · gcbench {rows[0]['gcbench_version']} · measured {day}"
    )


def devices(rows: Sequence[Row]) -> str:
    """The devices, with their names."""
    names = dict.fromkeys(f"{row['device']}: {row['device_name']}" for row in rows)
    return " and ".join(names)


def floor(rows: Sequence[Row]) -> tuple[float, float] | None:
    """The A/A interval of the rows' baselines: of several the one that reaches farthest from 1.

    Where no baseline is among the rows, that of those that were held against one. Infinite where
    there were too few replicates for one; None where nothing was timed.
    """
    copies = _copies(rows)
    known = [ends for ends in copies if None not in ends]
    if not copies:
        return None
    return max(known, key=_reach) if known else (-math.inf, math.inf)


def floor_text(rows: Sequence[Row]) -> str | None:
    """The A/A interval in a line, and of how many it is the worst."""
    ends = floor(rows)
    if ends is None:
        return None
    number = len(_copies(rows))
    worst = f", the worst of {number}" if number > 1 else ""
    return f"A/A (a baseline against its own copy): {interval_text(1.0, *ends)}{worst}"


def _copies(rows: Sequence[Row]) -> list[tuple[float, float]]:
    """The A/A intervals that the rows were held against, each once."""
    against = [row for row in rows if row["verdict"] == "baseline"] or rows
    found = dict.fromkeys(
        (row["comparison"], row["baseline"], row["aa_lo"], row["aa_hi"])
        for row in against
        if row["verdict"]
    )
    return [(lo, hi) for _, _, lo, hi in found]


def baselines(rows: Sequence[Row]) -> str:
    """What the relatives of some rows are divided by: a block, or each at one value of an axis."""
    pairs = dict.fromkeys(row["pair"] for row in rows if row["pair"])
    firsts = [f"{row[pair]}" for pair in pairs for row in rows if row["verdict"] == "baseline"]
    if pairs:
        return f"itself at {' or '.join(pairs)} {' or '.join(dict.fromkeys(firsts))}".rstrip()
    keys = dict.fromkeys(
        label_of_key(row["baseline"], row["network"]) for row in rows if row["relative"] is not None
    )
    return " or ".join(keys) or "a baseline"


def carried(rows: Sequence[Row]) -> dict[str, Cell]:
    """The same as cells: the axes that all rows share, device, versions, start and A/A interval."""
    ends = floor(rows)
    lo, hi = ends if ends and math.isfinite(ends[0]) else (None, None)
    first = rows[0] if rows else {}
    return {
        **unusual(shared(rows)),
        **{column: first.get(column) for column in CARRIED},
        "aa_lo": lo,
        "aa_hi": hi,
    }


def _reach(ends: tuple[float, float]) -> float:
    return max(abs(end - 1) for end in ends)
