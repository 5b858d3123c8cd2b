"""Going through a sweep: what is due, what a budget gives, shortages, and what is foreseen."""

from dataclasses import replace

import pytest
from moments import Moments, asked, at
from runs import manifest

from gcbench.engines import dry_run, measuring, sweeps
from gcbench.engines.attempts import Trying
from gcbench.engines.jobs import call_here
from gcbench.engines.measuring import Budget, Events
from gcbench.engines.sweeps import Extent
from gcbench.errors import UsageError
from gcbench.records import ComparisonRecord, Measurement
from gcbench.spec import grid
from gcbench.spec.cases import Effort

EFFORT = Effort(0.02, 10.0)


class Scripted:
    """An engine that gives out what its script says of a case, and notes what it was asked for."""

    times = False
    call = staticmethod(call_here)

    def __init__(self, outcome=lambda case: ("ok", None), flags=()):
        self.outcome, self.flags = outcome, flags
        self.asked = []

    def measure(self, job, listener):
        comparison, effort, bounds = job.comparison, job.effort, job.bounds
        self.asked.append((comparison, effort, bounds))
        found = []
        for position, case in enumerate(comparison.cases):
            needed = case.height * 100
            listener.on_trying(Trying(position))
            counted = Measurement(case, flags=self.flags, needed_bytes=needed)
            why = bounds.why_skip(case, needed)
            if why:
                found.append(replace(counted, status="skipped", reason=why))
                continue
            listener.on_trying(Trying(position, counted))
            status, reason = self.outcome(case)
            found.append(replace(counted, status=status, reason=reason))
        listener.on_trying(Trying(None))
        return ComparisonRecord(tuple(found), comparison.baselines, effort.precision, ())


def went(place, engine, statuses=None, retry=(), ran_out=(), **heard):
    due = list(sweeps.due(place, statuses or {}, retry))
    plan = replace(
        sweeps.plan_of(place.sweep), comparisons=due, total=len(due), manifest=manifest()
    )
    return list(measuring.measure(replace(plan, ran_out=ran_out), engine, Events(**heard)))


def statuses(records):
    return [[m.status for m in record.measurements] for record in records]


# --- what is due ---------------------------------------------------------------------------------


def test_all_of_a_new_sweep_is_due_and_nothing_of_one_that_is_done():
    place = at(asked(size="7,14", ratio="4,8"))
    assert sweeps.extent(sweeps.due(place, {})) == Extent(2, 6)
    done = {case.key: "ok" for comparison in grid.grid(place) for case in comparison.cases}
    assert list(sweeps.due(place, done)) == []
    first = {case.key: "error" for case in next(grid.grid(place)).cases}
    [left] = sweeps.due(place, first)
    assert {case.height for case in left.cases} == {14}


def test_what_is_tried_again_stands_beside_its_baseline():
    place = at(asked(ratio="4,8"))
    keys = [case.key for case in next(grid.grid(place)).cases]
    done = dict(zip(keys, ("ok", "ok", "timeout"), strict=True))
    [again] = sweeps.due(place, done, ("timeout",))
    assert [case.key for case in again.cases] == [keys[0], keys[2]]
    assert again.baselines == (0, 0)
    assert list(sweeps.due(place, done, ("oom",))) == []


# --- the budget ----------------------------------------------------------------------------------


def test_a_budget_is_shared_evenly_and_no_comparison_gets_more_than_its_own_effort():
    now = Moments()
    budget = Budget(20.0, 4, now)
    assert budget.share(EFFORT).max_time_s == 5.0
    now.now = 2.0  # it was done early: the others get what it left
    assert budget.share(EFFORT).max_time_s == 6.0
    now.now = 3.0
    assert budget.share(EFFORT).max_time_s == 8.5
    now.now = 4.0
    assert budget.share(EFFORT).max_time_s == 10.0


def test_what_comparisons_take_beside_being_timed_comes_out_of_their_share():
    now = Moments()
    budget = Budget(20.0, 2, now)
    assert budget.share(Effort(0.02, 2.0)).max_time_s == 2.0
    now.now = 10.0  # 8 s of trying
    assert budget.share(EFFORT).max_time_s == 2.0
    now.now = 20.0
    assert budget.share(EFFORT) is None


def test_without_a_budget_every_comparison_gets_its_effort():
    budget = Budget(None, 1000, Moments())
    assert [budget.share(EFFORT) for _ in range(3)] == [EFFORT] * 3


