"""Textbook statistics, against slow ways to the same numbers."""

import math
from fractions import Fraction

import numpy as np
import pytest

from gcbench.stats.textbook import lack_of_fit, share_interval, sign_test, student_t

RATES = (0.2, 0.05, 0.000625, 1e-6)


def beyond(t, dof):
    """P(|T| > t), by summing the density over t = sqrt(dof) tan(angle): cos(angle)^(dof - 1)."""
    cut, end = math.atan2(t, math.sqrt(dof)), math.pi / 2
    middles = (np.arange(2**20) + 0.5) / 2**20
    tail = (end - cut) * np.mean(np.cos(cut + (end - cut) * middles) ** (dof - 1))
    return tail / (end * np.mean(np.cos(end * middles) ** (dof - 1)))


@pytest.mark.parametrize("dof", [1, 2, 3, 4, 7, 30, 200, 201, 5000])
def test_student_t_is_where_the_tails_of_the_density_have_the_error_rate(dof):
    for rate in RATES:
        assert beyond(student_t(dof, rate), dof) == pytest.approx(rate, rel=1e-6)


@pytest.mark.parametrize("rate", RATES)
def test_student_t_of_one_and_two_degrees_has_a_closed_form(rate):
    assert student_t(1, rate) == pytest.approx(1 / math.tan(math.pi * rate / 2), rel=1e-9)
    within = 1 - rate
    assert student_t(2, rate) == pytest.approx(within * math.sqrt(2 / (1 - within**2)), rel=1e-9)


def at_least(hits, trials, share):
    """Chance of at least so many hits, exactly."""
    share = Fraction(share)
    return sum(
        math.comb(trials, k) * share**k * (1 - share) ** (trials - k)
        for k in range(hits, trials + 1)
    )


@pytest.mark.parametrize("rate", [0.05, 0.01])
@pytest.mark.parametrize("trials", [1, 7, 40])
def test_the_interval_of_a_share_ends_where_exact_tails_become_unlikely(trials, rate):
    for hits in range(trials + 1):
        lo, hi = share_interval(hits, trials, rate)
        assert (lo == 0) == (hits == 0)
        assert (hi == 1) == (hits == trials)
        if hits:
            assert float(at_least(hits, trials, lo)) == pytest.approx(rate / 2, rel=1e-9)
        if hits < trials:
            few = 1 - at_least(hits + 1, trials, hi)
            assert float(few) == pytest.approx(rate / 2, rel=1e-9)


def test_an_interval_of_no_trials_is_all_there_is():
    assert share_interval(0, 0, 0.05) == (0.0, 1.0)


def test_the_sign_test_is_twice_the_smaller_tail_exactly():
    for tosses in range(61):
        for above in range(tosses + 1):
            few = min(above, tosses - above)
            tails = 2 * sum(math.comb(tosses, k) for k in range(few + 1))
            expected = min(Fraction(1), Fraction(tails, 2**tosses))
            assert sign_test(above, tosses - above) == pytest.approx(float(expected), rel=1e-12)


def test_what_is_added_to_errors_makes_squares_as_many_as_are_independent():
    residuals, errors = np.array([0.3, -0.2, 0.1, -0.25]), np.array([0.01, 0.02, 0.05, 0.01])

    def squares(added):
        return float(np.sum(residuals**2 / (errors**2 + added)))

    found = lack_of_fit(squares, 3, 1.0, 1e-12)
    assert squares(found) == pytest.approx(3, rel=1e-9)
    # with one error for all it is the mean of the squares, less that of an error
    alike = lack_of_fit(lambda added: float(np.sum(residuals**2) / (0.01 + added)), 3, 1.0, 1e-12)
    assert alike == pytest.approx(float(np.sum(residuals**2)) / 3 - 0.01, rel=1e-9)


@pytest.mark.parametrize(("freedom", "errors"), [(3, 1.0), (0, 0.01)])
def test_nothing_is_added_where_errors_explain_all_or_nothing_is_independent(freedom, errors):
    assert lack_of_fit(lambda added: 0.1 / (errors + added), freedom, 1.0, 1e-3) == 0
