"""A pivot puts every case in one place, and says in words where there is no number."""

import re

import pytest
from runs import GC, NL, SE, comparison, manifest, swept

from gcbench.errors import UsageError
from gcbench.records import Run
from gcbench.report.pivot import pivot
from gcbench.results import tables
from gcbench.spec.cases import Block


def rows(*comparisons):
    return list(tables.rows(Run(manifest(), comparisons)))


def texts(made):
    """The pivot's lines as text, the header first."""
    lines = [(*labels, *(place.text for place in places)) for labels, places in made.lines]
    return [(*made.row_names, *made.columns), *lines]


SIZES = rows(*[comparison(GC, SE, NL, size=(size, size)) for size in (7, 14)])


def test_sizes_stand_below_each_other_and_blocks_side_by_side():
    assert texts(pivot(SIZES, ["size"], "block", "relative")) == [
        ("size", "gc r16", "se r16", "nl"),
        ("7x7", "1", "2.00", "3.00"),
        ("14x14", "1", "2.00", "3.00"),
    ]


def test_without_a_word_rows_are_what_varies_and_the_value_is_the_relative():
    assert pivot(SIZES) == pivot(SIZES, ["size"], "block", "relative")
    [line] = texts(pivot(rows(comparison(GC, SE))))[1:]
    assert line == ("56x56", "1", "2.00")


def test_digits_are_those_of_the_table_and_values_keep_all_of_theirs():
    made = pivot(SIZES, ["size"], "block", "latency_us")
    assert texts(made)[1] == ("7x7", "100 µs", "200 µs", "300 µs")
    assert [place.value for place in made.lines[0][1]] == [100.001, 200.001, 300.001]
    assert texts(pivot(SIZES, ["size"], "block", "macs"))[1] == ("7x7", *["1.00 k"] * 3)


def test_an_axis_that_nobody_named_gets_a_label_of_its_own():
    varied = rows(
        *(
            comparison(GC, NL, size=(size, 7), channels=channels, ratio=4)
            for size in (7, 14)
            for channels in (16, 32)
        )
    )
    made = pivot(varied, ["size"], "block", "relative")
    assert texts(made)[0] == ("size", "channels", "gc r4", "nl")
    assert [labels for labels, _ in made.lines] == [
        ("7x7", "16"),
        ("7x7", "32"),
        ("14x7", "16"),
        ("14x7", "32"),
    ]
    assert pivot(varied, ["shape"]).row_names == ("shape",)
    assert pivot(varied, ["height"]).row_names == ("height", "channels")
    assert pivot(varied, (), "channels").row_names == ("size", "block")


def ratios():
    """Gc at two ratios and nl, which has none, in one comparison."""
    blocks = [Block("gc", "gc", ratio, False) for ratio in (4, 8)]
    return rows(comparison(*blocks, NL))


def test_ratios_are_part_of_a_block_s_name_or_an_axis_of_their_own():
    assert texts(pivot(ratios()))[0] == ("size", "gc r4", "gc r8", "nl")
    assert texts(pivot(ratios(), ["ratio"])) == [
        ("ratio", "gc", "nl"),
        ("4", "1", "-"),
        ("8", "2.00", "-"),
        ("none", "-", "3.00"),
    ]
    assert texts(pivot(ratios(), ["size"], "ratio"))[0] == ("size", "block", "4", "8", "none")


def test_two_copies_of_a_block_have_two_places():
    assert texts(pivot(rows(comparison(GC, GC))))[0] == ("size", "gc r16", "gc r16 #2")


def test_failures_are_words_with_their_reasons_and_never_a_number_or_a_hole():
    failed = rows(
        comparison(GC, SE, NL, statuses=("ok", "oom", "crashed")),
        comparison(GC, SE, NL, statuses=("timeout", "ok", "ok"), size=(7, 7)),
    )
    for row in failed[3:]:
        row["flags"] = "baseline_failed"
    made = pivot(failed)
    assert texts(made)[1:] == [
        ("56x56", "1", "oom", "crashed"),
        ("7x7", "timeout", "no baseline", "no baseline"),
    ]
    assert [place.value for place in made.lines[0][1]] == [1.0, "oom", "crashed"]
    assert made.notes == (
        "oom (1): it was oom",
        "crashed (1): it was crashed",
        "timeout (1): it was timeout",
    )
    # what was counted stands there although it was not timed
    assert texts(pivot(failed, value="macs"))[1] == ("56x56", *["1.00 k"] * 3)


