"""What can go wrong, as far as a caller can act on it.

The library raises these and prints nothing; `gcbench.cli` turns each into one line on stderr and
the exit code that the kind carries.
"""


def told(error: BaseException) -> str:
    """Say in one line what a block's own code raised: the kind, and the start of the message."""
    message = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


class GcbenchError(Exception):
    """Anything that gcbench itself finds wrong. The message is one sentence for a person."""

    exit_code = 70


class UsageError(GcbenchError):
    """What was asked for cannot be done as it was written; the message names the option."""

    exit_code = 2


class RunError(GcbenchError):
    """A stored run cannot be read or written; the message names the file."""

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
