"""Two runs of known truth: what is claimed of them, how often it is false, and what is paired."""

import math
from collections import Counter
from dataclasses import replace

import pytest
from runs import GC, NL, SE, SNL, comparison, kept, manifest, on_device, swept

from gcbench import store
from gcbench.analysis.compare import match_runs
from gcbench.records import Measurement, Run
from gcbench.results import tables

CLAIMS = ("faster", "slower")


def run_of(*comparisons, **changes):
    return Run(manifest(**changes), tuple(comparisons))


def compared(a, b, **options):
    return match_runs(run_of(*a), run_of(*b), **options)


def verdicts(found, block=None):
    return Counter(p.verdict for p in found.pairs if block in (None, p.case.block))


def blocks(found):
    return {whole.block: whole.judgement.verdict for whole in found.blocks}


# how the machine moved between the runs, and how unlike it moved unlike things
MOVES = {
    "still": {},
    "slower by a fifth": {"drift": 1.2},
    "faster by a third": {"drift": 0.75},
    "now and then": {"drift": 1.05, "local": 0.1},
    "unlike things apart": {"unlike": 0.03},
    "noisy": {"layout": 0.03, "drift": 1.1},
}


@pytest.mark.parametrize("move", MOVES)
def test_of_the_same_thing_at_most_a_twentieth_of_the_cells_is_claimed(move):
    for seed in range(5):
        found = compared(swept(2 * seed), swept(2 * seed + 1, **MOVES[move]))
        assert len(found.judged) == 40
        assert sum(verdicts(found)[claim] for claim in CLAIMS) <= 2


@pytest.mark.parametrize("move", [m for m in MOVES if m not in ("unlike things apart", "noisy")])
@pytest.mark.parametrize("block", ["gc", "nl"])
def test_one_block_made_slower_is_told_and_no_other(block, move):
    for seed in range(2):
        b = swept(2 * seed + 1, slower={block: 1.1}, **MOVES[move])
        found = compared(swept(2 * seed), b)
        assert verdicts(found, block) == {"slower": 10}
        assert not {p.verdict for p in found.pairs if p.case.block != block} & set(CLAIMS)
        assert [name for name, verdict in blocks(found).items() if verdict == "slower"] == [block]
        own = {whole.block: whole.judgement.own for whole in found.blocks}[block]
        assert own.lo < 1.1 < own.hi
        # what moved together is not moved by it, as the mean of all is
        assert found.together.mid * 1.1**0.25 == pytest.approx(found.all.mid, rel=0.003)


def test_the_other_way_round_it_is_faster():
    found = compared(swept(0, slower={"se": 1.1}), swept(1))
    assert verdicts(found, "se") == {"faster": 10}


@pytest.mark.slow
@pytest.mark.parametrize("move", MOVES)
def test_a_false_claim_is_rare_over_many_runs(move):
    runs = 60
    found = [compared(swept(2 * s), swept(2 * s + 1, **MOVES[move])) for s in range(runs)]
    cells = sum(verdicts(each)[claim] for each in found for claim in CLAIMS)
    false = sum(bool(set(blocks(each).values()) & set(CLAIMS)) for each in found)
    assert cells <= 0.05 * 40 * runs
    # a gate looks at all of a run at once
    assert sum(any(verdicts(each)[claim] for claim in CLAIMS) for each in found) <= 0.1 * runs
    assert false <= 0.1 * runs


def test_what_slows_everything_alike_is_told_of_everything_and_of_no_block():
    all_of_them = dict.fromkeys(("gc", "se", "snl", "nl"), 1.1)
    for b in (swept(1, slower=all_of_them), swept(1, drift=1.1)):
        found = compared(swept(0), b)
        assert not set(verdicts(found)) & set(CLAIMS)
        assert found.together == found.all
        assert found.all.lo > 1.09
        assert found.all.hi < 1.11
    # a clone runs none of the blocks' code
    assert compared(swept(0), swept(1, slower=all_of_them)).clones.mid == pytest.approx(1, abs=0.01)
    assert compared(swept(0), swept(1, drift=1.1)).clones.mid == pytest.approx(1.1, abs=0.01)


