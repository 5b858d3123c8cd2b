"""What can go wrong, as far as a caller can act on it.

The library raises these and prints nothing; `gcbench.cli` turns each into one line on stderr and
the exit code that the kind carries.
"""

import errno
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import TypeVar

T = TypeVar("T")

# no more characters than these are quoted of what was given
LONGEST_QUOTED = 200

# what the system refuses for a limit that somebody may raise
_LIMITS = {
    errno.EMFILE: "the limit on open files, ulimit -n",
    errno.ENFILE: "the machine's limit on open files",
    errno.ENOMEM: "not enough memory, or the limit on it, ulimit -v",
    errno.EFBIG: "the limit on the size of files, ulimit -f",
}
# whose lines tell a user nothing about code of their own
_OURS = frozenset({"gcbench", "torch", "torchvision", "fvcore"}) | sys.stdlib_module_names


def told(error: BaseException) -> str:
    """Say in one line what a block's own code raised: kind, start of the message, and where.

    What gcbench found says so itself.
    """
    if issubclass(type(error), GcbenchError):
        return message_of(error)
    message = " ".join(message_of(error).split())[:300]
    # the parser's words end with the file and line that are said here in any case
    if issubclass(type(error), SyntaxError):
        message = safely(lambda: str(getattr(error, "msg", message)), message)
    kind = safely(lambda: str(type(error).__name__), "an exception without a name")
    return (f"{kind}: {message}" if message else kind) + at(error)


def worded(error: BaseException) -> str:
    """Say what a block's own code raised; a ValueError is written for the person and says it."""
    message = message_of(error)
    spoken = issubclass(type(error), ValueError) and message
    return f"{message}{at(error)}" if spoken else told(error)


def message_of(error: BaseException) -> str:
    """The message of what somebody else's code raised, as UTF-8 holds it; empty without one."""
    return safely(lambda: str(error).encode("utf-8", "replace").decode(), "")


def safely(read: Callable[[], T], otherwise: T) -> T:
    """Read something of what somebody else's code raised, where even looking may raise anything."""
    try:
        return read()
    except BaseException:
        return otherwise


def cause(error: OSError) -> str:
    """Say what the system refused, and which limit that is.

    >>> cause(OSError(24, "Too many open files"))
    'Too many open files (the limit on open files, ulimit -n)'
    """
    limit = is_limit(error)
    return f"{error.strerror or error}{f' ({limit})' if limit else ''}"


def no_room(error: OSError) -> str:
    """Say why a process could not be started, as `cause` does of other things."""
    if error.errno == errno.EAGAIN:
        return f"{error.strerror} (the limit on processes, ulimit -u)"
    return cause(error)


def limited() -> str:
    """Say that memory is limited by `ulimit -v`, where it is: so libraries fail in odd ways."""
    import resource

    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    return "" if most == resource.RLIM_INFINITY else f" (ulimit -v is {most // 2**10})"


def is_limit(error: OSError) -> str | None:
    """Name the limit for which the system refused something, where it is one."""
    return _LIMITS.get(error.errno or 0)


def quoted(text: object) -> str:
    """Write what was given in quotes, no more of it than anybody reads.

    >>> quoted("gc"), len(quoted(5000 * "9"))
    ("'gc'", 200)
    """
    whole = repr(text)
    return whole if len(whole) <= LONGEST_QUOTED else f"{whole[: LONGEST_QUOTED - 4]}...{whole[0]}"


def at(error: BaseException) -> str:
    """Say where a user's own code raised it: ` (mine.py:12)`, or nothing where that was nobody's.

    That is the innermost line outside gcbench, torch and Python's own library, and outside every
    installed package too where there is such a line.
    """
    return safely(lambda: _at(error), "")


def _at(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return _shown(error.filename, error.lineno)
    lines, step = [], error.__traceback__
    while step:
        if _top(str(step.tb_frame.f_globals.get("__name__", ""))) not in _OURS:
            lines.append((step.tb_frame.f_code.co_filename, step.tb_lineno))
        step = step.tb_next
    written = [line for line in lines if "site-packages" not in line[0]] or lines
    return _shown(*written[-1]) if written else ""


def at_code(code: CodeType, module: str) -> str:
    """Say where a function of a user's module begins, as `at` does; nothing of generated code."""
    if _top(module) in _OURS or code.co_filename == "<string>":
        return ""
    return _shown(code.co_filename, code.co_firstlineno)


def _top(module: str) -> str:
    return module.partition(".")[0]


def _shown(file: str, line: int) -> str:
    path = Path(file)
    here = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f" ({here}:{line})"


class GcbenchError(Exception):
    """Anything that gcbench itself finds wrong. The message is one sentence for a person."""

    exit_code = 70


class BlockError(GcbenchError):
    """A block was called and is none: the message says what it returned, and where its code is."""


class UsageError(GcbenchError):
    """What was asked for cannot be done as it was written; the message names the option."""

    exit_code = 2


class RunError(GcbenchError):
    """A stored run cannot be read or written; the message names the file."""

    exit_code = 2


class LimitError(GcbenchError):
    """The system refuses what is needed to go on; the message names the limit."""

    exit_code = 2


class CaseError(GcbenchError):
    """A case raised while it was timed. `case` is its position; the cause is what it raised."""

    def __init__(self, case: int) -> None:
        """Name the case by its position in the comparison."""
        super().__init__(f"case {case} failed while it was timed")
        self.case = case


class CountingError(GcbenchError):
    """A counter cannot count this module; the message names the counter and the cause."""


class StoppedError(GcbenchError):
    """The person ended it. The message says what was kept, and how to go on."""

    exit_code = 130
