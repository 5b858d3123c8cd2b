"""How far each case of a comparison is while it is being timed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gcbench.records import Timing
from gcbench.stats.intervals import aa_intervals, case_arms, medians, relatives


@dataclass(frozen=True)
class Standing:
    """One case so far: its median latency in ns, and the half-width of its interval.

    That is the interval of its relative, of a baseline that against its own copy, as a logarithm;
    `left_s` is how long until it is as narrow as was asked for, 0 where it is. None while there is
    no interval.
    """

    label: str
    latency_ns: float
    half_width: float | None
    left_s: float | None


def standings(
    timing: Timing,
    baselines: Sequence[int],
    labels: Sequence[str],
    elapsed_s: float,
    precision: float,
) -> tuple[Standing, ...]:
    """The standing of each case that was timed for so long, by the labels of all cases."""
    widths = {**aa_intervals((timing,), baselines), **relatives((timing,), baselines)}
    found = []
    for case, arm in sorted(case_arms(timing).items()):
        half_width = widths[case].half_width if widths[case].known else None
        left_s = None if half_width is None else time_left_s(half_width, elapsed_s, precision)
        latency_ns = float(np.nanmedian(medians(timing, arm)))
        found.append(Standing(labels[case], latency_ns, half_width, left_s))
    return tuple(found)


def time_left_s(half_width: float, elapsed_s: float, precision: float) -> float:
    """How long until an interval (of logarithms) is as narrow as a precision: 0 where it is.

    A half-width shrinks with the square root of the time.

    >>> round(time_left_s(0.04, 3.0, math.expm1(0.02)), 6), time_left_s(0.01, 3.0, 0.02)
    (9.0, 0.0)
    """
    return max(0.0, elapsed_s * ((half_width / math.log1p(precision)) ** 2 - 1))