def test_without_scatter_the_same_is_said_to_be_the_same():
    quiet = {"unlike": 0.0005, "layout": 0.002, "replicates": 40}
    found = compared(swept(0, **quiet), swept(1, drift=1.3, **quiet))
    assert verdicts(found) == {"same": 40}
    # also beside one that is not
    found = compared(swept(0, **quiet), swept(1, slower={"gc": 1.1}, **quiet))
    assert verdicts(found) == {"slower": 10, "same": 30}


def test_both_floors_count():
    """A run in which copies of one thing differ claims nothing, whichever of the two it is."""

    def uneven(records):
        return [
            replace(
                record,
                timings=tuple(
                    replace(timing, replicates=tuple(map(_aa_slower, timing.replicates)))
                    for timing in record.timings
                ),
            )
            for record in records
        ]

    def _aa_slower(replicate):
        *cases, twin, clone = replicate.samples_ns
        return replace(replicate, samples_ns=(*cases, tuple(round(1.5 * t) for t in twin), clone))

    a, b = swept(0), swept(1, slower={"gc": 1.1})
    assert verdicts(compared(a, b), "gc") == {"slower": 10}
    assert verdicts(compared(uneven(a), b), "gc") == {"untrusted": 10}
    assert verdicts(compared(a, uneven(b)), "gc") == {"untrusted": 10}


def test_a_run_against_itself_differs_in_nothing():
    found = compared(swept(0), swept(0))
    assert set(verdicts(found)) <= {"same", "unresolved"}
    assert found.all == (1, 1, 1)
    assert all(p.judgement.b_over_a.mid == 1 for p in found.pairs)


def test_latencies_are_those_of_the_report():
    a, b = run_of(*swept(0)), run_of(*swept(1))
    found = match_runs(a, b)
    for side, run in (("a", a), ("b", b)):
        for pair, row in zip(found.pairs, tables.rows(run), strict=True):
            assert getattr(pair, side).absolute.latency.mid / 1e3 == row["latency_us"]
    first = found.pairs[0]
    assert first.judgement.b_over_a.mid == pytest.approx(
        first.b.absolute.latency.mid / first.a.absolute.latency.mid
    )
    logs = [math.log(p.judgement.b_over_a.mid) for p in found.pairs]
    assert found.all.mid == pytest.approx(math.exp(sum(logs) / 40))


def test_one_block_at_one_shape_is_not_told_from_the_machine():
    options = {"blocks": (GC,), "sizes": (7,)}
    found = compared(swept(0, **options), swept(1, slower={"gc": 1.5}, **options))
    assert verdicts(found) == {"unresolved": 1}
    assert found.resolves == math.inf


def test_one_block_at_many_shapes_is_held_against_plain_copies():
    options = {"blocks": (GC,)}
    for b, told in (({"slower": {"gc": 1.1}}, {"slower"}), ({"drift": 1.1}, {"unresolved"})):
        found = compared(swept(0, **options), swept(1, **b, **options))
        assert set(verdicts(found)) == told


def test_blocks_of_one_target_do_not_vouch_for_each_other():
    variants = (GC, replace(GC, spec="gc:fusion=scale"), replace(GC, spec="gc:pooling=avg"))
    options = {"blocks": (*variants, SE)}
    found = compared(swept(0, **options), swept(1, slower={"gc": 1.1}, **options))
    assert verdicts(found, "gc") == {"slower": 30}
    assert not verdicts(found, "se").keys() & set(CLAIMS)


def test_cases_are_paired_by_key_whatever_their_order():
    a = [comparison(GC, SE), comparison(NL)]
    b = [comparison(NL), comparison(SE, SNL)]
    found = compared(a, b)
    assert [(p.case.block, p.a is None, p.b is None, p.verdict) for p in found.pairs] == [
        ("gc", False, True, "missing"),
        ("se", False, False, found.pairs[1].judgement.verdict),
        ("nl", False, False, found.pairs[2].judgement.verdict),
        ("snl", True, False, "new"),
    ]


