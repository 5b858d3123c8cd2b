"""A process of its own that measures: one comparison after another, as long as it lives.

Jobs go to its stdin and answers come from its stdout, as lines of JSON. Before it tries a case it
says so and waits for a line that it was heard: whatever the case then ends, the process or the one
who asked, it is known which case that was. Beside jobs it does calls, of any function that can be
imported there: so code of others is looked at where it ends nothing else.
"""

import json
import logging
import os
import pickle
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

import msgspec

from gcbench.engines.attempts import ProcessTaintedError, Taint, Trying
from gcbench.engines.jobs import Call, Job, Listener, Request
from gcbench.engines.orders import Done, Order
from gcbench.errors import GcbenchError, LimitError, no_room
from gcbench.measure import heap
from gcbench.measure.environment import oom_kills, torch_settings
from gcbench.measure.timing.replicates import SOFT_FACTOR, Progress
from gcbench.records import ComparisonRecord, Measurement, Status, are_of
from gcbench.spec.cases import Heap
from gcbench.system.process_tree import MARK, end_marked
from gcbench.units import span_text

T = TypeVar("T")

# how often a silent process is looked after, and how long one may take to end that said all
LOOK_S, LINGER_S = 0.5, 10.0
# loading torch on a busy machine, before the first case is tried
START_S = 120.0
# no record is longer; what is has no end
LONGEST_ANSWER = 2**29
_GARBLED = "its process sent what is no answer: something wrote into its pipe"
_WRITTEN = "wrote into the pipe of its process, by which that answers"
# what is sent back to a process that said which case it is about to try, or how far it is: to go
# on, or to leave it at that
HEARD, STOP = b"heard", b"stop"

# The first thing that a process does is to fork the worker and to guard it: when the parent's end
# of a pipe closes, however the parent died, or the worker ends, it ends all that this started.
_START = """
import json, os, sys
# torch's profiler measures memory, and would tell on stderr of every start and stop
os.environ.setdefault("KINETO_LOG_LEVEL", "99")
sys.path[:] = json.loads(sys.argv[1])
from gcbench.system.process_tree import guarded
guarded(int(sys.argv[2]))
from gcbench.measure import heap
heap.settle(sys.argv[4])
from gcbench.engines.worker_main import main
main(int(sys.argv[3]))
"""


@dataclass(frozen=True)
class Answer:
    """A line that a process sends back: how far it is, and in the end what it found.

    `refusal` says why a job cannot be done, `failure` what broke off a job or a call that could be,
    and `status` what that makes of the case; `taint` is what is left to know where the process is
    unfit to go on with it. `held` are what became of cases that it holds, `done` is what came of an
    order. Of a call, `step` is what it tells on the way and `result` what it returned, pickled, or
    the `raised` GcbenchError. One that says nothing says that the process is ready, or that a call
    has begun.
    """

    progress: Progress | None = None
    trying: Trying | None = None
    record: ComparisonRecord | None = None
    step: bytes | None = None
    result: bytes | None = None
    raised: bytes | None = None
    refusal: str | None = None
    failure: str | None = None
    status: Status = "error"
    taint: Taint | None = None
    held: tuple[Measurement, ...] | None = None
    done: Done | None = None


class WorkerError(Exception):
    """A worker did not finish its job. `trying` is the case that it was trying alone, if any."""

    def __init__(self, status: Status, reason: str, trying: Trying | None) -> None:
        """Say what became of the case, and why."""
        super().__init__(reason)
        self.status, self.reason, self.trying = status, reason, trying


class NotBegunError(WorkerError):
    """A worker was lost before it tried anything: no case is to blame."""


class CallError(GcbenchError):
    """A worker did not finish a call. The reason is what that did: `ended its process ...`."""

    def __init__(self, status: Status, reason: str) -> None:
        """Say what became of it."""
        super().__init__(f"what was called in a worker process {reason}")
        self.status, self.reason = status, reason


