"""A fresh process that measures: requests come on stdin, answers go to stdout.

Before a case is tried it is said which, and waited until that was heard; so it is with every step
of timing, so that nobody draws while samples are taken.
"""

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import msgspec

from gcbench import blocks
from gcbench.engines.arms import held
from gcbench.engines.attempts import ProcessTaintedError, Trying
from gcbench.engines.fresh import STOP, Answer
from gcbench.engines.inline import load_all, measure
from gcbench.engines.jobs import Job, Listener, Request
from gcbench.engines.limits import memory_limited
from gcbench.environment import TorchSettings, set_torch
from gcbench.errors import GcbenchError, UsageError, told
from gcbench.records import Status
from gcbench.streams import guard_worker
from gcbench.timing.replicates import Progress

LOG = logging.getLogger("gcbench")


def main(settings: Sequence[Any], log_level: int = logging.NOTSET) -> None:
    """Take one request after another until there are no more; answer each step and each end.

    torch's switches are set as they stand in the process that asks. What gcbench logs from
    `log_level` on goes to stderr; by default, nothing below a warning.
    """
    if log_level:
        logging.basicConfig(format="%(message)s")
        logging.getLogger("gcbench").setLevel(log_level)
    # jobs and answers have pipes for themselves: whatever else prints goes to stderr, and whatever
    # else reads finds nothing
    with os.fdopen(os.dup(0), "rb") as jobs, os.fdopen(os.dup(1), "wb") as answers:
        guard_worker()
        here = os.getpid()

        def send(answer: Answer) -> None:
            # what a user's module forked, and left to go on from there, would answer a second time
            if os.getpid() != here:
                os._exit(1)
            answers.write(msgspec.json.encode(answer) + b"\n")
            answers.flush()

        def tell(step: Answer) -> None:
            send(step)
            heard = jobs.readline().strip()
            if not heard:
                os._exit(1)
            if heard == STOP:
                raise KeyboardInterrupt

        set_torch(TorchSettings(*settings))
        load_all()
        try:
            for line in jobs:
                request = msgspec.json.decode(line, type=Request)
                if request.job:
                    _run(request.job, send, tell, _measured)
                elif request.hold:
                    _run(request.hold, send, tell, partial(_held, jobs, send))
                elif request.block:
                    _look(request.block, send)
                else:
                    send(Answer())
        except OSError:
            # nobody listens any more, or a block closed what it could
            os._exit(1)


def _look(text: str, send: Callable[[Answer], None]) -> None:
    send(Answer())
    try:
        found = blocks.resolve(text)
    except UsageError as error:
        LOG.debug("block %r", text, exc_info=error)
        send(Answer(refusal=str(error)))
    except BaseException as error:  # a module may raise anything, an interrupt too
        send(Answer(refusal=f"block {text!r}: importing it broke off with {told(error)}"))
    else:
        send(Answer(block=found))


def _measured(job: Job, listener: Listener) -> Answer:
    return Answer(record=measure(job, listener))


def _held(
    jobs: Iterable[bytes], send: Callable[[Answer], None], job: Job, listener: Listener
) -> Answer:
    """Hold the cases of a job, and do what orders say with arms of theirs, up to their release."""
    with held(job, listener) as (found, arms):
        send(Answer(held=found))
        for line in jobs:
            order = msgspec.json.decode(line, type=Request).order
            assert order, line
            done = Answer(done=arms.do(order))
            if order.deed == "release":
                return done
            send(done)
    # nobody asks any more
    os._exit(1)


def _run(
    job: Job,
    send: Callable[[Answer], None],
    tell: Callable[[Answer], None],
    do: Callable[[Job, Listener], Answer],
) -> None:
    def moved(step: Progress) -> None:
        tell(Answer(progress=step))

    def tried(trying: Trying) -> None:
        tell(Answer(trying=trying))

    try:
        with memory_limited(job.bounds.memory_bytes, job.comparison.device):
            found = do(job, Listener(moved, tried))
    except GcbenchError as error:
        send(Answer(refusal=str(error)))
    except ProcessTaintedError as error:
        send(Answer(taint=error.taint))
    except BrokenPipeError:
        raise
    except BaseException as error:  # the parent tells it: here nobody would see it
        status: Status = "oom" if isinstance(error, MemoryError) else "error"
        send(Answer(failure=f"it broke off with {told(error)}", status=status))
    else:
        send(found)
