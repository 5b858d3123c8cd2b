"""Statistics of the textbooks, for whoever has an interval to work out; pure.

scipy.special is imported where it is used: it takes longer than most reports.
"""

from collections.abc import Callable
from functools import lru_cache


@lru_cache(maxsize=4096)
def student_t(dof: int, error_rate: float) -> float:
    """The t that Student's distribution exceeds, on either side, at an error rate.

    >>> [round(student_t(dof, 0.05), 3) for dof in (1, 4, 30, 1000)]
    [12.706, 2.776, 2.042, 1.962]
    """
    from scipy.special import stdtrit

    return -float(stdtrit(dof, error_rate / 2))


def share_interval(hits: int, trials: int, error_rate: float) -> tuple[float, float]:
    """The exact interval of a share, by Clopper and Pearson (Biometrika 26, 1934).

    It ends where so many hits, or so few, become too unlikely.

    >>> lo, hi = share_interval(0, 20, 0.05)
    >>> lo, round(hi, 3)
    (0.0, 0.168)
    """
    from scipy.special import betaincinv

    misses = trials - hits
    lo = float(betaincinv(hits, misses + 1, error_rate / 2)) if hits else 0.0
    hi = float(betaincinv(hits + 1, misses, 1 - error_rate / 2)) if misses else 1.0
    return lo, hi


def sign_test(above: int, below: int) -> float:
    """How likely a fair coin falls at least as unevenly, two-sided.

    >>> sign_test(5, 5), sign_test(0, 10)
    (1.0, 0.001953125)
    """
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(above, below), above + below, 0.5)))


def lack_of_fit(
    squares: Callable[[float], float], freedom: int, most: float, closeness: float
) -> float:
    """What is to be added to every error until residuals are as large as expected.

    By the moments of Paule and Mandel (Journal of Research of the NBS 87, 1982): `squares` of the
    residuals, weighed by errors with so much added, fall as it grows, and are as many as there are
    degrees of `freedom` where it is right. 0 where they are fewer already. Sought up to `most`,
    and as closely as a share of the result says; no less is returned than what was sought.
    """
    if freedom < 1 or squares(0.0) <= freedom:
        return 0.0
    low, high = 0.0, most
    while high - low > closeness * high:
        middle = (low + high) / 2
        low, high = (middle, high) if squares(middle) > freedom else (low, middle)
    return high
