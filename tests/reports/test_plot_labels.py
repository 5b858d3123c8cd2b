"""Where words and ticks go, by property: numbers alone, nothing is drawn."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcbench.report.charts import theme
from gcbench.report.charts.labels import (
    Box,
    beside,
    distinct,
    shortened,
    spread,
    text_width,
    thinned,
    wrapped,
)
from gcbench.report.charts.scales import Scale, around, round_ticks

PLACES = st.lists(st.floats(-50, 150), max_size=12)
WORDS = st.text("abc xyz.:=W", max_size=60)


@given(PLACES)
def test_spread_labels_are_apart_inside_and_in_their_order(wanted):
    placed = spread(wanted, 8, 0, 100)
    assert all(-1e-9 <= place <= 100 + 1e-9 for place in placed)
    ordered = [place for _, place in sorted(zip(wanted, placed, strict=True), key=lambda p: p[0])]
    assert all(b - a >= 8 - 1e-9 for a, b in itertools.pairwise(ordered))


@given(PLACES)
def test_labels_that_are_apart_already_stay(wanted):
    placed = spread(wanted, 8, 0, 100)
    assert spread(placed, 8, 0, 100) == pytest.approx(placed)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=3))
def test_labels_move_as_little_as_the_best_of_all_places(wanted):
    def moved(places):
        return sum((a - b) ** 2 for a, b in zip(wanted, places, strict=True))

    order = sorted(range(len(wanted)), key=lambda each: wanted[each])
    best = min(
        moved([dict(zip(order, places, strict=True))[each] for each in range(len(wanted))])
        for places in itertools.combinations([half / 2 for half in range(25)], len(wanted))
        if all(b - a >= 3 for a, b in itertools.pairwise(places))
    )
    assert moved(spread(wanted, 3, 0, 12)) <= best + 1e-9


def test_more_labels_than_room_are_shared_out_evenly():
    assert spread([5.0] * 5, 10, 0, 20) == [0, 5, 10, 15, 20]


@given(st.lists(st.floats(0, 400), max_size=30).map(sorted), st.floats(1, 60))
def test_labels_of_an_axis_do_not_meet_and_the_last_stands(places, width):
    kept = thinned(places, [width] * len(places), 4)
    assert kept[-1:] == ([len(places) - 1] if places else [])
    assert all(places[b] - places[a] >= width + 4 - 1e-6 for a, b in itertools.pairwise(kept))


def test_twelve_labels_of_one_point_are_clear_of_each_other_and_of_what_is_drawn():
    room, taken = Box(0, 0, 600, 400), [Box(290, 0, 310, 400)]
    boxes = beside([(300.0, 200.0)] * 12, [70.0] * 12, 16, room, taken)
    assert all(box.within(room) for box in boxes)
    pairs = [*itertools.combinations(boxes, 2), *((box, taken[0]) for box in boxes)]
    assert not [pair for pair in pairs if pair[0].overlaps(pair[1])]


@given(WORDS, st.floats(60, 300))
def test_wrapped_lines_hold_all_letters_and_are_no_wider_than_asked(text, width):
    lines = list(wrapped(text, 11, width))
    assert all(text_width(line, 11) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


@given(st.lists(WORDS, max_size=6, unique=True), st.floats(60, 200))
def test_short_labels_are_no_wider_than_asked_and_no_two_are_alike(texts, width):
    short = distinct(texts, 12, width)
    assert len(set(short)) == len(texts)
    assert all(text_width(word, 12) <= width for word in short)


def test_a_label_that_fits_is_left_as_it_is():
    assert shortened("gc:ratio=8", 12, 500) == "gc:ratio=8"


@given(st.floats(1e-3, 1e6), st.floats(1.01, 1e7), st.booleans(), st.floats(0, 1))
def test_a_scale_leads_from_values_to_pixels_and_back(lo, factor, log, share):
    scale = Scale(lo, lo * factor, 400, log)
    assert scale.value(scale.pixel(scale.value(400 * share))) == pytest.approx(
        scale.value(400 * share)
    )
    assert (scale.pixel(scale.lo), scale.pixel(scale.hi)) == pytest.approx((0, 400), abs=1e-6)


@given(st.lists(st.floats(1e-2, 1e8), min_size=1, max_size=5), st.sampled_from([2, 10]))
def test_ticks_are_few_inside_and_round(values, base):
    scale = around(values, 400)
    assert all(0 < scale.pixel(value) < 400 for value in values)
    ticks = round_ticks(scale, base)
    assert len(ticks) <= 14
    assert all(scale.lo <= tick <= scale.hi for tick in ticks)
    # of a few digits in tens, or quarters of powers of two
    quarters = [4 * tick / 2.0 ** math.floor(math.log2(tick)) for tick in ticks]
    assert all(float(f"{t:.1e}") == t or q % 1 == 0 for t, q in zip(ticks, quarters, strict=True))
    assert len(ticks) >= 2


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * p for weight, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_lines_stand_out_from_paper_and_are_told_apart_without_colour():
    styles = [theme.style(number, number) for number in range(24)]
    assert len({(style.dash, style.shape) for style in styles}) == 24
    for style in styles:
        assert 1.05 / (luminance(style.colour) + 0.05) >= 3
        assert 1.05 / (luminance(theme.darker(style.colour)) + 0.05) >= 4.5
