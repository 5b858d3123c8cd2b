"""Whether a comparison that could be decoded can also be summarised."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from gcbench.column import MOST
from gcbench.columns import COLUMNS
from gcbench.records import ComparisonRecord, Measurement, Peaks, Replicate, Timing


def is_sound(record: ComparisonRecord) -> bool:
    """Tell whether the parts of a comparison fit together, as those of a measured one do.

    A damaged line may still be JSON of the right shape.
    """
    cases = range(len(record.measurements))
    return (
        len(record.baselines) == len(cases)
        and _has_end(record.precision)
        and all(map(_is_case, record.measurements))
        and all(map(_counts, record.measurements))
        and all(map(_is_ceiling, record.peaks))
        and all(baseline in cases for baseline in record.baselines)
        and all(arm.case in cases and arm.calls > 0 for t in record.timings for arm in t.arms)
        and all(_has_copies(timing, record) for timing in record.timings)
        and all(_fits(replicate, t) for t in record.timings for replicate in t.replicates)
    )


def _is_case(measurement: Measurement) -> bool:
    case = measurement.case
    return min(case.shape) > 0 and _has_end(*case.shape, *_numbers(case), *_numbers(measurement))


def _is_ceiling(peaks: Peaks) -> bool:
    rates = (peaks.product_flops_per_s, peaks.convolution_flops_per_s, peaks.sustained_flops_per_s)
    copies = (number for copy in peaks.copies for number in copy)
    return _has_end(
        *copies, *_numbers(peaks), *(n for by_dtype in rates for n in by_dtype.values())
    )


def _has_end(*numbers: float) -> bool:
    return all(abs(number) < MOST for number in numbers)


def _counts(measurement: Measurement) -> bool:
    """Whether cells are what their columns take; one that is not known may say what it will."""
    cells = measurement.metrics
    return all(
        COLUMNS[name].takes(cell)
        if name in COLUMNS
        else cell is None or isinstance(cell, str) or abs(cell) < MOST
        for name, cell in cells.items()
    ) and (not cells.get("inserted") or bool(cells.get("inserted_at")))


def _has_copies(timing: Timing, record: ComparisonRecord) -> bool:
    """Whether every case has an A/A arm in its group, and a copy of its input."""
    timed = [arm for arm in timing.arms if arm.role == "case"]
    groups = {arm.group for arm in timing.arms if arm.role == "aa"}
    inputs = {record.measurements[arm.case].case.input for arm in timing.arms if arm.role == "copy"}
    twins = {arm.case for arm in timing.arms if arm.role == "aa"}
    return twins <= {arm.case for arm in timed} and all(
        arm.group in groups and record.measurements[arm.case].case.input in inputs for arm in timed
    )


def _fits(replicate: Replicate, timing: Timing) -> bool:
    """Whether there are samples of every arm, as many for all that a group timed."""
    if not _has_end(*_numbers(replicate.disturbance), *_numbers(replicate.device)):
        return False
    rows = replicate.samples_ns
    told = (replicate.exposed, replicate.faults, replicate.waited, replicate.waiting_ns)
    if len(rows) != len(timing.arms) or any(len(each) not in (0, len(rows)) for each in told):
        return False
    rounds = {(arm.group, len(row)) for arm, row in zip(timing.arms, rows, strict=True)}
    return len(rounds) == len({group for group, _ in rounds}) and all(
        min(row) > 0 and max(row) < 2**63 for row in rows if row
    )


def _numbers(record: object) -> Iterator[float]:
    """The numbers of a flat record, if there is one."""
    for field in fields(record) if is_dataclass(record) else ():
        value = getattr(record, field.name)
        if isinstance(value, int | float):
            yield value
