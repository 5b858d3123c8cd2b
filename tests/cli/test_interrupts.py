"""What an interrupt leaves of a comparison that is being timed, and how far its cases are."""

import math
import select
from dataclasses import replace

import pytest
from runs import GC, SE, comparison

from gcbench.engines import inline, isolated
from gcbench.engines.jobs import Job, Listener
from gcbench.measure.timing.standing import standings
from gcbench.spec.cases import Axes, Effort, comparison_of
from gcbench.stats.intervals import relatives, summarise

SMALL = Axes(channels=8, size=(4, 4), ratio=2)


def test_standings_are_those_that_the_table_would_have():
    record = comparison(GC, SE)
    (timing,) = record.timings
    found = standings(timing, record.baselines, ["gc", "se"], 4.0, 0.02)
    assert [each.label for each in found] == ["gc", "se"]
    summaries = summarise(record)
    widths = relatives(record.timings, record.baselines)
    assert [each.latency_ns for each in found] == [summaries[n].latency.mid for n in (0, 1)]
    assert found[1].half_width == widths[1].half_width
    few = replace(timing, replicates=timing.replicates[:2])
    assert {each.half_width for each in standings(few, record.baselines, "ab", 4.0, 0.02)} == {None}


def job(**changes):
    return Job(comparison_of([GC, SE], SMALL, "cpu"), Effort(1e-6, 30.0), partial=True, **changes)


def interrupting(after, heard):
    """A listener that is interrupted when so many replicates are told."""

    def moved(step):
        heard.append(step)
        if step.replicates == after:
            raise KeyboardInterrupt

    return Listener(on_progress=moved)


@pytest.mark.parametrize("where", ["here", "in a process of its own"])
def test_an_interrupt_leaves_what_was_timed_until_then(where):
    heard = []
    with isolated.Isolated() as apart:
        engine = inline.Inline() if where == "here" else apart
        record = engine.measure(job(standings=True), interrupting(3, heard))
    (timing,) = record.timings
    assert record.interrupted
    assert [m.status for m in record.measurements] == ["ok", "ok"]
    # a worker hears of it at its next step
    assert len(timing.replicates) in (3, 4)
    assert all(math.isfinite(summary.latency.mid) for summary in summarise(record).values())
    assert [each.label for each in heard[-1].standings] == ["gc r2", "se r2"]


def test_a_process_that_measures_waits_while_it_is_drawn_how_far_it_is():
    """Nothing comes of it until the one who hears of a step is done with that."""
    silent = []

    def drawn(step):
        pipe = apart._worker._process.stdout if apart._worker else None
        if step.replicates and pipe:
            # a replicate of so little takes some milliseconds
            silent.append(select.select([pipe], [], [], 0.3)[0] == [])
        if len(silent) == 3:
            raise KeyboardInterrupt

    with isolated.Isolated() as apart:
        record = apart.measure(job(), Listener(on_progress=drawn))
    assert silent[:3] == [True] * 3
    assert len(record.timings[0].replicates) == 3


def test_without_leave_an_interrupt_is_raised_and_so_is_one_before_the_first_replicate():
    for asked, after in ((replace(job(), partial=False), 3), (job(), 0)):
        with pytest.raises(KeyboardInterrupt):
            inline.Inline().measure(asked, interrupting(after, []))


def test_processes_that_are_done_are_kept_when_a_later_one_is_broken_off():
    whole = Job(comparison_of([GC, SE], SMALL, "cpu"), Effort(0.9, 30.0, processes=3), partial=True)
    seen = []

    def moved(step):
        if step.doing and step.doing.startswith("starting"):
            seen.append(step)
            if len(seen) == 2:
                raise KeyboardInterrupt

    with isolated.Isolated() as apart:
        record = apart.measure(whole, Listener(on_progress=moved))
    assert record.interrupted
    assert len(record.timings) == 1
