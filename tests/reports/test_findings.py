"""What a run shows beside its rows: growth, crossovers and ranks, against oracles."""

import re
from dataclasses import replace
from itertools import combinations

import pytest
from runs import GC, NL, SE, comparison, manifest, on_device

from gcbench.analysis.points import Point
from gcbench.analysis.ranking import ranking, tally
from gcbench.analysis.sections import Watch
from gcbench.records import Replicate, Run
from gcbench.results import tables
from gcbench.results.tables import Address
from gcbench.spec.cases import Block

SNL = Block("snl", "snl", None, False)
SIZES = (7, 14, 28, 56, 112)


def timed(size, costs, macs=(1000, 1000, 1000), blocks=(GC, SE, NL), **axes):
    """A comparison in which the blocks take so many microseconds, the first is the baseline."""
    made = comparison(*blocks, size=(size, size), **axes)
    [timing] = made.timings
    ns = [round(1000 * cost) for cost in costs]
    rows = tuple((cost, cost + 1, cost + 2) for cost in (*ns, ns[0], 20_000))
    replicates = tuple(Replicate(rows, each.disturbance) for each in timing.replicates)
    measured = zip(made.measurements, macs, strict=True)
    return replace(
        made,
        timings=(replace(timing, replicates=replicates),),
        measurements=tuple(replace(m, metrics={"macs": count}) for m, count in measured),
    )


def findings(*comparisons):
    run = Run(manifest(), comparisons)
    watch = Watch(run)
    assert list(watch.over(tables.placed(run))) == list(tables.rows(run))
    return watch.findings


def one(found, quantity, block, variable="N"):
    [growth] = [
        each
        for each in found.as_json()["growth"]
        if (each["quantity"], each["block"], each["variable"]) == (quantity, block, variable)
    ]
    return growth


def test_exponents_of_gc_and_nl_are_near_1_and_2_and_their_macs_are_written_out():
    found = findings(
        *(
            timed(s, (s**2, 50, s**4), (512 * s**2 + 8192, 8192, 256 * s**4 + 131072 * s**2))
            for s in (7, 10, 14, 20, 28, 40, 56, 72, 96, 112)
        )
    )
    gc, se, nl = (one(found, "macs", block) for block in ("gc r16", "se r16", "nl"))
    assert gc["exponent"] == pytest.approx(1, abs=0.05)
    assert nl["exponent"] == pytest.approx(2, abs=0.1)
    assert se["exponent"] == pytest.approx(0, abs=1e-9)
    assert [each["formula"] for each in (gc, se, nl)] == [
        "512 N + 8,192",
        "8,192",
        "256 N^2 + 131,072 N",
    ]
    assert nl["exponent_lo"] is None
    for block, exponent in (("gc r16", 1), ("se r16", 0), ("nl", 2)):
        law = one(found, "latency_us", block)
        assert law["exponent_lo"] < exponent < law["exponent_hi"]
        assert law["exponent_hi"] - law["exponent_lo"] < 0.1


def test_sizes_of_a_plateau_are_named_with_how_far_they_are_off():
    sides = (7, 10, 14, 20, 28, 40, 56, 72, 96, 112)
    found = findings(*(timed(s, (max(s**2, 800), 10, 20)) for s in sides))
    law = one(found, "latency_us", "gc r16")
    assert law["left_out"][:3] == ("7x7", "10x10", "14x14")
    assert law["from"] in ("28x28", "40x40")
    assert "7x7 to" in law["why_left_out"]
    assert law["why_left_out"].endswith("so mostly overhead")
    [line] = [line for line in found.sentences() if line.startswith("gc r16: ")]
    assert law["why_left_out"] in line


def test_growth_with_channels_is_told_where_they_vary():
    made = [
        timed(8, (c**2, c, 5), (3 * c**2, c, 7), channels=c) for c in (16, 32, 64, 128, 256, 512)
    ]
    found = findings(*made)
    assert one(found, "macs", "gc r16", "C")["formula"] == "3 C^2"
    assert one(found, "latency_us", "se r16", "C")["exponent"] == pytest.approx(1, abs=0.01)
    assert all(each["variable"] == "C" for each in found.as_json()["growth"])


def test_one_shape_is_one_line_and_one_block_none():
    assert len(findings(timed(56, (300, 100, 900), (3, 1, 9))).sentences()) == 1
    assert findings(comparison(GC, SE)).sentences() == []
    assert findings().sentences() == []


