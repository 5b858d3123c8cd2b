"""Dealing comparisons to lanes that come, go, and are lost; a pool that exists only here."""

from collections import deque
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest
from moments import Moments, asked, at
from runs import manifest

from gcbench.engines import sweeps
from gcbench.engines.jobs import Job
from gcbench.engines.measuring import Budget
from gcbench.engines.ray import sessions
from gcbench.engines.ray.spreading import Dealer, Done, LaneState, Lost, Ready, Turn, spread
from gcbench.records import ComparisonRecord, Measurement, identity


def lane(name, node="here", kind="cpu kind"):
    return LaneState(name, manifest(node=node, devices={"cpu": kind}), kind)


def finished(job, outcome=lambda case: "ok"):
    found = tuple(
        job.known.get(i) or Measurement(case, outcome(case))
        for i, case in enumerate(job.comparison.cases)
    )
    return ComparisonRecord(found, job.comparison.baselines, 0.02, ())


class Script:
    """A pool in which one thing happens after another; what a lane does with a job is asked for."""

    def __init__(self, lanes, does=lambda lane, job: Done(lane, finished(job)), more=()):
        self.happened = deque(Ready(each) for each in lanes)
        self.does, self.more = does, deque(more)
        self.jobs = []

    @property
    def expecting(self):
        return bool(self.happened or self.more)

    def start(self, lane, job):
        self.jobs.append((lane, job))
        self.happened.append(self.does(lane, job))

    def events(self):
        if self.more:
            self.happened.append(self.more.popleft())
        if not self.happened:
            pytest.fail("nothing would ever happen")
        yield self.happened.popleft()


def dealt(place, pool, statuses=None, budget=None, told=None, ran_out=None):
    due = partial(sweeps.due, place, statuses or {}, ())
    tell = (told if told is not None else []).append
    dealer = Dealer(place.sweep, due, budget or Budget(None, 0), tell, ran_out or {})
    return list(spread(dealer, pool))


def keys(records):
    return sorted(m.case.key for record in records for m in record.measurements)


def all_keys(place):
    return sorted(c.key for comparison in sweeps.due(place, {}) for c in comparison.cases)


GRID = "7,14,21,28,35"


def test_every_case_is_there_once_and_says_where_it_was_measured():
    place = at(asked(size=GRID, ratio="4,8"))
    pool = Script([lane("a", "one"), lane("b", "two")])
    records = dealt(place, pool)
    assert keys(records) == all_keys(place)
    assert {record.machine.node for record in records} == {"one", "two"}
    assert {record.kind for record in records} == {None}
    assert {name for name, _ in pool.jobs} == {"a", "b"}


def test_a_lane_that_comes_later_is_used():
    place = at(asked(size=GRID))
    pool = Script([lane("a")], more=[Ready(lane("b"))])
    assert keys(dealt(place, pool)) == all_keys(place)
    assert {name for name, _ in pool.jobs} == {"a", "b"}


def losing(times, case, begun=True):
    """What a pool does whose first lanes are lost at a case, or while all are timed."""
    left = [times]

    def does(name, job):
        if left[0] and (case is None or case not in job.known):
            left[0] -= 1
            return Lost(name, "gone", begun, case)
        return Done(name, finished(job))

    return does


@pytest.mark.parametrize("case", [None, 1])
def test_what_one_lost_lane_had_is_measured_by_another_and_nobody_is_blamed(case):
    place = at(asked(size=GRID))
    spare = [Ready(lane("b", "two"))]
    records = dealt(place, Script([lane("a", "one")], losing(1, case), spare))
    assert keys(records) == all_keys(place)
    assert {m.status for record in records for m in record.measurements} == {"ok"}
    # it goes before what nobody had begun; the other lane had begun the second
    assert [record.measurements[0].case.height for record in records[:3]] == [14, 7, 21]


def test_lanes_lost_before_they_tried_anything_are_nobodys_fault():
    place = at(asked(size="7"))
    spares = [Ready(lane(f"b{i}")) for i in range(9)]
    [record] = dealt(place, Script([lane("a")], losing(9, None, begun=False), spares))
    assert [m.status for m in record.measurements] == ["ok", "ok"]