@pytest.mark.parametrize(
    ("before", "after", "verdict", "broke"),
    [
        ("ok", "oom", "failed", True),
        ("timeout", "ok", "failed", False),
        ("error", "error", "failed", False),
    ],
)
def test_a_case_that_failed_in_a_run_is_no_latency(before, after, verdict, broke):
    a, b = (comparison(GC, SE, statuses=("ok", status)) for status in (before, after))
    pair = compared([a], [b]).pairs[1]
    assert (pair.verdict, pair.broke, pair.judgement) == (verdict, broke, None)


def test_a_retried_case_is_read_where_it_is_ok():
    a = [comparison(GC, SE, statuses=("ok", "oom")), comparison(GC, SE)]
    found = compared(a, [comparison(GC, SE)])
    assert [p.a.status for p in found.pairs] == ["ok", "ok"]
    assert len(found.judged) == 2


def counted(**metrics):
    record = comparison(GC)
    (measurement,) = record.measurements
    return [replace(record, measurements=(Measurement(measurement.case, metrics=metrics),))]


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ({"params": 10, "macs": 7}, {"params": 10, "macs": 7}, []),
        ({"params": 10, "macs": 7}, {"params": 11, "macs": 6}, ["params", "macs"]),
        ({"params": 10}, {"params": None}, []),
        (
            {"peak_memory_bytes": 10, "memory_source": "measured"},
            {"peak_memory_bytes": 11, "memory_source": "measured"},
            ["peak_memory_bytes"],
        ),
        (
            {"peak_memory_bytes": 10, "memory_source": "measured"},
            {"peak_memory_bytes": 11, "memory_source": "predicted"},
            [],
        ),
        ({"macs": 1, "macs_counter": "fvcore"}, {"macs": 2, "macs_counter": "torch"}, []),
    ],
)
def test_exact_counts_that_differ_are_named(before, after, changed):
    (pair,) = compared(counted(**before), counted(**after)).pairs
    assert [change.what for change in pair.changes] == changed


def test_cases_are_chosen_by_what_is_asked_for():
    a, b = swept(0), swept(1, drift=1.2)
    found = compared(a, b, keeps=lambda case: case.block == "se")
    assert {pair.case.block for pair in found.pairs} == {"se"}
    assert len(found.pairs) == 10
    # what stands beside them is evidence all the same
    whole = compared(a, b)
    assert found.pairs == [pair for pair in whole.pairs if pair.case.block == "se"]
    assert found.blocks == [each for each in whole.blocks if each.block == "se"]
    assert found.all.mid == pytest.approx(1.2, rel=0.01)
    # of the comparisons that hold them
    one = compared(a, b, keeps=lambda case: case.height == 7)
    alone = compared(a[:1], b[:1])
    assert [pair.judgement for pair in one.pairs] == [pair.judgement for pair in alone.pairs]


def test_a_stored_run_is_read_one_comparison_at_a_time(tmp_path, monkeypatch):
    read, comparison_of = [], store.Stored.comparison

    def spied(self, position):
        read.append((self.path.name, position))
        return comparison_of(self, position)

    monkeypatch.setattr(store.Stored, "comparison", spied)
    sizes = (7, 8, 9)
    paths = [kept(tmp_path / f"{n}.jsonl", *swept(i, sizes=sizes)) for i, n in enumerate("ab")]
    found = match_runs(*(store.open_run(path, pytest.fail) for path in paths))
    assert read == [(f"{name}.jsonl", number) for name in "ab" for number in range(3)]
    assert found.all == compared(swept(0, sizes=sizes), swept(1, sizes=sizes)).all


def test_cases_that_another_kind_of_device_of_a_cluster_measured_are_named():
    ours = swept(0, sizes=(7, 8))
    a = [on_device("Xeon", record) for record in ours]
    b = [on_device("Xeon", ours[0]), on_device("Ampere", ours[1])]
    assert compared(a, a).mismatches == []
    assert compared(a, b).mismatches == ["device of 4 cases: Xeon in A, Ampere in B"]


def test_each_kind_of_device_is_compared_with_itself_where_each_measured_all():
    ours = swept(0, sizes=(7,))
    both = [on_device(name, each, True) for name in ("Xeon", "Ampere") for each in ours]
    found = compared(both, both[:1])
    assert found.mismatches == []
    assert Counter(pair.verdict == "missing" for pair in found.pairs) == {True: 4, False: 4}
