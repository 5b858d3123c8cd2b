"""pytest-benchmark's JSON, so that `pytest-benchmark compare` reads a run.

Written against pytest-benchmark 5.3. It expects every statistic of raw rounds; what a table holds
of them is put where it belongs, in seconds: min, the median, and the median again for the mean; the
95 % interval's ends for the quartiles and the maximum, half its width for the deviation. A row that
was not measured is in `not_measured` with its reason. MACs, parameters, verdict and the relative
with its interval are in `extra_info`.
"""

import json
from collections.abc import Iterator
from typing import Any

from gcbench.records import Manifest
from gcbench.report.document import Document, Row

_EXTRA = ("status", "verdict", "relative", "relative_lo", "relative_hi", "params", "macs", "flags")


def write(document: Document) -> Iterator[str]:
    """Write the rows that were measured as pytest-benchmark's JSON, with a final newline."""
    rows, manifest = list(document.rows()), document.manifest
    assert manifest
    saved = {
        "machine_info": _machine(manifest),
        "commit_info": {"id": "unknown", "time": None, "dirty": False, "branch": "(unknown)"},
        "benchmarks": [_benchmark(row) for row in rows if row["latency_us"] is not None],
        # pytest-benchmark has no place for these, and passes over what it does not know
        "not_measured": {
            row["key"]: f"{row['status']}: {row['reason']}"
            for row in rows
            if row["latency_us"] is None
        },
        "datetime": manifest.started,
        "version": "5.3.1",
    }
    yield json.dumps(saved, indent=4) + "\n"


def _machine(manifest: Manifest) -> dict[str, Any]:
    return {
        "node": manifest.node,
        "processor": manifest.cpu,
        "system": manifest.system,
        "python_version": manifest.python_version,
        "gcbench_version": manifest.gcbench_version,
        "torch_version": manifest.versions.get("torch"),
        "cpu": {"brand_raw": manifest.cpu},
    }


def _benchmark(row: Row) -> dict[str, Any]:
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


def _statistics(row: Row) -> dict[str, float | int | str]:
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
        "iterations": int(row["calls_per_sample"] or 1),
    }
