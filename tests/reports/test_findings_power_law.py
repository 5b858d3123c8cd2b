"""The exponent of a power law: what is known comes out, and intervals hold it as often as they say.

A closed loop over numbers: latencies are drawn around a law that is known.
"""

from fractions import Fraction

import numpy as np
import pytest

from gcbench.analysis.power_law import (
    LEAST_REACH,
    MATERIAL,
    exact_law,
    local_exponents,
    measured_law,
    polynomial,
)

SIDES = np.array([7, 10, 14, 20, 28, 40, 56, 72, 96, 112])
N = SIDES.astype(float) ** 2


def drawn(times, rng, own, lack):
    """Latencies around these, with the error that each point tells and one that none tells."""
    errors = own * rng.uniform(0.7, 1.4, len(times))
    noise = rng.normal(0, 1, len(times)) * errors + rng.normal(0, lack, len(times))
    return times * np.exp(noise), errors


def coverage(times, exponent, own, lack, trials, x=N):
    """The share of intervals that hold the exponent, and their median half-width."""
    rng = np.random.default_rng(0)
    held, widths = 0, []
    for _ in range(trials):
        law = measured_law(x, *drawn(times, rng, own, lack))
        if law and law.lo is not None:
            held += law.lo <= exponent <= law.hi
            widths.append((law.hi - law.lo) / 2)
    return held / len(widths), float(np.median(widths))


def test_a_power_law_without_noise_is_found_over_the_whole_range():
    law = measured_law(N, 3 * N**1.5, [0.01] * len(N))
    assert law.exponent == pytest.approx(1.5)
    assert (law.start, law.excess) == (0, ())
    # no closer than an overhead too small to be seen allows
    assert (law.lo, law.hi) == pytest.approx((1.5 - LEAST_REACH, 1.5 + LEAST_REACH))


def test_a_plateau_is_left_out_and_how_far_it_lies_above_the_law_is_told():
    times = np.maximum(N, 40.0**2)
    law = measured_law(N, times, [0.01] * len(N))
    assert 4 <= law.start <= 6
    assert law.exponent == pytest.approx(1, abs=0.03)
    # the smallest size takes 1600 where the law says 49
    assert law.excess[0] == pytest.approx(1600 / 49, rel=0.2)
    assert list(law.excess) == sorted(law.excess, reverse=True)


def test_an_interval_reaches_to_the_exponent_without_an_overhead_that_may_be_left():
    law = measured_law(N, N + 600, [0.01] * len(N))
    assert law.start > 2
    assert law.exponent < 0.95
    assert law.lo < 1 < law.hi


def test_scatter_that_no_law_fits_gives_no_law_or_a_wide_interval():
    jagged = N * np.tile([1, 2.5], 5)
    law = measured_law(N, jagged, [0.01] * len(N))
    assert law is None or law.hi - law.lo > 0.5


def test_a_bad_fit_widens_the_interval_although_every_point_is_exact():
    rng = np.random.default_rng(1)
    rough = N * np.exp(rng.normal(0, 0.15, len(N)))
    law, smooth = (measured_law(N, y, [0.001] * len(N)) for y in (rough, N))
    assert law.hi - law.lo > 2 * (smooth.hi - smooth.lo)


def test_few_points_have_wide_intervals_or_none():
    assert measured_law(N[:1], N[:1], [0.01]) is None
    assert measured_law(N[:2], N[:2], [0.01] * 2).lo is None
    three = measured_law(N[:3], N[:3], [0.01] * 3)
    ten = measured_law(N, N, [0.01] * 10)
    assert three.hi - three.lo > 10 * (ten.hi - ten.lo)


CASES = {
    "as exact as its points": (N, 1, 0.01, 0.0),
    "worse than its points": (N, 1, 0.01, 0.05),
    "much worse than its points": (7 * N**1.5, 1.5, 0.01, 0.15),
    "behind a plateau": (np.maximum(N, 600), 1, 0.01, 0.02),
    "behind a rough plateau": (np.maximum(N, 600), 1, 0.01, 0.05),
    "on top of an overhead": (N + 600, 1, 0.01, 0.02),
    "on top of a small overhead": (N**2 + 1000, 2, 0.02, 0.02),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_intervals_hold_the_true_exponent_as_often_as_they_say(name):
    share, width = coverage(*CASES[name], trials=400)
    # 95 % less three standard errors of 400 trials
    assert share > 0.95 - 3 * (0.95 * 0.05 / 400) ** 0.5
    assert width < 0.7


def test_intervals_hold_the_true_exponent_in_a_few_trials():
    share, width = coverage(N, 1, 0.01, 0.05, trials=60)
    assert share > 0.86
    assert width < 0.04


def test_exact_numbers_give_the_exponent_of_the_upper_end():
    gc, nl = [512 * n + 8192 for n in SIDES**2], [256 * n**2 + 131072 * n for n in SIDES**2]
    linear, quadratic = exact_law(SIDES**2, gc), exact_law(SIDES**2, nl)
    assert linear.exponent == pytest.approx(1, abs=0.03)
    assert quadratic.exponent == pytest.approx(2, abs=0.1)
    for law, y in ((linear, gc), (quadratic, nl)):
        assert np.ptp(local_exponents(SIDES**2, y)[law.start :]) <= MATERIAL
        assert np.ptp(local_exponents(SIDES**2, y)[law.start - 1 :]) > MATERIAL
        assert law.lo is law.hi is None
    assert exact_law([1, 2, 4], [5, 5, 5]).exponent == pytest.approx(0)


def test_a_polynomial_is_found_exactly_or_not_at_all():
    sizes = [int(n) for n in SIDES**2]
    assert polynomial(sizes, [256 * n**2 + 131072 * n for n in sizes]) == (0, 131072, 256)
    assert polynomial(sizes, [8192] * 10) == (8192,)
    assert polynomial([2, 4, 8, 16], [c * c // 4 + 3 * c for c in (2, 4, 8, 16)]) == (
        0,
        3,
        Fraction(1, 4),
    )
    off = [256 * n**2 for n in sizes]
    off[3] += 1
    assert polynomial(sizes, off) is None
    # as many coefficients as points would fit anything
    assert polynomial([1, 2, 3], [1, 5, 2]) is None
