"""A fresh process that measures: requests come on stdin, answers go to stdout.

Before a case is tried it is said which, and waited until that was heard; so it is with every step
of timing, so that nobody draws while samples are taken.
"""

import importlib
import logging
import os
import pickle
from collections.abc import Callable, Iterable
from functools import partial

import msgspec

from gcbench.engines.arms import held
from gcbench.engines.attempts import ProcessTaintedError, Trying
from gcbench.engines.inline import load_all, measure
from gcbench.engines.jobs import Call, Job, Listener, Request
from gcbench.engines.limits import memory_limited
from gcbench.engines.worker_process import STOP, Answer
from gcbench.errors import GcbenchError, told
from gcbench.measure.environment import set_torch
from gcbench.measure.timing.replicates import Progress
from gcbench.records import Status
from gcbench.system.streams import guard_worker

LOG = logging.getLogger("gcbench")


def main(log_level: int = logging.NOTSET) -> None:
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

        load_all()
        try:
            for line in jobs:
                request = msgspec.json.decode(line, type=Request)
                if request.settings:
                    set_torch(request.settings)
                if request.job:
                    _run(request.job, send, tell, _measured)
                elif request.hold:
                    _run(request.hold, send, tell, partial(_held, jobs, send))
                elif request.call:
                    _call(request.call, send, tell)
                else:
                    send(Answer())
        except OSError:
            # nobody listens any more, or a block closed what it could
            os._exit(1)


def _call(call: Call, send: Callable[[Answer], None], tell: Callable[[Answer], None]) -> None:
    def heard(what: object) -> None:
        tell(Answer(step=pickle.dumps(what)))

    send(Answer())
    module, _, name = call.function.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
        given = pickle.loads(call.arguments)
        with memory_limited(None, "cpu"):
            result = pickle.dumps(function(*given, *((heard,) if call.tells else ())))
    except GcbenchError as error:
        LOG.debug("%s", name, exc_info=error)
        send(Answer(raised=pickle.dumps(error)))
    except BrokenPipeError:
        raise
    except BaseException as error:  # the code of others may raise anything, an interrupt too
        LOG.debug("%s", name, exc_info=error)
        send(Answer(failure=f"broke off with {told(error)}", status=_status(error)))
    else:
        send(Answer(result=result))


def _status(error: BaseException) -> Status:
    return "oom" if isinstance(error, MemoryError) else "error"


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
        send(Answer(failure=f"it broke off with {told(error)}", status=_status(error)))
    else:
        send(found)
