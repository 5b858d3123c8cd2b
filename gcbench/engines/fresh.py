"""Measure a comparison in several fresh processes, one after the other.

What a process keeps from its start to its end (where its libraries and heap lie, what it compiled)
is then drawn several times, and the interval holds every process's own median.
"""

import json
import math
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import msgspec

from gcbench.errors import GcbenchError
from gcbench.records import ComparisonRecord, Effort, Measurement
from gcbench.spec import Comparison, CounterName
from gcbench.timing.replicates import Progress

# how often a silent process is looked after, and how long one may take to end that said all
LOOK_S, LINGER_S = 0.5, 10.0

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from gcbench.engines.worker import main; main()"
)


@dataclass(frozen=True)
class Job:
    """What a process is to measure, as one JSON text; `process` is its number among the others."""

    comparison: Comparison
    effort: Effort
    seed: int
    counter: CounterName
    process: int


@dataclass(frozen=True)
class Answer:
    """A line that a process sends back: how far it is, and in the end what it found."""

    progress: Progress | None = None
    record: ComparisonRecord | None = None
    error: str | None = None


def measure(
    comparison: Comparison,
    effort: Effort,
    seed: int = 0,
    counter: CounterName = "auto",
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> ComparisonRecord:
    """Share the effort among fresh processes and put what they found into one record."""
    share_s = effort.max_time_s / effort.processes
    # so many processes together are that much more precise
    share = Effort(effort.precision * math.sqrt(effort.processes), share_s)
    records = []
    for process in range(effort.processes):

        def moved(step: Progress, before_s: float = process * share_s) -> None:
            # a process may overrun its share by a replicate
            elapsed_s = before_s + min(step.elapsed_s, share_s)
            on_progress(replace(step, elapsed_s=elapsed_s, budget_s=effort.max_time_s))

        records.append(_in_a_process(Job(comparison, share, seed, counter, process), moved))
    return _merged(records, effort)


def _in_a_process(job: Job, on_progress: Callable[[Progress], None]) -> ComparisonRecord:
    command = [sys.executable, "-P", "-c", _START, json.dumps(sys.path)]
    # in a session of its own: an interrupt reaches this process alone, which then ends that one
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdin
        try:
            process.stdin.write(msgspec.json.encode(job))
            process.stdin.close()
            for line in _lines(process):
                answer = msgspec.json.decode(line, type=Answer)
                if answer.error:
                    raise GcbenchError(answer.error)
                if answer.record:
                    return answer.record
                if answer.progress:
                    on_progress(answer.progress)
            return _crashed(job, process.wait(LINGER_S))
        except BrokenPipeError:
            return _crashed(job, process.wait(LINGER_S))
        finally:
            # and what it started: compilers, above all
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _lines(process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """The lines that a process writes, until it ends or closes its stdout.

    Both are watched: what a block forked may keep the pipe open for ever.
    """
    assert process.stdout
    pending = b""
    while True:
        ended = process.poll() is not None
        readable, _, _ = select.select([process.stdout], [], [], 0 if ended else LOOK_S)
        if not readable:
            if ended:
                return
            continue
        read = os.read(process.stdout.fileno(), 2**16)
        if not read:
            return
        *lines, pending = (pending + read).split(b"\n")
        yield from lines


def _crashed(job: Job, code: int) -> ComparisonRecord:
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    reason = f"the process that measured the comparison ended before it answered, with {how}"
    found = tuple(Measurement(case, "crashed", reason) for case in job.comparison.cases)
    comparison = job.comparison
    return ComparisonRecord(found, comparison.baselines, job.effort.precision, (), comparison.pair)


def _merged(records: Sequence[ComparisonRecord], effort: Effort) -> ComparisonRecord:
    """One record of all that the processes found."""
    found = tuple(
        _together(measurements)
        for measurements in zip(*(record.measurements for record in records), strict=True)
    )
    timings = tuple(timing for record in records for timing in record.timings)
    return replace(records[0], measurements=found, timings=timings, precision=effort.precision)


def _together(measurements: Sequence[Measurement]) -> Measurement:
    """One case as every process found it: ok only if it was in each, with the flags of all."""
    flags = tuple(dict.fromkeys(flag for each in measurements for flag in each.flags))
    first_failed = next((each for each in measurements if each.status != "ok"), measurements[0])
    return replace(first_failed, flags=flags)
