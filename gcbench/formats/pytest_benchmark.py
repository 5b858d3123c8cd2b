"""pytest-benchmark's JSON, so that `pytest-benchmark compare` reads a run.

Written against pytest-benchmark 5.3. It expects every statistic of raw rounds; what a table holds
of them is put where it belongs, in seconds: min, the median, and the median again for the mean; the
95 % interval's ends for the quartiles and the maximum, half its width for the deviation. A row that
was not measured is in `not_measured` with its reason. MACs, parameters, verdict and the relative
with its interval are in `extra_info`.
"""

import json
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd

_EXTRA = ("status", "verdict", "relative", "relative_lo", "relative_hi", "params", "macs", "flags")


def render(table: pd.DataFrame) -> str:
    """Write the measured rows of a table as pytest-benchmark's JSON, with a final newline."""
    return document(
        [{column: _plain(cell) for column, cell in row.items()} for row in table.to_dict("records")]
    )


def document(rows: Sequence[Mapping[Any, Any]]) -> str:
    """Write the measured ones of some rows, in which None is missing."""
    saved = {
        "machine_info": _machine(rows[0]),
        "commit_info": {"id": "unknown", "time": None, "dirty": False, "branch": "(unknown)"},
        "benchmarks": [_benchmark(row) for row in rows if row["latency_us"] is not None],
        # pytest-benchmark has no place for these, and passes over what it does not know
        "not_measured": {
            row["key"]: f"{row['status']}: {row['reason']}"
            for row in rows
            if row["latency_us"] is None
        },
        "datetime": datetime.now(UTC).isoformat(),
        "version": "5.3.1",
    }
    return json.dumps(saved, indent=4) + "\n"


def _machine(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        "node": row["node"],
        "processor": row["device_name"],
        "machine": platform.machine(),
        "system": platform.system(),
        "python_version": platform.python_version(),
        "gcbench_version": row["gcbench_version"],
        "torch_version": row["torch_version"],
        "cpu": {"brand_raw": row["device_name"]},
    }


def _benchmark(row: Mapping[Any, Any]) -> dict[str, Any]:
    ratio = row["ratio"]
    return {
        # what shares every axis but block and ratio stands together
        "group": row["key"].partition("|")[2].removeprefix(f"ratio={ratio}|"),
        "name": row["spec"] if ratio is None else f"{row['spec']} r{ratio}",
        "fullname": row["key"],
        "params": None,
        "param": None,
        "extra_info": {column: row[column] for column in _EXTRA},
        "options": {"disable_gc": False, "timer": "perf_counter", "warmup": True},
        "stats": _statistics(row),
    }


def _statistics(row: Mapping[Any, Any]) -> dict[str, float | int | str]:
    median = row["latency_us"] / 1e6
    low, high = (
        median if row[end] is None else row[end] / 1e6 for end in ("latency_us_lo", "latency_us_hi")
    )
    rounds = int(row["samples"])
    return {
        "min": row["latency_us_min"] / 1e6,
        "max": high,
        "mean": median,
        "stddev": (high - low) / 2,
        "rounds": rounds,
        "median": median,
        "iqr": high - low,
        "q1": low,
        "q3": high,
        "iqr_outliers": 0,
        "stddev_outliers": 0,
        "outliers": "0;0",
        "ld15iqr": low,
        "hd15iqr": high,
        "ops": 1 / median,
        "total": median * rounds,
        "iterations": int(row["calls_per_sample"]),
    }


def _plain(cell: Any) -> Any:
    """A cell as JSON has it: missing is null, and numpy's numbers are numbers."""
    if pd.isna(cell):
        return None
    return cell.item() if hasattr(cell, "item") else cell