def test_a_case_that_kills_two_lanes_is_blamed_and_the_rest_go_on():
    place = at(asked(size="7,14"))

    def does(name, job):
        deadly = 1 not in job.known and job.comparison.cases[0].height == 7
        return Lost(name, "the roof fell", True, 1) if deadly else Done(name, finished(job))

    spares = [Ready(lane("b", "two")), Ready(lane("c", "three"))]
    pool = Script([lane("a", "one")], does, spares)
    records = dealt(place, pool)
    assert keys(records) == all_keys(place)
    found = {(m.case.height, m.case.spec): m for r in records for m in r.measurements}
    assert {key: m.status for key, m in found.items()} == {
        (7, "gc"): "ok",
        (7, "nl"): "crashed",
        (14, "gc"): "ok",
        (14, "nl"): "ok",
    }
    assert "on one and three" in found[7, "nl"].reason
    assert "the roof fell" in found[7, "nl"].reason
    # two tries, one without it, and the other comparison
    assert len(pool.jobs) == 4


def is_alone(job):
    return [i for i in range(len(job.comparison.cases)) if i not in job.known]


def test_one_that_kills_lanes_while_all_are_timed_is_found_by_timing_each_alone():
    place = at(asked(size="7"), *at(asked()).blocks, *at(asked()).blocks[:1])
    spares = [Ready(lane(f"b{i}")) for i in range(3)]

    def does(name, job):
        return Lost(name, "bang", True, None) if 1 in is_alone(job) else Done(name, finished(job))

    pool = Script([lane("a")], does, spares)
    [record] = dealt(place, pool)
    assert [m.status for m in record.measurements] == ["ok", "crashed", "ok"]
    assert "alone" in record.measurements[1].reason
    assert [is_alone(job) for _, job in pool.jobs] == [[0, 1, 2]] * 2 + [[0], [1], [2], [0, 2]]
    # to be suspected is no measurement
    assert max(job.effort.max_time_s for _, job in pool.jobs[2:5]) <= 2.0


def test_who_is_found_takes_the_blame_for_all_that_was_lost_before():
    place = at(asked(size="7"), *at(asked()).blocks, *at(asked()).blocks[:1])
    unlucky = iter([True])

    def does(name, job):
        alone = is_alone(job)
        # one more lane is lost without any fault of those that are left
        chance = alone == [0, 2] and next(unlucky, False)
        return Lost(name, "bang", True, None) if 1 in alone or chance else Done(name, finished(job))

    [record] = dealt(place, Script([lane("a")], does, [Ready(lane(f"b{i}")) for i in range(4)]))
    assert [m.status for m in record.measurements] == ["ok", "crashed", "ok"]


def test_where_none_is_found_all_are_blamed_in_the_end():
    place = at(asked(size="7"))

    def does(name, job):
        together = len(is_alone(job)) > 1
        return Lost(name, "bang", True, None) if together else Done(name, finished(job))

    spares = [Ready(lane(f"b{i}")) for i in range(5)]
    [record] = dealt(place, Script([lane("a")], does, spares))
    assert [m.status for m in record.measurements] == ["crashed", "crashed"]


def test_a_turn_keeps_what_was_known_before():
    [comparison] = sweeps.due(at(asked(size="7")), {})
    known = {0: Measurement(comparison.cases[0], "oom")}
    turn = Turn(Job(comparison, at(asked()).sweep.effort("cpu"), known=known))
    for _ in range(2):
        turn.lost(Lost("a", "x", True, None), "n")
    assert turn.job.known == known


# --- every kind of device ------------------------------------------------------------------------


def test_each_kind_of_device_measures_all_and_what_is_done_is_told_by_kind():
    place = at(asked(size="7,14", engine="ray", per_device="true"))
    lanes = [lane("a", "one", "old"), lane("b", "two", "new"), lane("c", "three", "new")]
    records = dealt(place, Script(lanes))
    for kind in ("old", "new"):
        assert keys(r for r in records if r.kind == kind) == all_keys(place)
    assert {r.machine.node for r in records if r.kind == "old"} == {"one"}
    done = {identity(key, "old"): "ok" for key in all_keys(place)}
    again = dealt(place, Script(lanes), done)
    assert keys(again) == all_keys(place)
    assert {record.kind for record in again} == {"new"}


def test_a_kind_that_comes_later_is_waited_for_and_one_that_is_gone_is_told():
    place = at(asked(size="7,14", engine="ray", per_device="true"))
    records = dealt(place, Script([lane("a", kind="old")], more=[Ready(lane("b", kind="new"))]))
    assert len(records) == 4
    told = []
    records = dealt(place, Script([lane("a", kind="old")], losing(1, 0)), told=told)
    assert records == []
    assert "a kind of device is gone" in told[0]


