"""What can go wrong, as far as a caller can act on it.

The library raises these and prints nothing; `gcbench.cli` turns each into one line on stderr and
the exit code that the kind carries.
"""


class GcbenchError(Exception):
    """Anything that gcbench itself finds wrong. The message is one sentence for a person."""

    exit_code = 70


class UsageError(GcbenchError):
    """What was asked for cannot be done as it was written; the message names the option."""

    exit_code = 2


class RunError(GcbenchError):
    """A stored run cannot be read or written; the message names the file."""

    exit_code = 2


class CountingError(GcbenchError):
    """A counter cannot count this module; the message names the counter and the cause."""
