"""Student's distribution, for intervals of few values."""

import math
from functools import lru_cache
from statistics import NormalDist

# up to here the distribution is summed, beyond it a series in 1/dof is closer than needed
MOST_SUMMED = 200


@lru_cache
def student(dof: int, error_rate: float) -> float:
    """The t that Student's distribution exceeds, on either side, at an error rate.

    By Abramowitz and Stegun, 26.7.3 and 26.7.4, solved by halving; 26.7.5 for many degrees.

    >>> [round(student(dof, 0.05), 3) for dof in (1, 4, 30, 1000)]
    [12.706, 2.776, 2.042, 1.962]
    """
    if dof > MOST_SUMMED:
        z = NormalDist().inv_cdf(1 - error_rate / 2)
        return z + (z**3 + z) / (4 * dof) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * dof**2)
    low, high = 0.0, math.pi / 2
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if _inside(middle, dof) < 1 - error_rate else (low, middle)
    return math.sqrt(dof) * math.tan(low)


def _inside(angle: float, dof: int) -> float:
    """P(|t| < sqrt(dof) tan(angle))."""
    cos, sin = math.cos(angle), math.sin(angle)
    odd = dof % 2
    term, total = (cos, 0.0) if odd else (1.0, 0.0)
    for k in range(1 + odd, dof, 2):
        total += term
        term *= cos**2 * k / (k + 1)
    return 2 / math.pi * (angle + sin * total) if odd else sin * total