def test_doubtful_verdicts_are_marked_and_the_mark_is_explained():
    doubted = [row | {} for row in SIZES]
    doubted[1]["verdict"], doubted[2]["verdict"] = "unresolved", "untrusted"
    made = pivot(doubted)
    assert texts(made)[1] == ("7x7", "1", "2.00 ?", "3.00 !")
    assert [note[:2] for note in made.notes] == ["?:", "!:"]
    assert pivot(doubted, value="latency_us").notes == ()


def test_times_of_a_busy_machine_are_marked_and_counts_are_not():
    quiet = list(tables.rows(Run(manifest(), (comparison(GC, SE),))))
    busy = [{**row, "flags": "drift contended"} for row in quiet]
    for value, mark in (("relative", " ~"), ("latency_us", " ~"), ("macs", "")):
        assert not any(
            "~" in cell.text for _, cells in pivot(quiet, value=value).lines for cell in cells
        )
        made = pivot(busy, value=value)
        assert all(cell.text.endswith(mark) for _, cells in made.lines for cell in cells)
        assert any("machine busy" in note for note in made.notes) == bool(mark)


def test_what_was_not_timed_shows_what_was_counted():
    untimed = [
        dict.fromkeys(tables.COLUMNS) | row | {"relative": None, "latency_us": None}
        for row in SIZES
    ]
    assert pivot(untimed).value == "macs"
    assert texts(pivot(untimed, value="latency_us"))[1] == ("7x7", "none", "none", "none")


def test_what_all_rows_share_stands_above():
    assert pivot(SIZES).heading == (
        "latency relative to gc r16; below 1 is faster",
        "batch 1 · 256 channels · float32 · cpu · contiguous · infer · eager · warm cache · "
        "threads 2",
        "cpu: AMD EPYC · torch 2.14.1+cu130 · gcbench 0.1.0 · measured 2026-11-23",
        "A/A (a baseline against its own copy): 1.0 to 1.0, the worst of 2",
    )


def test_no_rows_make_an_empty_pivot():
    assert pivot([]).lines == ()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((["siez"],), r"--rows 'siez' is no column: did you mean 'size'\?"),
        (([], "blok"), r"--columns 'blok' is no column: did you mean 'block'\?"),
        ((["size"], "block", "latency"), "--value 'latency' is no column: did you mean"),
        ((["size"], "size"), "--rows and --columns name the same column twice"),
        ((["size", "size"], "block"), "name the same column twice"),
    ],
)
def test_a_name_that_is_none_is_one_clear_line(arguments, words):
    with pytest.raises(UsageError, match=words):
        pivot(SIZES, *arguments)


def test_no_title_has_a_unit_that_its_cells_do_not_have():
    ends = re.compile(r"_(us|ms|bytes|fraction|per_s)(_|$)")
    scaled = [column for column in tables.COLUMNS if ends.search(column)]
    assert len(scaled) > 10
    for column in scaled:
        assert not ends.search(pivot(SIZES, value=column).heading[0]), column


def test_the_ends_of_a_latency_are_written_as_it_is():
    noisy = rows(*swept(1, sizes=(7,)))
    for column in ("latency_us", "latency_us_lo", "latency_us_hi", "latency_us_min"):
        cells = [place.text for _, places in pivot(noisy, value=column).lines for place in places]
        assert all(re.fullmatch(r"[0-9.]{3,5} µs", cell) for cell in cells), cells


def test_a_pair_is_told_to_be_relative_to_itself():
    kinds = (("infer", "baseline"), ("train", "slower"))
    paired = [
        {**row, "pair": "mode", "mode": mode, "verdict": verdict}
        for row in SIZES
        for mode, verdict in kinds
    ]
    title = pivot(paired, ["size"], "mode", "relative").heading[0]
    assert title == "latency relative to itself at mode infer; below 1 is faster"
