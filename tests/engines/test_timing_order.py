"""Rounds are permutations, balanced for who follows whom."""

import random
from collections import Counter
from itertools import pairwise, permutations

import pytest

from gcbench.measure.timing.order import balanced_rounds


def square_size(arms):
    """Rows of a Williams square: twice as many for an odd number of arms."""
    return arms * (1 + arms % 2)


def assert_balanced(rounds, arms):
    followers = Counter(pair for order in rounds for pair in pairwise(order))
    assert set(followers) == set(permutations(range(arms), 2))
    assert len(set(followers.values())) <= 1, followers


@pytest.mark.parametrize("arms", range(1, 10))
@pytest.mark.parametrize("count", [1, 7, 60])
def test_each_round_is_a_permutation_of_the_arms(arms, count):
    rounds = balanced_rounds(arms, count, random.Random(0))
    assert len(rounds) == count
    assert all(sorted(order) == list(range(arms)) for order in rounds)


@pytest.mark.parametrize("arms", range(1, 10))
@pytest.mark.parametrize("seed", range(3))
def test_within_each_square_every_arm_follows_every_other_equally_often(arms, seed):
    size = square_size(arms)
    rounds = balanced_rounds(arms, 3 * size, random.Random(seed))
    for start in range(0, len(rounds), size):
        assert_balanced(rounds[start : start + size], arms)


@pytest.mark.parametrize("arms", range(1, 10))
def test_within_each_square_every_arm_takes_every_place_equally_often(arms):
    rounds = balanced_rounds(arms, square_size(arms), random.Random(0))
    for column in zip(*rounds, strict=True):
        assert set(Counter(column).values()) == {square_size(arms) // arms}


def test_the_order_is_decided_by_the_generator_alone():
    assert balanced_rounds(5, 30, random.Random(7)) == balanced_rounds(5, 30, random.Random(7))
    assert balanced_rounds(5, 30, random.Random(7)) != balanced_rounds(5, 30, random.Random(8))


def test_squares_are_shuffled_anew():
    rounds = balanced_rounds(4, 8, random.Random(0))
    assert rounds[:4] != rounds[4:]


def test_a_single_round_can_begin_with_any_arm():
    firsts = {balanced_rounds(4, 1, random.Random(seed))[0][0] for seed in range(50)}
    assert firsts == set(range(4))