class Worker:
    """A process that takes one job after another, in a process group of its own."""

    def __init__(self, settled: Heap | None = None) -> None:
        """Start the process; it loads torch while the caller goes on.

        Its heap is as this process has its own, unless it is to be `settled` otherwise. Raises
        LimitError where the system has no room for it.
        """
        try:
            self._start(settled or heap.now())
        except OSError as error:
            raise LimitError(f"cannot start a process: {no_room(error)}") from error

    def _start(self, settled: Heap) -> None:
        lifeline, self._lifeline = os.pipe()
        self._mark = secrets.token_hex(8)
        # tracebacks of cases that fail there are wanted where they are wanted here
        level = str(logging.getLogger("gcbench").level)
        command = [sys.executable, "-P", "-c", _START, json.dumps(sys.path), str(lifeline)]
        command += [level, settled]
        try:
            # in a session of its own: an interrupt reaches this process alone, which then ends that
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
                pass_fds=(lifeline,),
                env={**os.environ, MARK: self._mark},
            )
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            os.close(lifeline)
        self._pending = b""
        self._oom_kills = oom_kills()

    def __enter__(self) -> Self:
        """Use the process."""
        return self

    def __exit__(self, *failure: object) -> None:
        """Leave nothing of it."""
        self.end()

    def end(self) -> None:
        """Kill the process and all that it started."""
        # which has its guard end all of it
        with suppress(OSError):
            os.close(self._lifeline)
        self._lifeline = -1
        try:
            self._process.wait(LINGER_S)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        # what somebody ended the guard of
        end_marked(self._mark)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            with suppress(OSError):  # what was not sent is not missed
                pipe.close()

    def ask(self, job: Job, timeout_s: float, listener: Listener) -> ComparisonRecord:
        """Have a job done. Trying one case may take `timeout_s`.

        Raises WorkerError where the process ends, is silent for too long, or fails at a case: it is
        of no more use then; NotBegunError where that was before it tried a case;
        ProcessTaintedError where it says so itself. Raises GcbenchError with what it said where the
        job cannot be done. An interrupt ends a `partial` job that has samples at its next step; any
        other is raised, and so is a second one.
        """
        record = self._asked(Request(job=job), job, timeout_s, listener).record
        assert record
        return record

    def hold(self, job: Job, timeout_s: float, listener: Listener) -> tuple[Measurement, ...]:
        """Have the cases of a job tried and held, until an order releases them.

        Returns what became of each; raises as `ask` does.
        """
        held = self._asked(Request(hold=job), job, timeout_s, listener).held
        assert held is not None
        return held

    def wait(self) -> None:
        """Wait until the process has loaded what it needs. Raises NotBegunError where it ended."""
        self._simply(Request(), START_S, begun=False)

    def do(self, order: Order, timeout_s: float) -> Done:
        """Have an order done by the process, which holds cases. Raises WorkerError where it ends.

        It is of no use any more after that, nor where this is interrupted.
        """
        done = self._simply(Request(order=order), timeout_s).done
        if done is None:
            raise WorkerError("crashed", _GARBLED, None)
        return done

    def _simply(self, request: Request, limit_s: float, begun: bool = True) -> Answer:
        """Ask for what has one answer."""
        self._send(msgspec.json.encode(request))
        try:
            return self._answer(time.monotonic() + limit_s)
        except _OverrunError:
            raise _overran(None, limit_s) if begun else _not_begun(limit_s) from None
        except _EndedError as ended:
            raise self._ended(ended.code, None, begun) from None
        except _GarbledError:
            raise WorkerError("crashed", _GARBLED, None) from None

    def _asked(self, request: Request, job: Job, timeout_s: float, listener: Listener) -> Answer:
        """Ask for what takes some steps; returns the answer that has what was asked for."""
        self._send(_encoded(request))
        trying, begun, sampled, reply = None, False, False, HEARD
        limit_s, since = START_S, time.monotonic()
        while True:
            try:
                answer = self._answer(since + limit_s)
            except KeyboardInterrupt:
                reply = _stop(job.partial and sampled and reply == HEARD)
                continue
            except _OverrunError:
                raise _overran(trying, limit_s) if begun else _not_begun(limit_s) from None
            except _EndedError as ended:
                raise self._ended(ended.code, trying, begun) from None
            except _GarbledError:
                raise WorkerError("crashed", _GARBLED, trying) from None
            begun = True
            found = answer.record.measurements if answer.record else answer.held
            if found is not None:
                if (answer.record is None) == (request.hold is None) or not are_of(
                    found, job.comparison.cases
                ):
                    raise WorkerError("crashed", _GARBLED, trying)
                return answer
            if answer.refusal:
                raise GcbenchError(answer.refusal)
            if answer.taint:
                raise ProcessTaintedError(answer.taint)
            if answer.failure and reply == STOP:
                raise KeyboardInterrupt
            if answer.failure:
                raise WorkerError(answer.status, answer.failure, trying)
            if answer.trying:
                listener.on_trying(answer.trying)
                # counting a case and calling it share one limit
                if trying is None or trying.case != answer.trying.case:
                    since = time.monotonic()
                trying = None if answer.trying.case is None else answer.trying
                limit_s = timeout_s if trying else _silence_s(job, timeout_s)
                self._send(HEARD)
            if answer.progress:
                if trying is None:
                    since = time.monotonic()
                sampled = answer.progress.replicates > 0
                try:
                    listener.on_progress(answer.progress)
                except KeyboardInterrupt:
                    reply = _stop(job.partial and sampled and reply == HEARD)
                # it waits meanwhile, so nothing that is drawn takes time from a sample
                self._send(reply)

    def call(
        self,
        function: Callable[..., T],
        given: Sequence[object],
        timeout_s: float,
        heard: Callable[[Any], object] | None = None,
    ) -> T:
        """Have a function called that both processes can import; see `Isolated.call`.

        `heard` gets what it tells, and it may take `timeout_s` until it tells something. Raises
        what gcbench raised there, and CallError where the process ends, is silent or fails
        otherwise: it is of no more use then. NotBegunError where that was before the call. An
        interrupt reaches the function at its next step where `heard` said yes to the last one; any
        other is raised, and so is a second one.
        """
        name = f"{function.__module__}:{function.__qualname__}"
        call = Call(name, pickle.dumps(tuple(given)), heard is not None)
        self._send(_encoded(Request(call=call)))
        limit_s, begun, may_stop, stopped, reply = START_S, False, False, False, HEARD
        while True:
            try:
                answer = self._answer(time.monotonic() + limit_s)
                raised = pickle.loads(answer.raised) if answer.raised else None
                if answer.result is not None:
                    result: T = pickle.loads(answer.result)
                    return result
                step = answer.step and pickle.loads(answer.step)
            except KeyboardInterrupt:
                reply = _stop(may_stop and not stopped)
                stopped = True
                continue
            except _OverrunError:
                if not begun:
                    raise _not_begun(limit_s) from None
                raise CallError("timeout", f"took more than {_limit(limit_s)}") from None
            except _EndedError as ended:
                lost = self._ended(ended.code, None, begun)
                if not begun:
                    raise lost from None
                raise CallError(lost.status, f"ended its process {_how(ended.code)}") from None
            except (_GarbledError, pickle.UnpicklingError, EOFError):
                raise CallError("crashed", _WRITTEN) from None
            if raised:
                raise raised
            if answer.failure and stopped:
                raise KeyboardInterrupt
            if answer.failure:
                raise CallError(answer.status, answer.failure)
            if answer.step and heard:
                try:
                    may_stop = bool(heard(step))
                except KeyboardInterrupt:
                    reply = _stop(may_stop and not stopped)
                    stopped = True
                self._send(reply)
                reply = HEARD
            limit_s, begun = timeout_s, True

    def _send(self, line: bytes) -> None:
        assert self._process.stdin
        with suppress(BrokenPipeError):  # that it ended is found when it is listened to
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()

    def _answer(self, deadline: float) -> Answer:
        try:
            return msgspec.json.decode(self._line(deadline), type=Answer)
        except (msgspec.DecodeError, RecursionError) as error:
            raise _GarbledError from error

    def _line(self, deadline: float) -> bytes:
        """The next line that the process writes, unless it ends or closes its stdout.

        Both are watched: what a block forked may keep the pipe open for ever.
        """
        assert self._process.stdout
        while b"\n" not in self._pending:
            ended = self._process.poll() is not None
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise _OverrunError
            wait_s = 0 if ended else min(LOOK_S, left_s)
            readable, _, _ = select.select([self._process.stdout], [], [], wait_s)
            read = os.read(self._process.stdout.fileno(), 2**16) if readable else b""
            if not read and (readable or ended):
                raise _EndedError(self._exit_code())
            self._pending += read
            if len(self._pending) > LONGEST_ANSWER:
                raise _GarbledError
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _exit_code(self) -> int | None:
        try:
            return self._process.wait(LINGER_S)
        except subprocess.TimeoutExpired:
            return None

    def _ended(self, code: int | None, trying: Trying | None, begun: bool) -> WorkerError:
        """Say how the process ended, and whether that was for want of memory."""
        kind = WorkerError if begun else NotBegunError
        if code == -signal.SIGKILL and oom_kills() != self._oom_kills:
            return kind("oom", "the kernel ended its process for want of memory", trying)
        return kind("crashed", f"its process ended {_how(code)}", trying)