def test_many_blocks_are_cut_and_that_is_said():
    blocks = [Block("gc", "gc", ratio, False) for ratio in range(2, 12)]
    made = [timed(s, [10.0 * s * (1 + i) for i in range(10)], [s * s] * 10, blocks) for s in SIZES]
    told = findings(*made).sentences()
    assert len(told) < 12
    assert "and 4 more blocks: --format json has them" in told


# se is slower than nl at small sizes and faster from 28 on; neither is the baseline
CROSSING = [
    timed(s, (100, 50 if s < 20 else 60, 40 if s < 14 else 50 if s < 28 else 90)) for s in SIZES
]


def test_two_blocks_that_are_no_baseline_cross_by_verdicts_of_their_own():
    [crossover] = findings(*CROSSING).as_json()["crossovers"]
    assert (crossover["block"], crossover["other"]) == ("se r16", "nl")
    assert crossover["stretches"] == [
        {"verdict": "slower", "from": "7x7", "to": "7x7"},
        {"verdict": "unresolved", "from": "14x14", "to": "14x14"},
        {"verdict": "faster", "from": "28x28", "to": "112x112"},
    ]
    told = findings(*CROSSING).sentences()
    assert "se r16 is slower than nl up to 7x7 and faster from 28x28 on (unresolved at 14x14)" in (
        told
    )


def test_a_crossover_against_the_baseline_has_the_verdicts_of_the_table():
    made = [timed(s, (100, 50 if s < 28 else 200, 900)) for s in SIZES]
    run = Run(manifest(), tuple(made))
    verdicts = [row["verdict"] for row in tables.rows(run) if row["block"] == "se"]
    assert verdicts == ["faster"] * 2 + ["slower"] * 3
    assert "gc r16 is slower than se r16 up to 14x14 and faster from 28x28 on" in (
        findings(*made).sentences()
    )


def test_medians_that_cross_without_verdicts_are_no_crossover():
    made = [timed(s, (100, 100.5 if s < 28 else 99.5, 900)) for s in SIZES]
    found = findings(*made)
    assert found.as_json()["crossovers"] == []
    assert found.as_json()["crossovers_not_resolved"] == 1
    [line] = [line for line in found.sentences() if "change places" in line]
    assert "1 pair may" in line


def test_blocks_that_never_cross_are_said_not_to():
    made = [timed(s, (100, 50, 900)) for s in SIZES]
    assert "no two blocks are found to change places from 7x7 to 112x112" in (
        findings(*made).sentences()
    )


def test_the_other_axes_of_a_crossover_are_named():
    made = [
        timed(s, (100, 50 if s < 28 else 200, 900), channels=c) for s in SIZES for c in (16, 32)
    ]
    told = findings(*made).sentences()
    assert "16 channels: gc r16 is slower than se r16 up to 14x14 and faster from 28x28 on" in told


def point(macs, latency):
    return Point("x", Address(0, 0), (), 1, 1, 1, macs, latency, 0.0, None, None)


def slow_tau(pairs):
    """Kendall's tau-b by its definition: signs of all differences, multiplied and normed."""

    def sign(x):
        return (x > 0) - (x < 0)

    signs = [(sign(a[0] - b[0]), sign(a[1] - b[1])) for a, b in combinations(pairs, 2)]
    norm = sum(m * m for m, _ in signs) * sum(t * t for _, t in signs)
    return sum(m * t for m, t in signs) / norm**0.5


@pytest.mark.parametrize(
    ("pairs", "known"),
    [
        ([(1, 1.0), (2, 2.0), (3, 3.0)], 1),
        ([(1, 3.0), (2, 2.0), (3, 1.0)], -1),
        # 5 of 6 pairs alike, and one MAC count twice: (4 - 1) / sqrt(5 * 6)
        ([(1, 1.0), (1, 2.0), (2, 4.0), (3, 3.0)], 3 / 30**0.5),
        ([(5, 1.0), (5, 2.0), (5, 2.0), (9, 2.0)], 2 / 3),
    ],
)
def test_kendall_s_tau_is_that_of_its_definition_with_ties(pairs, known):
    found = tally([point(*pair) for pair in pairs]).tau
    assert found == pytest.approx(slow_tau(pairs))
    if known != 2 / 3:
        assert found == pytest.approx(known)


def test_tau_of_what_has_no_order_is_none():
    assert tally([point(5, 1.0), point(5, 2.0), point(5, 3.0)]).tau is None


