"""One program for every door: it stands by for signals before it loads anything, and exits."""

import sys
from collections.abc import Sequence

from gcbench.cli import signals
from gcbench.system import streams


def main(arguments: Sequence[str] | None = None) -> None:
    """Run gcbench with these arguments, or the process's own, and exit with its code."""
    streams.guard()
    with signals.heard(for_good=arguments is None) as interrupts:
        try:
            code = _code(list(sys.argv[1:] if arguments is None else arguments), interrupts)
        except KeyboardInterrupt:
            print(f"gcbench: {signals.WORDS}", file=sys.stderr, flush=True)
            code = signals.INTERRUPTED
        interrupts.finish(code)
    sys.exit(code)


def _code(arguments: Sequence[str], interrupts: signals.Interrupts) -> int:
    # the commands take their time to load
    from gcbench.cli import commands

    interrupts.begin()
    return commands.run(arguments, interrupts)