def _encoded(request: Request) -> bytes:
    """A request as a line, with torch's switches as they stand here, where torch is loaded."""
    here = torch_settings() if "torch" in sys.modules else None
    return msgspec.json.encode(replace(request, settings=here))


def _limit(limit_s: float) -> str:
    return f"{span_text(limit_s)} (--timeout)"


def _stop(may: bool) -> bytes:
    """The reply that ends a job, where it may be ended; else the interrupt goes on."""
    if not may:
        raise KeyboardInterrupt
    return STOP


def _silence_s(job: Job, timeout_s: float) -> float:
    """How long nothing may be heard while all arms are timed, each of which was tried in time."""
    return SOFT_FACTOR * job.effort.max_time_s + 2 * len(job.comparison.cases) * timeout_s


class _OverrunError(Exception):
    pass


class _GarbledError(Exception):
    pass


class _EndedError(Exception):
    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code


def _overran(trying: Trying | None, limit_s: float) -> WorkerError:
    if trying is None:
        return WorkerError(
            "timeout", f"nothing was heard of its process for {span_text(limit_s)}", None
        )
    doing = "counting" if trying.counted is None else "building and calling"
    return WorkerError("timeout", f"{doing} it took more than {_limit(limit_s)}", trying)


def _not_begun(limit_s: float) -> NotBegunError:
    return NotBegunError("timeout", f"its process said nothing for {span_text(limit_s)}", None)


def _how(code: int | None) -> str:
    if code is None:
        return "its answers, but not itself"
    if code >= 0:
        return f"with exit code {code}"
    try:
        name = signal.Signals(-code).name
        hint = ", as the system does for want of memory" if name == "SIGKILL" else ""
        return f"with signal {-code} ({name}{hint})"
    except ValueError:
        return f"with signal {-code}"
