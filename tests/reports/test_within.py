"""Which variants fit into an added latency: by intervals whose answer is known."""

import pytest
from commands import ran

from gcbench.analysis.within import settings
from gcbench.cli.network_options import SEARCHED, read_rows
from gcbench.report.within import layout

PLAIN = "net|plain|1x3x8x8|float32|cpu|contiguous|infer|eager|warm|threads=auto"


def row(name, relative, params, macs, half=0.01, **more):
    known = {
        "key": f"net|{name}|1x3x8x8|float32|cpu|contiguous|infer|eager|warm|threads=auto",
        "network": "net",
        "baseline": PLAIN,
        "relative": relative,
        "relative_lo": None if relative is None else relative - half,
        "relative_hi": None if relative is None else relative + half,
        "params_added": params,
        "macs_added": macs,
        "verdict": "slower",
    }
    return {**known, **more}


ROWS = [
    row("plain", 1.0, 0, 0),
    row("a", 1.010, 100, 1000),
    row("b", 1.025, 200, 1000),
    row("c", 1.050, 400, 900),
    row("d", 1.015, 90, 1000),
    row("e", 1.015, 500, 5000, relative_lo=None, relative_hi=None),
    row("f", 1.015, 1, 1, verdict="untrusted"),
    row("g", 1.020, None, None),
]


def test_a_variant_fits_by_its_whole_interval():
    found = {each.name: each.fits for each in settings(ROWS, 0.03)}
    assert found == {
        "a": "yes",
        "b": "unresolved",
        "c": "no",
        "d": "yes",
        "e": "unresolved",
        "f": "unresolved",
    }
    # 1.04, where c begins, still leaves it open
    assert [each.fits for each in settings(ROWS, 0.045) if each.name in "bc"] == [
        "yes",
        "unresolved",
    ]


def test_the_best_are_those_that_no_other_beats_in_all_three():
    found = settings(ROWS, 0.03)
    assert [each.added for each in found] == sorted(each.added for each in found)
    # b adds more parameters than a, c than b; e, which adds most in less time, has no interval
    assert {each.name for each in found if each.is_best} == {"a", "b", "c"}


def test_the_table_says_what_fits_and_what_is_open():
    told = layout(settings(ROWS, 0.03), 0.03)
    assert told.heading == [
        "2 of 6 variants add at most 3 % of the plain network's latency; 3 unresolved: a longer "
        "--max-time narrows their intervals"
    ]
    assert told.notes[-1] == "most parameters within: a"
    by_name = {line[0]: line for line in told.lines}
    assert by_name["a"][1:] == ["+1.0 %", "+0.0 % to +2.0 %", "100", "1.00 k", "yes", "best"]
    assert by_name["e"][2] == "no interval"


def test_a_block_without_places_is_searched_over_stages():
    wanted = read_rows(["gc", "se@c4.0"], ["x=eca"], ["after_1x1"], searched=True)
    assert [text for text, _ in wanted] == [
        *(f"gc@{each}" for each in SEARCHED),
        "se@c4.0",
        "x=eca",
    ]
    assert len(read_rows(None, None, ["after_1x1"], searched=True)) == len(SEARCHED)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--within", "3%", "--static"], "--static times nothing"),
        (["--within", "3%", "--format", "csv"], "drop --format csv"),
        (["--within", "300%"], "--within takes a share between 0 and 100 %"),
        (["--insert", "gc"], "does not say where"),
    ],
)
def test_what_cannot_be_searched_is_one_clear_line(more, words, capsys):
    code, out, err = ran("network", "resnet18", *more, capsys=capsys)
    assert (code, out) == (2, "")
    assert words in err.splitlines()[-1]


def test_the_search_stands_below_the_rows(capsys):
    arguments = ["resnet18", "--insert", "gc@c5.last", "--within", "90%", "-r", "4,16"]
    few = ["--size", "32", "--threads", "1", "--precision", "50%", "--max-time", "100ms"]
    code, out, err = ran("network", *arguments, *few, capsys=capsys)
    assert code == 0, err
    assert "of 2 variants add at most 90 % of the plain network's latency" in out
    assert "gc@c5.last r4" in out.partition("variants add")[2]
