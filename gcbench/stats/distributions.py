"""How the samples of a case are spread: quantiles and a histogram; pure.

A sample is the mean of the calls that it holds, so one slow call among several shows as a share of
itself. Samples of one replicate share their place in memory: quantiles describe what was seen, and
no interval comes from them.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from gcbench.columns import QUANTILES
from gcbench.records import ComparisonRecord
from gcbench.stats.intervals import case_arms


def samples(record: ComparisonRecord, case: int) -> NDArray[np.float64]:
    """Every sample of a case, by its position in the comparison, in ns a call and ascending.

    Those of all replicates and processes; none where it was not timed.
    """
    parts = []
    for timing in record.timings:
        arm = case_arms(timing).get(case)
        if arm is not None:
            durations = chain.from_iterable(each.samples_ns[arm] for each in timing.replicates)
            parts.append(np.fromiter(durations, np.float64) / timing.arms[arm].calls)
    return np.sort(np.concatenate(parts)) if parts else np.empty(0)


def quantile(ordered: Sequence[float] | NDArray[np.float64], percent: int) -> float:
    """The least of some ascending values that so many percent of them do not exceed.

    That is one of the values (the nearest rank), so of under 100 the 99th percentile is the
    greatest.

    >>> [quantile(range(1, 11), percent) for percent in (50, 90, 99)]
    [5.0, 9.0, 10.0]
    """
    rank = max(1, -(-percent * len(ordered) // 100))
    return float(ordered[rank - 1])


def histogram(ordered: NDArray[np.float64], bins: int) -> list[int]:
    """Count ascending values in bins of one ratio, from the least to the 99th percentile.

    Those above are in none. The bins are of log(1 + value), which a clock of zeros does not break.

    >>> histogram(np.array([9.0, 9.0, 99.0, 9999.0]), 3)
    [2, 1, 1]
    """
    end = quantile(ordered, QUANTILES[-1])
    logs = np.log1p(ordered[ordered <= end])
    counts, _ = np.histogram(logs, bins, range=(logs[0], logs[-1]) if logs[0] < logs[-1] else None)
    return [int(count) for count in counts]