# --- budget and memory ---------------------------------------------------------------------------


def test_a_budget_is_shared_by_as_many_as_measure_at_once():
    now = Moments()
    budget = Budget(10.0, 0, now)
    budget.expect(8)
    usual = at(asked()).sweep.effort("cpu")
    # four lanes have 40 s of time for 8 comparisons
    assert budget.share(usual, lanes=4).max_time_s == 5.0
    now.now = 10.0
    assert budget.share(usual, lanes=4) is None


def test_what_a_budget_leaves_are_rows_of_a_node():
    place = at(asked(size="7,14,21", budget="1s"))
    now = Moments()

    def slow(name, job):
        now.now += 3.0
        return Done(name, finished(job))

    records = dealt(place, Script([lane("a", "one")], slow), budget=Budget(1.0, 0, now))
    assert [[m.status for m in r.measurements] for r in records] == [
        ["ok", "ok"],
        ["skipped", "skipped"],
        ["skipped", "skipped"],
    ]
    assert {record.machine.node for record in records} == {"one"}


def out_at(height):
    def does(name, job):
        full = finished(job, lambda case: "oom" if case.height >= height else "ok")
        found = tuple(replace(m, needed_bytes=m.case.height) for m in full.measurements)
        return Done(name, replace(full, measurements=found))

    return does


def test_what_ran_out_of_memory_on_a_node_says_nothing_of_others():
    place = at(asked(size="7,14,21,28"))
    pool = Script([lane("a", "small"), lane("b", "large")], out_at(14))
    dealt(place, pool)
    seen = {}
    for name, job in pool.jobs:
        seen.setdefault(name, []).append(dict(job.bounds.ran_out))
    # b began with the first size at which memory ran out, and a had not
    assert seen["a"] == [{}, {}]
    assert seen["b"] == [{}, {"gc": 14, "nl": 14}]


def test_what_ran_out_of_memory_before_bounds_its_node_alone():
    place = at(asked(size="7,14"))
    ran_out = {"small": [Measurement(next(sweeps.due(place, {})).cases[1], "oom", needed_bytes=3)]}
    pool = Script([lane("a", "small"), lane("b", "large")])
    dealt(place, pool, ran_out=ran_out)
    assert {name: dict(job.bounds.ran_out) for name, job in pool.jobs} == {"a": {"nl": 3}, "b": {}}


def test_a_sweep_ends_where_memory_runs_out_and_that_was_asked_for():
    place = at(asked(size=GRID, on_oom="stop"))
    told = []
    pool = Script([lane("a", "one"), lane("b", "two")], out_at(14))
    records = dealt(place, pool, told=told)
    # what was on its way is kept
    assert len(records) == len(pool.jobs) < 5
    assert [word for word in told if "--on-oom stop" in word]


def on_two_devices(monkeypatch, place, does=lambda lane, job: Done(lane, finished(job))):
    """A sweep over two devices, one pool after the other; what is done, and the totals told."""

    @contextmanager
    def pool(terms, *others):
        script = Script([lane(terms.device)], does)
        script.doing = dict
        yield script

    monkeypatch.setattr(sessions, "RayPool", pool)
    totals = []
    records = sessions.measure(
        sessions.Cluster(replace(place, devices=("cpu", "cuda")), ()),
        *(manifest(), {}, ()),
        wait=True,
        allow_mismatch=False,
        tell=lambda text: None,
        watched=False,
        on_view=lambda view: totals.append(view.total),
        ran_out={},
    )
    return list(records), totals


def test_what_two_devices_measure_one_after_the_other_is_one_sweep(monkeypatch):
    given = []

    def does(name, job):
        given.append((name, job.effort.max_time_s))
        return Done(name, finished(job))

    place = at(asked(size="7,14", budget="4s"))
    records, totals = on_two_devices(monkeypatch, place, does)
    assert [device for device, _ in given] == ["cpu", "cpu", "cuda", "cuda"]
    # four comparisons share the time, whichever device they are of
    assert given[0][1] <= 1.0
    assert len(records) == 4
    assert set(totals) == {4}


def test_a_sweep_that_memory_ends_goes_to_no_other_device(monkeypatch):
    def does(name, job):
        return Done(name, finished(job, lambda case: "oom"))

    place = at(asked(size="7,14", on_oom="stop"))
    records, _ = on_two_devices(monkeypatch, place, does)
    assert len(records) == 1
