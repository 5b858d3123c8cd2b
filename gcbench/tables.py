"""A run as a table: one row a case, the CSV's columns in the CSV's order."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from gcbench.metrics import METRICS
from gcbench.records import Cell, ComparisonRecord, Manifest, Measurement, Run
from gcbench.statistics import Interval, Summary, summarise

FIXED_COLUMNS = (
    *("run", "key", "block", "spec", "batch", "channels", "height", "width", "ratio", "dtype"),
    *("device", "device_name", "node", "layout", "mode", "runtime", "cache", "threads", "seed"),
    *("status", "reason", "params", "macs", "flops", "macs_counter", "uncounted_ops", "min_bytes"),
    *("latency_us", "latency_us_lo", "latency_us_hi", "latency_us_min", "replicates", "samples"),
    *("calls_per_sample", "stopped_by", "discarded_rounds", "compile_ms"),
    *("baseline", "relative", "relative_lo", "relative_hi", "verdict", "aa_lo", "aa_hi", "copies"),
    *("host_us", "graph_us", "bound", "floor_us", "floor_fraction"),
    *("peak_memory_bytes", "activation_memory_bytes"),
    *("flags", "gcbench_version", "torch_version"),
)
# a metric whose column the fixed order does not name comes last
COLUMNS = tuple(
    dict.fromkeys((*FIXED_COLUMNS, *(column for metric in METRICS for column in metric.columns)))
)
WHOLE_NUMBERS = (
    *(
        "batch",
        "channels",
        "height",
        "width",
        "ratio",
        "threads",
        "seed",
        "params",
        "macs",
        "flops",
    ),
    *("min_bytes", "replicates", "samples", "calls_per_sample", "discarded_rounds"),
    *("peak_memory_bytes", "activation_memory_bytes"),
)
# what the cases of one comparison have in common
SHARED_AXES = (
    *("run", "batch", "channels", "height", "width", "dtype", "device", "layout", "mode"),
    *("runtime", "cache", "threads"),
)

FAR_OUT_SHARE = 0.02
LOW_CPU_SHARE = 0.9
STEAL_SHARE = 0.02
DRIFT = 0.10
CONTENDED = 3.0


def frame(run: Run) -> pd.DataFrame:
    """Make the table of a run: every column, missing where it was not measured."""
    rows = [row for record in run.comparisons for row in rows_of(record, run.manifest)]
    table = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)
    for column in WHOLE_NUMBERS:
        # nullable integers stay whole beside missing cells; past 64 bits they stay objects
        if table[column].dropna().abs().max() < 2**63 or table[column].isna().all():
            table[column] = table[column].astype("Int64")
    return table.infer_objects()


def rows_of(record: ComparisonRecord, manifest: Manifest) -> Iterator[dict[str, Any]]:
    """Make the rows of one comparison, one for each case, in the order of the cases."""
    summaries = summarise(record)
    baseline = record.measurements[record.baseline].case.key
    disturbed = machine_flags(record, summaries)
    for position, measurement in enumerate(record.measurements):
        summary = summaries.get(position)
        flags = [*measurement.flags, *(disturbed if summary else [])]
        if summary and summary.far_out > FAR_OUT_SHARE * summary.samples:
            flags.append(f"far_out={summary.far_out}")
        yield {
            **_identity(measurement, manifest),
            **measurement.metrics,
            "flops": _doubled(measurement.metrics.get("macs")),
            **(_timed(summary, record) if summary else {}),
            "baseline": baseline,
            "flags": " ".join(flags) or None,
        }


def machine_flags(record: ComparisonRecord, summaries: dict[int, Summary]) -> list[str]:
    """Name what the machine did while a comparison was timed, where it was more than usual."""
    if record.timing is None or not record.timing.replicates:
        return []
    seen = [replicate.disturbance for replicate in record.timing.replicates]
    wall_ns = max(1, sum(d.wall_ns for d in seen))
    flags = []
    if sum(d.steal_ns or 0 for d in seen) > STEAL_SHARE * wall_ns:
        flags.append("steal")
    if sum(d.cpu_ns for d in seen) < LOW_CPU_SHARE * wall_ns and _on_cpu(record):
        flags.append("low_cpu_share")
    if any(abs(summary.drift) > DRIFT for summary in summaries.values()):
        flags.append("drift")
    if any(summary.latency.mid > CONTENDED * summary.minimum for summary in summaries.values()):
        flags.append("contended")
    return flags


def _on_cpu(record: ComparisonRecord) -> bool:
    return record.measurements[0].case.device == "cpu"


def _identity(measurement: Measurement, manifest: Manifest) -> dict[str, Any]:
    case = measurement.case
    device = "cuda:0" if case.device == "cuda" else case.device
    return {
        "run": manifest.run,
        "key": case.key,
        "block": case.block,
        "spec": case.spec,
        "batch": case.batch,
        "channels": case.channels,
        "height": case.height,
        "width": case.width,
        "ratio": case.ratio,
        "dtype": case.dtype,
        "device": case.device,
        "device_name": manifest.devices.get(device),
        "node": manifest.node,
        "layout": case.layout,
        "mode": case.mode,
        "runtime": case.runtime,
        "cache": case.cache,
        "threads": case.threads or manifest.threads,
        "seed": manifest.seed,
        "status": measurement.status,
        "reason": measurement.reason,
        "gcbench_version": manifest.gcbench_version,
        "torch_version": manifest.versions.get("torch"),
    }


def _timed(summary: Summary, record: ComparisonRecord) -> dict[str, Any]:
    assert record.timing is not None
    latency = _ends(summary.latency)
    relative = _ends(summary.relative)
    aa = _ends(summary.noise.aa.exp() if summary.noise else None)
    return {
        "latency_us": summary.latency.mid / 1e3,
        "latency_us_lo": None if latency[1] is None else latency[1] / 1e3,
        "latency_us_hi": None if latency[2] is None else latency[2] / 1e3,
        "latency_us_min": summary.minimum / 1e3,
        "replicates": summary.replicates,
        "samples": summary.samples,
        "calls_per_sample": summary.calls,
        "stopped_by": record.timing.stopped_by,
        "discarded_rounds": record.timing.discarded_rounds,
        "relative": relative[0],
        "relative_lo": relative[1],
        "relative_hi": relative[2],
        "verdict": summary.verdict,
        "aa_lo": aa[1],
        "aa_hi": aa[2],
        "copies": summary.copies,
    }


def _ends(interval: Interval | None) -> tuple[float | None, float | None, float | None]:
    """Middle, low and high end as cells: an end that is not known is empty, not infinite."""
    if interval is None:
        return None, None, None
    return (
        (interval.mid, interval.lo, interval.hi) if interval.known else (interval.mid, None, None)
    )


def _doubled(macs: Cell) -> int | None:
    return 2 * macs if isinstance(macs, int) else None