def test_what_a_budget_leaves_is_rows_that_say_so(monkeypatch):
    place = at(asked(size="7,14", budget="1s"))
    now = Moments()

    def slow(case):
        now.now += 3.0
        return "ok", None

    monkeypatch.setattr(measuring, "Budget", lambda budget_s, total: Budget(budget_s, total, now))
    records = went(place, Scripted(slow))
    assert statuses(records) == [["ok", "ok"], ["skipped", "skipped"]]
    assert "--budget 1 s was spent" in records[1].measurements[0].reason


# --- memory that runs out ------------------------------------------------------------------------


def out_at(height):
    return lambda case: (
        ("oom", "full") if case.spec == "nl" and case.height >= height else ("ok", None)
    )


def test_a_block_that_ran_out_of_memory_is_left_out_where_it_needs_as_much():
    place = at(asked(size="7,28,56,14,28x28"))
    records = went(place, Scripted(out_at(28)))
    assert statuses(records) == [["ok", "ok"], ["ok", "oom"], ["ok", "skipped"], ["ok", "ok"]]
    assert "nl ran out of memory at 2.73 KiB" in records[2].measurements[1].reason


def test_a_sweep_can_go_on_trying_or_end_when_memory_runs_out():
    engine = Scripted(out_at(28))
    records = went(at(asked(size="7,28,56,14", on_oom="continue")), engine)
    assert statuses(records) == [["ok", "ok"], ["ok", "oom"], ["ok", "oom"], ["ok", "ok"]]
    told = []
    records = went(at(asked(size="7,28,56,14", on_oom="stop")), engine, tell=told.append)
    assert statuses(records) == [["ok", "ok"], ["ok", "oom"]]
    assert "--on-oom stop" in told[0]


def test_what_ran_out_of_memory_before_is_left_out_where_it_needs_as_much_on_that_device():
    place = at(asked(size="7,28,56,14"))
    engine = Scripted()
    before = next(grid.grid(at(asked(size="28")))).cases[1]
    ran_out = [Measurement(before, "oom", needed_bytes=2800)]
    records = went(place, engine, ran_out=ran_out)
    assert statuses(records) == [["ok", "ok"], ["ok", "skipped"], ["ok", "skipped"], ["ok", "ok"]]
    elsewhere = [Measurement(replace(before, device="cuda:0"), "oom", needed_bytes=2800)]
    unknown = [Measurement(before, "oom")]
    for silent in (elsewhere, unknown):
        assert statuses(went(place, engine, ran_out=silent)) == [["ok", "ok"]] * 4


def test_a_comparison_too_crowded_says_nothing_of_larger_cases():
    place = at(asked(size="28,56", on_oom="stop"))
    records = went(place, Scripted(out_at(28), flags=("crowded",)))
    assert statuses(records) == [["ok", "oom"], ["ok", "oom"]]


# --- the forecast --------------------------------------------------------------------------------


def foreseen(place):
    return dry_run.forecast(place.sweep, sweeps.due(place, {}))


def test_a_forecast_tells_how_much_how_long_how_large_and_what_is_lost():
    place = at(asked(size="14,28", ratio="4,512", max_time="3s", runtime="eager,graph"))
    found = foreseen(place)
    assert (found.comparisons, found.cases, found.timed_s) == (4, 12, 12.0)
    case, needed = found.largest
    assert (case.spec, case.height) == ("nl", 28)
    assert needed > 2 * 4 * 28**4
    losses = {why: count for why, (count, _) in found.losses.items()}
    assert losses["ratio=512 leaves no channel of 256"] == 4
    assert losses["a CUDA graph needs a CUDA device; on a CPU there are eager and compile"] == 4
    lines = "\n".join(dry_run.lines(place.sweep, found))
    assert "cases        12" in lines
    assert "at most 12 s of timing" in lines


def test_a_forecast_knows_the_budget_and_the_memory_there_is():
    found = foreseen(at(asked(size="1024", budget="2s")))
    assert found.timed_s == 2.0
    [(why, (count, case))] = found.losses.items()
    assert "more memory than there is" in why
    assert (count, case.spec) == (1, "nl")
    assert "nothing is timed" in "\n".join(
        dry_run.lines(asked(static="true"), foreseen(at(asked(static="true"))))
    )


def test_what_a_sweep_names_is_looked_at_before_anything_is_measured():
    assert sweeps.place(asked(blocks="gc:ratio=8")).blocks[0].ratio == 8
    for named, words in (
        ({"blocks": "nope"}, "unknown block"),
        ({"blocks": "gc:pooing=3"}, "unknown option"),
        ({"device": "cuda:99"}, "this machine has"),
        ({"batch": "1:9999", "channels": "1:9999"}, "cases"),
    ):
        with pytest.raises(UsageError, match=words):
            sweeps.place(asked(**named))
