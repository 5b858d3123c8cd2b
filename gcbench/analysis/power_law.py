"""How a quantity grows with another: the exponent of a power law, and over which range one holds.

On logarithms a power law is a line, and its slope is the exponent. What is measured has two errors:
each point's own, which its interval tells, and what no power law fits (caches fill, kernels
change). The second is estimated as what has to be added to every point's own variance until the
residuals are as large as expected (Paule and Mandel, 1982): so a bad fit gives a wide interval.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gcbench.stats.textbook import lack_of_fit, student_t

Vector = NDArray[np.floating[Any]]

# of exact numbers a law holds where the exponents of neighbours differ by no more than this
MATERIAL = 0.1
# of measured ones where a change of the exponent over the range is not significant at this level
SIGNIFICANCE = 0.05
# and what it misses the points by, their own errors aside, is no more than this (a logarithm)
MOST_LACK = 0.2
# fewer points than these are not searched for a range, and one fewer gives no interval
FEWEST_IN_RANGE = 4
# the range is chosen by the same points: what that takes from 95 % is given back (by simulation)
CONFIDENCE = 0.975
# an overhead too small to be seen changes the exponent by so much
LEAST_REACH = 0.02
# no clock and no machine repeats better than this share
LEAST_ERROR = 1e-4
HIGHEST_DEGREE = 3
# how closely that lack is sought, as a share of it
CLOSENESS = 1e-12


@dataclass(frozen=True, slots=True)
class Law:
    """The exponent of a power law over the last points, from the one at position `start` on.

    `lo` and `hi` end its 95 % interval, and are None where there is none; `excess` is by which
    factor each point before `start` lies above the law.
    """

    start: int
    exponent: float
    lo: float | None
    hi: float | None
    excess: tuple[float, ...]


class _Fit(NamedTuple):
    coefficients: Vector
    covariance: Vector
    lack: float


def measured_law(x: Sequence[float], y: Sequence[float], errors: Sequence[float]) -> Law | None:
    """Fit y = c x^a to the longest range at the upper end over which that holds.

    `x` ascends; `errors` are the standard errors of log y. Points are left out from the lower end
    while the exponent changes over the range (the curvature of log y is significant) or the law
    misses by more than `MOST_LACK`. The interval takes Student's t. Where points were left out it
    also reaches to what the exponent would be if all of the least y among those were an overhead
    that every point has. None where no range of `FEWEST_IN_RANGE` points will do, or there are
    fewer than two points.
    """
    logs, values = np.log(np.asarray(x, float)), np.log(np.asarray(y, float))
    own = np.maximum(np.asarray(errors, float), LEAST_ERROR)
    start = 0
    while not _holds(logs[start:], values[start:], own[start:]):
        start += 1
        if len(logs) - start < FEWEST_IN_RANGE:
            return None
    if len(logs) < 2:
        return None
    fit = _line(logs[start:], values[start:], own[start:])
    lo, hi = _interval(fit, len(logs) - start)
    if start and lo is not None and hi is not None:
        lo, hi = _without_overhead(logs, values, own, start, (lo, hi))
    excess = np.exp(values[:start] - _at(fit, logs[:start]))
    return Law(start, float(fit.coefficients[1]), lo, hi, tuple(excess.tolist()))


def exact_law(x: Sequence[int], y: Sequence[int]) -> Law:
    """The exponent of exact numbers above zero over the longest range at the upper end.

    There the exponents between neighbours are within `MATERIAL` of each other; at least the last
    two points are taken.
    """
    local = local_exponents(x, y)
    start = len(local) - 1
    while start and np.ptp(local[start - 1 :]) <= MATERIAL:
        start -= 1
    logs, values = np.log(np.asarray(x, float)), np.log(np.asarray(y, float))
    slope, constant = np.polyfit(logs[start:], values[start:], 1)
    excess = np.exp(values[:start] - constant - slope * logs[:start])
    return Law(start, float(slope), None, None, tuple(excess.tolist()))


def local_exponents(x: Sequence[float], y: Sequence[float]) -> list[float]:
    """The exponent between each two neighbours.

    >>> local_exponents([1, 2, 4], [3, 6, 24])
    [1.0, 2.0]
    """
    steps = zip(x, x[1:], y, y[1:], strict=False)
    return [math.log(d / c) / math.log(b / a) for a, b, c, d in steps]


def polynomial(x: Sequence[int], y: Sequence[int]) -> tuple[Fraction, ...] | None:
    """The polynomial of least degree through all points, exactly: its coefficients, lowest first.

    None where it would need as many coefficients as there are points, which shows nothing, or a
    degree above `HIGHEST_DEGREE`.

    >>> [int(each) for each in polynomial([1, 2, 3, 4], [3, 8, 15, 24])]
    [0, 2, 1]
    """
    for degree in range(min(HIGHEST_DEGREE, len(x) - 2) + 1):
        found = _through(x[: degree + 1], y[: degree + 1])
        if all(_value(found, each) == wanted for each, wanted in zip(x, y, strict=True)):
            return found
    return None


def _holds(x: Vector, y: Vector, errors: Vector) -> bool:
    if len(x) < FEWEST_IN_RANGE:
        return True
    curve = _fitted(_powers(x, 3), y, errors)
    bend, error = curve.coefficients[2], math.sqrt(curve.covariance[2, 2])
    if abs(bend) > student_t(len(x) - 3, SIGNIFICANCE) * error:
        return False
    return _line(x, y, errors).lack <= MOST_LACK


def _interval(fit: _Fit, points: int) -> tuple[float | None, float | None]:
    if points < 3:
        return None, None
    reach = max(
        student_t(points - 2, 1 - CONFIDENCE) * math.sqrt(fit.covariance[1, 1]), LEAST_REACH
    )
    return float(fit.coefficients[1] - reach), float(fit.coefficients[1] + reach)


def _without_overhead(
    x: Vector, y: Vector, errors: Vector, start: int, ends: tuple[float, float]
) -> tuple[float, float]:
    """Widen an interval by the one that holds if the least of what was left out is overhead."""
    times = np.exp(y[start:])
    rest = times - np.exp(y[:start].min())
    if rest.min() <= 0:
        return ends
    fit = _line(x[start:], np.log(rest), errors[start:] * times / rest)
    lo, hi = _interval(fit, len(times))
    return (ends[0] if lo is None else min(lo, ends[0])), (
        ends[1] if hi is None else max(hi, ends[1])
    )


def _line(x: Vector, y: Vector, errors: Vector) -> _Fit:
    return _fitted(_powers(x, 2), y, errors)


def _powers(x: Vector, terms: int) -> Vector:
    return np.vander(x, terms, increasing=True)


def _at(fit: _Fit, x: Vector) -> Vector:
    values: Vector = _powers(x, len(fit.coefficients)) @ fit.coefficients
    return values


def _fitted(terms: Vector, y: Vector, errors: Vector) -> _Fit:
    """Weighted least squares with as much lack of fit as makes the residuals what is expected."""
    degrees = len(y) - terms.shape[1]

    def solved(lack: float) -> tuple[Vector, Vector, float]:
        weights = 1 / (errors**2 + lack**2)
        covariance = np.linalg.inv(terms.T @ (terms * weights[:, None]))
        found = covariance @ (terms.T @ (weights * y))
        return found, covariance, float(np.sum(weights * (y - terms @ found) ** 2))

    lack = lack_of_fit(lambda added: solved(added)[2], degrees, float(np.ptp(y)), CLOSENESS)
    return _Fit(*solved(lack)[:2], lack)


def _through(x: Sequence[int], y: Sequence[int]) -> tuple[Fraction, ...]:
    """The polynomial through all of these points (Newton's divided differences)."""
    differences = [Fraction(each) for each in y]
    for step in range(1, len(x)):
        for i in range(len(x) - 1, step - 1, -1):
            differences[i] = (differences[i] - differences[i - 1]) / (x[i] - x[i - step])
    found: list[Fraction] = []
    for point, difference in zip(reversed(x), reversed(differences), strict=True):
        # found * (X - point) + difference
        shifted = [Fraction(0), *found]
        found = [a - point * b for a, b in zip(shifted, [*found, Fraction(0)], strict=True)]
        found[0] += difference
    while len(found) > 1 and found[-1] == 0:
        found.pop()
    return tuple(found)


def _value(coefficients: Sequence[Fraction], x: int) -> Fraction:
    total = Fraction(0)
    for each in reversed(coefficients):
        total = total * x + each
    return total