def test_the_worst_inversion_is_the_one_with_most_macs_that_a_verdict_resolves():
    found = findings(
        timed(7, (100, 50, 99.9), (1000, 4000, 50_000)),
        timed(14, (100, 150, 60), (1000, 2000, 1500)),
    )
    worst = found.as_json()["ranking"]["worst_inversion"]
    # nl has 50 times the MACs of gc at 7x7, but there they take the same time
    assert (worst["block"], worst["other"], worst["macs_ratio"]) == ("se r16", "gc r16", 4)
    assert worst["relative"] == pytest.approx(0.5, rel=1e-3)
    assert worst["axes"]["size"] == "7x7"
    [line] = found.sentences()[-1:]
    assert line.endswith(
        "worst inversion at 7x7: se r16 has 4 times the MACs of gc r16, yet takes 0.5 of its time"
    )


def test_orders_of_several_comparisons_add_up_pair_by_pair():
    found = findings(
        timed(7, (100, 50, 900), (2, 1, 3)), timed(14, (100, 50, 900), (2, 3, 1))
    ).as_json()["ranking"]
    assert [each["kendall_tau_b"] for each in found["comparisons"]] == [1, -1]
    assert found["kendall_tau_b"] == 0


def test_an_order_is_one_of_blocks_at_one_value_of_a_paired_axis():
    # compiled all are slower, which is nothing that MACs could tell
    points = [
        point(macs, latency)._replace(paired=(("runtime", runtime),))
        for runtime, factor in (("eager", 1), ("compile", 10))
        for macs, latency in ((10, 1.0 * factor), (20, 2.0 * factor), (30, 3.0 * factor))
    ]
    found = ranking(points, Run(manifest(), ())).as_json()
    assert (found["kendall_tau_b"], found["worst_inversion"]) == (1, None)
    assert [each["axes"]["runtime"] for each in found["comparisons"]] == ["eager", "compile"]


def test_what_failed_or_was_not_timed_together_is_compared_with_nothing():
    failed = comparison(GC, SE, NL, statuses=("oom", "error", "timeout"))
    found = findings(failed)
    assert found.sentences() == []
    assert found.as_json()["ranking"]["kendall_tau_b"] is None
    # nl was tried again, beside the baseline alone
    first = comparison(GC, SE, NL, statuses=("ok", "ok", "oom"))
    again = comparison(GC, NL)
    assert findings(first, again).as_json()["crossovers"] == []


def test_series_that_follow_one_formula_are_told_as_one():
    made = [
        timed(s, (100, 50, 900), (512 * s * s, 7, 3 * s * s), dtype=dtype)
        for s in SIZES
        for dtype in ("float32", "bfloat16")
    ]
    told = findings(*made).sentences()
    assert any("gc r16: MACs grow as N^1.00 from 7x7 to 112x112, exactly 512 N;" in x for x in told)
    assert any("se r16: MACs do not depend on N;" in x for x in told)


def test_an_inversion_in_favour_of_the_baseline_has_the_inverse_of_the_table_s_relative():
    worst = findings(timed(7, (100, 200, 900), (5000, 1000, 9000))).as_json()["ranking"]
    assert worst["worst_inversion"]["block"] == "gc r16"
    assert worst["worst_inversion"]["relative"] == pytest.approx(0.5, rel=1e-3)


def test_nothing_grows_across_kinds_of_devices():
    sizes = {"Xeon": (7, 14, 28, 56), "Ampere": (8, 16, 32, 64)}
    factor = {"Xeon": 1, "Ampere": 50}
    found = findings(
        *(
            on_device(device, timed(s, [factor[device] * cost * s**2 for cost in (1, 2, 3)]))
            for device, ours in sizes.items()
            for s in ours
        )
    )
    grown = [g for g in found.as_json()["growth"] if g["quantity"] == "latency_us"]
    assert {g["axes"]["device_name"] for g in grown} == set(sizes)
    assert [g["exponent"] for g in grown] == pytest.approx([1] * 6, abs=0.01)


def test_an_exponent_that_could_be_any_is_not_told():
    costs = {7: 40, 14: 90, 28: 100}
    told = findings(*(timed(s, (cost, cost, cost)) for s, cost in costs.items())).sentences()
    line = next(line for line in told if line.startswith("gc r16: "))
    assert re.search(
        r"latency tells no exponent from 7x7 to 28x28: any from -\d.* to \d.* fits", line
    )
