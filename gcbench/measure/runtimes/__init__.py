"""How a module is run, one file for each way; `gcbench.runtime` is their table."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cache
from typing import NamedTuple

from gcbench.measure.workload import Apply, Turned, eagerly
from gcbench.records import Cell
from gcbench.runtime import RUNTIMES
from gcbench.spec.cases import Case


class Begun(NamedTuple):
    """What the first calls of a case tell: cells of its row, and flags."""

    cells: dict[str, Cell]
    flags: tuple[str, ...] = ()


class Runtime:
    """How a case is run. What a file does not say is as for a module that is called as it is.

    One that `replays` calls nothing: it enqueues all of a call at once.
    """

    replays = False

    def why_not(self, case: Case) -> str | None:
        """Say why a case cannot be run so; None where it can."""

    def session(self, device: str) -> AbstractContextManager[object]:
        """What lies around trying and timing the cases of a comparison on a device."""
        return nullcontext()

    def settled(self) -> AbstractContextManager[object]:
        """What lies around timing them, when all was called that is called for the first time."""
        return nullcontext()

    def apply(self) -> Apply:
        """Make what applies a case's module to its input."""
        return eagerly

    def begun(self, call_ns: Callable[[], int]) -> Begun:
        """Call a case, each time in so many ns, until nothing is left to be done a first time."""
        call_ns()
        call_ns()
        return Begun({})

    def described(self) -> dict[str, str]:
        """The versions of its packages, and the settings of its sessions."""
        return {}

    def timed(self, work: Turned) -> Turned:
        """A work as it is timed."""
        return work


@cache
def named(name: str) -> Runtime:
    """The runtime of a name in the table. Raises UsageError where there is none."""
    found: Runtime = RUNTIMES[name].load()()
    return found


def of(case: Case) -> Runtime:
    """The runtime of a case."""
    return named(case.runtime)


def why_not(case: Case) -> str | None:
    """Say why a case's runtime cannot be had for it; None where it can."""
    return of(case).why_not(case)


def described() -> dict[str, dict[str, str]]:
    """What is installed here of runtimes that are not torch's own, and how they are set."""
    found = [entry.name for entry in RUNTIMES if entry.foreign and not entry.missing]
    return {name: named(name).described() for name in found}


@contextmanager
def session(cases: Sequence[Case]) -> Iterator[None]:
    """What the runtimes of some cases, all on one device, want around trying and timing them."""
    with ExitStack() as opened:
        for name in dict.fromkeys(case.runtime for case in cases):
            opened.enter_context(named(name).session(cases[0].device))
        yield


@contextmanager
def settled(cases: Sequence[Case]) -> Iterator[None]:
    """What the runtimes of some cases want around timing them."""
    with ExitStack() as opened:
        for name in dict.fromkeys(case.runtime for case in cases):
            opened.enter_context(named(name).settled())
        yield
