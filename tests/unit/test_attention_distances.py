"""Mean distances over all pairs: known answers, the definition's own double loop, and sampling."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import by_double_loop

from gcbench.attention import distances
from gcbench.attention.distances import Directions, Moments, jensen_shannon, sampled_jensen_shannon


def cosine_of(vectors, pieces=1):
    directions = Directions()
    for piece in vectors.chunk(pieces, dim=-2):
        directions.add(piece)
    return directions.distance()


def share_of(rows, pieces=1):
    moments = Moments()
    for piece in rows.chunk(pieces, dim=-2):
        moments.add(piece)
    return moments.share()


def rows_at_random(count, keys, seed=0, sharpness=3.0):
    drawn = torch.Generator().manual_seed(seed)
    return (sharpness * torch.randn(count, keys, generator=drawn).double()).softmax(1)


@pytest.mark.parametrize("count", [1, 2, 50])
def test_rows_that_are_all_equal_are_at_no_distance(count):
    rows = rows_at_random(1, 30).expand(count, 30)
    assert cosine_of(rows) == pytest.approx(0, abs=1e-15)
    assert jensen_shannon(rows) == pytest.approx(0, abs=1e-15)
    assert share_of(rows) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("count", [2, 7, 64])
def test_rows_without_a_key_in_common_have_the_closed_forms(count):
    rows = torch.eye(count)
    apart = 1 - 1 / count  # the share of pairs that are of two different rows
    assert cosine_of(rows) == pytest.approx(apart / 2, abs=1e-12)
    assert jensen_shannon(rows) == pytest.approx(apart * math.log(2), abs=1e-12)
    assert share_of(rows) == pytest.approx(apart, abs=1e-12)


def test_opposite_vectors_are_at_the_largest_distance_there_is():
    assert cosine_of(torch.tensor([[1.0, 2.0], [-1.0, -2.0]])) == pytest.approx(0.5)


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(1, 25),
    keys=st.integers(1, 12),
    pieces=st.integers(1, 5),
    seed=st.integers(0, 10**6),
    sharpness=st.sampled_from([0.01, 1.0, 30.0]),
)
def test_streaming_agrees_with_the_double_loop(count, keys, pieces, seed, sharpness):
    rows = rows_at_random(count, keys, seed, sharpness)
    cosine, divergence = by_double_loop(rows)
    assert cosine_of(rows, pieces) == pytest.approx(cosine, abs=1e-9)
    assert jensen_shannon(rows) == pytest.approx(divergence, abs=1e-9)


@pytest.mark.slow
def test_streaming_agrees_with_the_double_loop_at_400_queries(monkeypatch):
    rows = rows_at_random(400, 20)
    cosine, divergence = by_double_loop(rows)
    assert cosine_of(rows, 7) == pytest.approx(cosine, abs=1e-9)
    assert jensen_shannon(rows) == pytest.approx(divergence, abs=1e-9)
    # in pieces that end in the middle of everything
    monkeypatch.setattr(distances, "PAIR_BYTES", 8 * 400 * 20 * 7)
    assert jensen_shannon(rows) == pytest.approx(divergence, abs=1e-9)


def test_pieces_change_nothing(monkeypatch):
    rows = rows_at_random(50, 9)
    whole = jensen_shannon(rows)
    monkeypatch.setattr(distances, "PAIR_BYTES", 1)
    assert jensen_shannon(rows) == pytest.approx(whole, abs=1e-14)


def test_heads_are_averaged():
    heads = torch.stack([rows_at_random(20, 8, seed) for seed in range(3)])
    for function in (cosine_of, share_of, jensen_shannon):
        one_by_one = sum(function(head) for head in heads) / 3
        assert function(heads) == pytest.approx(one_by_one, abs=1e-12)


def test_keys_that_get_nothing_are_allowed():
    rows = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]])
    assert jensen_shannon(rows) == pytest.approx(by_double_loop(rows)[1], abs=1e-12)


def test_a_vector_of_zeros_has_no_direction():
    assert cosine_of(torch.tensor([[1.0, 0.0], [0.0, 0.0]])) is None
    assert share_of(torch.zeros(3, 2)) is None


def sampled(rows, seed, pairs=400):
    return sampled_jensen_shannon(
        lambda at: rows[at].unsqueeze(0), len(rows), rows.shape[1], pairs, seed
    )


def test_the_interval_of_sampled_pairs_covers_the_exact_mean():
    rows = rows_at_random(60, 10)
    exact = jensen_shannon(rows)
    estimates = [sampled(rows, seed) for seed in range(100)]
    covered = sum(abs(mean - exact) <= half for mean, half in estimates)
    assert covered >= 95
    # and it is no wider than it must be: errors have the size that it tells
    errors = [(mean - exact) / (half / distances.Z) for mean, half in estimates]
    spread = math.sqrt(sum(error**2 for error in errors) / len(errors))
    assert 0.8 < spread < 1.2


def test_four_times_the_pairs_halve_the_interval():
    rows = rows_at_random(60, 10)
    assert sampled(rows, 0, 6400).half_width == pytest.approx(
        sampled(rows, 0, 1600).half_width / 2, rel=0.1
    )


def test_a_sample_is_the_same_for_the_same_seed():
    rows = rows_at_random(60, 10)
    assert sampled(rows, 3) == sampled(rows, 3) != sampled(rows, 4)
