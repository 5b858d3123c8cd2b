"""A run as a table: one row a case, the CSV's columns in the CSV's order."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from gcbench import columns
from gcbench.columns import QUANTILE_COLUMNS, QUANTILES
from gcbench.records import Cell, ComparisonRecord, Manifest, Measurement, Run, StoppedBy
from gcbench.results import roofline
from gcbench.runtime import known
from gcbench.spec.cases import Case
from gcbench.stats.distributions import quantile, samples
from gcbench.stats.intervals import Interval, Summary, summarise, widest
from gcbench.stats.machine_flags import machine_flags, was_loaded
from gcbench.store import Stored, chosen

if TYPE_CHECKING:
    import pandas as pd

# one case: every column of the CSV, in its order, None where there is nothing
Row = dict[str, Any]


class Address(NamedTuple):
    """Where a case stands in a run: the position of its record, and its position there."""

    record: int
    case: int


# by name, in the CSV's order
COLUMNS = tuple(columns.COLUMNS)
# what `gcbench network` puts before the columns that every command has
NETWORK_COLUMNS = (
    *("network", "spec", "ratio", "inserted", "inserted_at"),
    *("params_added", "macs_added", "images_per_s"),
)
# what a condition may compare a column with: a number, or text
KINDS: dict[str, type] = {name: column.compared for name, column in columns.COLUMNS.items()}

# far-out samples are told where they are more than this share, the pair of events around a sample
# where it is more than this share of it
FAR_OUT_TOLD = 0.02
EVENTS_TOLD = 0.02
# page faults are told where a call has one, and they take at least this share of it
FAULT_NS, FAULTS_TOLD = 250, 0.01


def frame(run: Run | Stored) -> "pd.DataFrame":
    """Make the table of a run: every column, missing where it was not measured."""
    import pandas as pd

    table = pd.DataFrame(list(rows(run)), columns=list(COLUMNS), dtype=object)
    for name, column in columns.COLUMNS.items():
        if column.kind is float:
            table[name] = table[name].astype("float64")
        # nullable integers stay whole beside missing cells; past 64 bits they stay objects
        elif column.kind is int and not table[name].dropna().abs().max() >= 2**63:
            table[name] = table[name].astype("Int64")
    return table.infer_objects()


def rows(run: Run | Stored) -> Iterator[Row]:
    """Make the rows of a run one after the other, every case once, a comparison in memory at most.

    A case that was tried again stands where it stood first, as it was measured last. Raises
    RunError where a stored run cannot be read.
    """
    return (row for row, _ in placed(run))


def placed(run: Run | Stored) -> Iterator[tuple[Row, Address]]:
    """Make the rows of a run as `rows` does, and say where each case is to be found in the run."""
    for number, places in enumerate(chosen(run.outlines), start=1):
        made = {
            record: _made(run, record) for record in dict.fromkeys(record for record, _ in places)
        }
        for record, position in places:
            if made[record]:
                row = _whole({**made[record][position], "comparison": number})
                yield row, Address(record, position)


def _made(run: Run | Stored, position: int) -> list[dict[str, Any]]:
    record = run.comparison(position)
    return list(rows_of(record, run.manifest)) if record else []


def _whole(cells: dict[str, Any]) -> Row:
    """Every column in its order; what is no number is nothing."""
    return {
        column: None if isinstance(cell, float) and not math.isfinite(cell) else cell
        for column in COLUMNS
        for cell in (cells.get(column),)
    }


def network_first(rows: Iterable[Row]) -> list[Row]:
    """Put the columns that a network has of its own before the others."""
    return [{**{name: row[name] for name in NETWORK_COLUMNS}, **row} for row in rows]


def rows_of(record: ComparisonRecord, manifest: Manifest) -> Iterator[dict[str, Any]]:
    """Make the rows of one comparison, one for each case, in the order of the cases.

    Where it was measured elsewhere than the manifest tells, they are about that machine.
    """
    manifest = _where(record, manifest)
    summaries = summarise(record)
    disturbed = machine_flags(record, summaries)
    if was_loaded(manifest):
        disturbed.append("load")
    for position, measurement in enumerate(record.measurements):
        summary = summaries.get(position)
        flags = [*measurement.flags, *(disturbed if summary else [])]
        if summary and summary.far_out > FAR_OUT_TOLD * summary.samples:
            flags.append(f"far_out={summary.far_out}")
        if summary and summary.noise and summary.noise.excludes_one:
            flags.append("copies_differ")
        if summary and summary.disturbed:
            flags.append("disturbed")
        if summary and _faults_matter(summary):
            flags.append("page_faults")
        if summary and summary.exposed:
            flags.append("launch_exposed")
        pair_us = event_pair_us(record)
        if summary and pair_us and pair_us > EVENTS_TOLD * _sample_us(summary):
            flags.append("event_overhead")
        limits, special = _limits(measurement, summary, record, manifest)
        flags += special
        yield {
            **_identity(measurement, manifest),
            **measurement.metrics,
            "flops": _doubled(measurement.metrics.get("macs")),
            **(_timed(summary, record) if summary else {}),
            **(_spread(record, position) if summary else {}),
            **limits,
            **_inside(measurement, record.measurements[record.baselines[position]]),
            "images_per_s": _images_per_s(measurement.case, summary),
            "baseline": record.measurements[record.baselines[position]].case.key,
            "pair": record.pair,
            "event_pair_us": pair_us if summary else None,
            "flags": " ".join(flags) or None,
        }


def event_pair_us(record: ComparisonRecord) -> float | None:
    """What a pair of CUDA events around nothing reads, in microseconds: it is in every sample."""
    replicates = [replicate for timing in record.timings for replicate in timing.replicates]
    read_ns = [r.device.event_pair_ns for r in replicates if r.device and r.device.event_pair_ns]
    return max(read_ns, default=0.0) / 1e3 or None


def _faults_matter(summary: Summary) -> bool:
    """Whether page faults are part of a latency, in one replicate or another."""
    mean = summary.faults[1]
    return mean >= 1 and mean * FAULT_NS > FAULTS_TOLD * summary.latency.mid


def _sample_us(summary: Summary) -> float:
    # where samples of several processes held different numbers of calls, no one length is theirs
    return (summary.calls or math.inf) * summary.latency.mid / 1e3


def _where(record: ComparisonRecord, manifest: Manifest) -> Manifest:
    return replace(record.machine, run=manifest.run) if record.machine else manifest


def _identity(measurement: Measurement, manifest: Manifest) -> dict[str, Any]:
    case = measurement.case
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
        "device_name": manifest.device_name(case.device),
        "node": manifest.node,
        "layout": case.layout,
        "mode": case.mode,
        "runtime": case.runtime,
        "cache": case.cache,
        "regime": case.regime,
        "threads": case.threads or manifest.threads,
        "seed": manifest.seed,
        "status": measurement.status,
        "reason": measurement.reason,
        "gcbench_version": manifest.gcbench_version,
        "torch_version": manifest.versions.get("torch"),
        "started": manifest.started,
        "heap": case.heap or manifest.heap,
    }


def _timed(summary: Summary, record: ComparisonRecord) -> dict[str, Any]:
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
        "stopped_by": _stopped_by(record),
        "discarded_rounds": sum(timing.discarded_rounds for timing in record.timings),
        "processes": len(record.timings),
        "relative": relative[0],
        "relative_lo": relative[1],
        "relative_hi": relative[2],
        "verdict": summary.verdict,
        "aa_lo": aa[1],
        "aa_hi": aa[2],
        "copies": summary.copies,
        "minor_faults": summary.faults[0],
        "waited_fraction": summary.waited,
    }


def _spread(record: ComparisonRecord, case: int) -> dict[str, float]:
    """Quantiles of the samples, as cells."""
    ordered = samples(record, case)
    found = (quantile(ordered, percent) / 1e3 for percent in QUANTILES)
    return dict(zip(QUANTILE_COLUMNS, found, strict=True))


def _images_per_s(case: Case, summary: Summary | None) -> float | None:
    """How many images go through a case in a second; a backward pass alone is no such way."""
    if summary is None or case.mode == "backward":
        return None
    return case.batch / (summary.latency.mid / 1e9)


def _limits(
    measurement: Measurement, summary: Summary | None, record: ComparisonRecord, manifest: Manifest
) -> tuple[dict[str, Any], list[str]]:
    """What bounds a case that was timed, as cells, and the flags of that."""
    found = roofline.peaks_of(measurement.case, record.peaks, manifest.threads)
    # ceilings are what torch's own roads reach
    if not summary or not found or known(measurement.case.runtime).foreign:
        return {}, []
    verdict = roofline.judge(measurement, summary.latency.mid / 1e3, found)
    flags = ["above_ceiling"] if verdict.above else []
    flags += ["peaks_busy"] if found.disturbed(measurement.case.dtype) else []
    cells = {
        "bound": verdict.bound,
        "floor_us": verdict.floor_us,
        "floor_fraction": verdict.floor_fraction,
        "peaks": found.name,
    }
    return cells, flags


def _inside(measurement: Measurement, plain: Measurement) -> dict[str, Any]:
    """What blocks add to a network."""
    case = measurement.case
    if case.network is None:
        return {}
    return {
        "network": case.network.label,
        "params_added": _more(measurement, plain, "params"),
        "macs_added": _more(measurement, plain, "macs"),
    }


def _more(measurement: Measurement, plain: Measurement, column: str) -> int | None:
    here, there = measurement.metrics.get(column), plain.metrics.get(column)
    return here - there if isinstance(here, int) and isinstance(there, int) else None


def _stopped_by(record: ComparisonRecord) -> StoppedBy:
    """What ended the measurement: of several processes, what their intervals say together."""
    if record.interrupted:
        return "interrupt"
    if len(record.timings) == 1:
        return record.timings[0].stopped_by
    reached = widest(record.timings, record.baselines) <= math.log1p(record.precision)
    return "precision" if reached else "time"


def _ends(interval: Interval | None) -> tuple[float | None, float | None, float | None]:
    """Middle, low and high end as cells: an end that is not known is empty, not infinite."""
    if interval is None:
        return None, None, None
    return (
        (interval.mid, interval.lo, interval.hi) if interval.known else (interval.mid, None, None)
    )


def _doubled(macs: Cell) -> int | None:
    return 2 * macs if isinstance(macs, int) else None
