"""Quantiles and histograms of samples: against the definition, and as columns of a table."""

import math
import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import GC, SE, comparison, kept, manifest
from written import drawn

from gcbench import store
from gcbench.records import Run, Timing
from gcbench.report.pivot import pivot
from gcbench.results import tables
from gcbench.stats.distributions import QUANTILES, histogram, quantile, samples

VALUES = st.lists(st.integers(1, 50), min_size=1, max_size=250)


def slow_quantile(values, percent):
    """The least value that so many percent of all do not exceed, by trying each."""
    for value in sorted(values):
        if Fraction(sum(each <= value for each in values), len(values)) >= Fraction(percent, 100):
            return value
    raise AssertionError("the greatest is never exceeded")


@given(VALUES, st.sampled_from(QUANTILES))
def test_a_quantile_is_the_least_value_that_so_many_do_not_exceed(values, percent):
    assert quantile(sorted(values), percent) == slow_quantile(values, percent)


@given(VALUES, st.integers(1, 30))
def test_a_histogram_counts_each_value_up_to_the_99th_percentile_once(values, bins):
    ordered = np.sort(np.array(values, np.float64))
    counts = histogram(ordered, bins)
    end = slow_quantile(values, 99)
    assert len(counts) == bins
    assert sum(counts) == sum(value <= end for value in values)
    least, width = math.log(1 + min(values)), math.log((1 + end) / (1 + min(values))) / bins
    for number, count in enumerate(counts):
        middle = least + (number + 0.5) * width
        # values at an edge may fall to either side of it, as floats do
        inside = [v for v in values if abs(math.log(1 + v) - middle) < 0.49 * width]
        near = [v for v in values if abs(math.log(1 + v) - middle) < 0.51 * width]
        assert width == 0 or len(inside) <= count <= len(near)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=30).filter(any))
def test_bars_are_as_high_as_counts_and_what_is_there_is_seen(counts):
    letters = drawn.bars(counts)
    heights = [" ▁▂▃▄▅▆▇█".index(letter) for letter in letters]
    assert [height > 0 for height in heights] == [count > 0 for count in counts]
    assert max(heights) == 8
    ranked = [height for _, height in sorted(zip(counts, heights, strict=True))]
    assert ranked == sorted(ranked)


def uneven(seed=0, processes=1, calls=(1, 1)):
    """A comparison whose samples are drawn, in processes whose samples hold so many calls."""
    rng, made = random.Random(seed), comparison(GC, SE)
    (timing,) = made.timings

    def drawn_timing(number):
        arms = tuple(replace(arm, calls=calls[number]) for arm in timing.arms)
        replicates = tuple(
            replace(
                each,
                samples_ns=tuple(
                    tuple(rng.randint(10**5, 10**6) for _ in row) for row in each.samples_ns
                ),
            )
            for each in timing.replicates
        )
        return Timing(arms, replicates, "time")

    return replace(made, timings=tuple(drawn_timing(number) for number in range(processes)))


@pytest.mark.parametrize(("processes", "calls"), [(1, (1,)), (1, (7,)), (2, (1, 3))])
def test_columns_are_quantiles_of_all_samples_of_a_call(processes, calls):
    record = uneven(processes=processes, calls=calls)
    for case, row in enumerate(tables.rows(Run(manifest(), (record,)))):
        everything = [
            ns / timing.arms[case].calls
            for timing in record.timings
            for replicate in timing.replicates
            for ns in replicate.samples_ns[case]
        ]
        assert samples(record, case).tolist() == sorted(everything)
        for percent in QUANTILES:
            expected = slow_quantile(everything, percent) / 1e3
            assert row[f"latency_us_p{percent}"] == pytest.approx(expected, rel=1e-12)
        assert row["latency_us_min"] == pytest.approx(min(everything) / 1e3, rel=1e-12)
        assert row["samples"] == len(everything)


def test_what_was_not_timed_has_no_quantiles_and_no_line():
    run = Run(manifest(), (comparison(GC, SE, statuses=("ok", "oom")),))
    one, two = tables.rows(run)
    assert one["latency_us_p99"] is not None
    assert [two[name] for name in tables.QUANTILE_COLUMNS] == [None] * 3
    heading, line = drawn.lines(tables.placed(run), run)
    assert heading.startswith("samples at 1x256x56x56")
    assert line.startswith("gc r16  ")
    failed = Run(manifest(), (comparison(GC, statuses=("oom",)),))
    assert list(drawn.lines(tables.placed(failed), failed)) == []


def test_quantiles_are_values_of_a_pivot():
    run = Run(manifest(), (uneven(),))
    made = pivot(tables.rows(run), value="latency_us_p90")
    assert made.heading[0] == "latency, 90th percentile of the samples"
    assert [place.value for place in made.lines[0][1]] == [
        row["latency_us_p90"] for row in tables.rows(run)
    ]


def test_every_row_has_a_line_of_bars_read_from_disk_or_not(tmp_path):
    records = uneven(0), replace(uneven(1), measurements=comparison(GC, SE, batch=2).measurements)
    run = Run(manifest(), records)
    stored = store.open_run(kept(tmp_path / "a.jsonl", *records), pytest.fail)
    lines = list(drawn.lines(tables.placed(run), run))
    assert list(drawn.lines(tables.placed(stored), stored)) == lines
    assert [line.split()[0] for line in lines] == ["samples", "gc", "se"] * 2
    for one, two in (lines[1:3], lines[4:6]):
        assert one.index("  p50 ") == two.index("  p50 ")
        assert all(sum(line.count(bar) for bar in "▁▂▃▄▅▆▇█") > 3 for line in (one, two))


def test_images_per_second_are_the_batch_over_the_latency_where_images_go_through():
    for batch, mode in ((1, "infer"), (4, "infer"), (4, "train"), (4, "backward")):
        run = Run(manifest(), (comparison(GC, SE, batch=batch, mode=mode),))
        for row in tables.rows(run):
            if mode == "backward":
                assert row["images_per_s"] is None
            else:
                assert row["images_per_s"] == pytest.approx(batch * 1e6 / row["latency_us"])
