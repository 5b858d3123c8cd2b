"""How what went wrong reaches the person: one line on stderr, and an exit code."""

import logging
import signal
import sys
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gcbench.errors import GcbenchError
from gcbench.formats.text import printable

if TYPE_CHECKING:
    from gcbench.records import Status

FAIL_ON, USAGE, SOME_FAILED, NOTHING_MEASURED, UNTRUSTED = 1, 2, 3, 4, 5
INTERNAL, INTERRUPTED = 70, 130

EXIT_CODES = (
    "Exit codes: 0 done · 1 a --fail-on condition is met (compare) · "
    "2 usage, also a block that cannot be imported or built · "
    "3 some cases failed, the results are written · 4 nothing could be measured, or compared · "
    "5 not trustworthy (check, --strict, blocks --verify) · 70 internal error · 130 interrupted"
)

_traceback: ContextVar[bool] = ContextVar("traceback", default=False)


def _show_tracebacks(wanted: bool) -> bool:
    """Have tracebacks shown, also those of cases that failed while the others went on."""
    _traceback.set(wanted)
    log = logging.getLogger("gcbench")
    log.handlers = [logging.StreamHandler(sys.stderr)] if wanted else []
    log.setLevel(logging.DEBUG if wanted else logging.NOTSET)
    return wanted


Traceback = Annotated[
    bool,
    typer.Option(
        "--traceback",
        help="Show where an error came from.",
        show_default=False,
        callback=_show_tracebacks,
    ),
]


def say(message: str) -> None:
    """Tell the person something that is not the result."""
    # a path or a block's own words may hold what steers a terminal
    print(f"gcbench: {printable(message)}", file=sys.stderr, flush=True)


def warn(warnings: Iterable[str]) -> None:
    """Tell the person what may spoil the result."""
    for warning in warnings:
        say(f"warning: {warning}")


def told(error: Exception) -> int:
    """Tell an error in one line, its traceback first where asked for; return the exit code."""
    if _traceback.get():
        traceback.print_exception(error)
    if isinstance(error, GcbenchError):
        say(str(error))
        return error.exit_code
    if isinstance(error, typer.TyperException):
        say(" ".join(error.format_message().split()))
        return USAGE
    say(f"internal error, {type(error).__name__}: {error} (--traceback shows where)")
    return INTERNAL


def code_of_statuses(counts: "Mapping[Status, int]") -> int:
    """Say by an exit code what became of so many cases of each status."""
    if not counts.get("ok"):
        return NOTHING_MEASURED
    return 0 if set(counts) == {"ok"} else SOME_FAILED


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end things as Ctrl-C does, so that what was measured is kept."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_untrusted(row: "Mapping[Any, Any]") -> bool:
    flags = (row["flags"] or "").split()
    return row["verdict"] == "untrusted" or "copies_differ" in flags or "disturbed" in flags


def code_of(rows: "Collection[Mapping[Any, Any]]", strict: bool) -> int:
    """Say by an exit code what became of the cases of some rows."""
    failed = [row for row in rows if row["status"] != "ok"]
    if len(failed) == len(rows):
        return NOTHING_MEASURED
    if failed:
        return SOME_FAILED
    if strict and any(_is_untrusted(row) for row in rows):
        return UNTRUSTED
    return 0
