"""How what went wrong reaches the person: one line on stderr, and an exit code."""

import logging
import sys
import traceback
from collections.abc import Collection, Iterable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import typer

from gcbench.cli.signals import INTERRUPTED as INTERRUPTED
from gcbench.errors import GcbenchError, cause, is_limit, limited, message_of, safely
from gcbench.report.text import printable, shortened

if TYPE_CHECKING:
    from gcbench.records import Status

FAIL_ON, USAGE, SOME_FAILED, NOTHING_MEASURED, UNTRUSTED = 1, 2, 3, 4, 5
INTERNAL = 70

EXIT_CODES = (
    "Exit codes: 0 done · 1 a --fail-on condition is met (compare) · "
    "2 usage, also a block that cannot be imported or built · "
    "3 some cases failed, the results are written · 4 nothing could be measured, or compared · "
    "5 not trustworthy (check, --strict, blocks --verify) · 70 internal error · 130 interrupted"
)

_traceback: ContextVar[bool] = ContextVar("traceback", default=False)


def show_tracebacks(wanted: bool) -> None:
    """Have tracebacks shown, also those of cases that failed while the others went on."""
    _traceback.set(wanted)
    log = logging.getLogger("gcbench")
    log.handlers = [logging.StreamHandler(sys.stderr)] if wanted else []
    log.setLevel(logging.DEBUG if wanted else logging.NOTSET)


def info(message: str) -> None:
    """Tell the person something that is not the result."""
    # a path or a block's own words may hold what steers a terminal
    print(f"gcbench: {printable(message)}", file=sys.stderr, flush=True)


def warn(warnings: Iterable[str]) -> None:
    """Tell the person what may spoil the result."""
    for warning in warnings:
        info(f"warning: {warning}")


def report_error(error: Exception) -> int:
    """Tell an error in one line, its traceback first where asked for; return the exit code.

    Notes that were added to it stand behind it: what was kept, and how to go on.
    """
    if _traceback.get():
        safely(lambda: traceback.print_exception(error), None)
    code, words = _worded(error)
    notes: list[str] = getattr(error, "__notes__", [])
    info(": ".join([shortened(words), *notes]))
    return code


def _worded(error: Exception) -> tuple[int, str]:
    if isinstance(error, GcbenchError):
        return error.exit_code, str(error)
    if isinstance(error, typer.TyperException):
        return USAGE, " ".join(error.format_message().split())
    if _is_of_torch(error):
        words = f"{type(error).__name__}: {' '.join(message_of(error).split())}"
        return USAGE, f"torch cannot be loaded: {words}{limited() or ' (install it anew)'}"
    if isinstance(error, OSError) and is_limit(error):
        return USAGE, f"{cause(error)}{f': {error.filename}' if error.filename else ''}"
    if isinstance(error, MemoryError):
        return USAGE, f"there is not enough memory{limited()}"
    words = f"{type(error).__name__}: {message_of(error)}"
    return INTERNAL, f"internal error, {words}{limited()} (--traceback shows where)"


def _is_of_torch(error: Exception) -> bool:
    """Whether torch itself could not be imported, or is not what it should be."""
    torch = sys.modules.get("torch")
    if isinstance(error, AttributeError) and torch is not None and error.obj is torch:
        return True
    if isinstance(error, ImportError) and (error.name or "").partition(".")[0] == "torch":
        return True
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(
        frame.f_code.co_name == "<module>"
        and str(frame.f_globals.get("__name__")).partition(".")[0] == "torch"
        for frame in frames
    )


def code_of_statuses(counts: "Mapping[Status, int]") -> int:
    """Say by an exit code what became of so many cases of each status."""
    if not counts.get("ok"):
        return NOTHING_MEASURED
    return 0 if set(counts) == {"ok"} else SOME_FAILED


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
