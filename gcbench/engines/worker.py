"""A fresh process that measures one comparison: a job comes on stdin, answers go to stdout."""

import os
import sys
from collections.abc import Callable

import msgspec

from gcbench.engines.fresh import Answer, Job
from gcbench.engines.inline import measure
from gcbench.errors import GcbenchError, told


def main() -> None:
    """Read a job, measure it, and write an answer for each step and for the end."""
    with os.fdopen(os.dup(1), "wb") as answers:
        # the answers have stdout for themselves: whatever else prints goes to stderr
        os.dup2(2, 1)
        job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)

        def send(answer: Answer) -> None:
            answers.write(msgspec.json.encode(answer) + b"\n")
            answers.flush()

        try:
            _run(job, send)
        except BrokenPipeError:
            # nobody listens any more
            os._exit(1)


def _run(job: Job, send: Callable[[Answer], None]) -> None:
    try:
        record = measure(
            job.comparison,
            job.effort,
            job.seed,
            job.counter,
            lambda step: send(Answer(progress=step)),
            job.process,
        )
    except GcbenchError as error:
        send(Answer(error=str(error)))
    except BrokenPipeError:
        raise
    except BaseException as error:  # the parent tells it: here nobody would see it
        send(Answer(error=f"a fresh process failed: {told(error)}"))
    else:
        send(Answer(record=record))
