"""The commands, each loaded when it is run or asked for help, and how each of them ends."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from gcbench.cli import faults
from gcbench.cli.signals import INTERRUPTED, WORDS, Interrupts
from gcbench.errors import GcbenchError, StoppedError
from gcbench.registry import Entry, Registry


def _entry(name: str, summary: str) -> Entry:
    return Entry(name, f"gcbench.cli.{name}:{name}", summary)


# each with the first line of its own help
COMMANDS: Registry[Entry] = Registry(
    "command",
    (
        _entry("bench", "Measure blocks side by side: a table for each shape, and a CSV."),
        _entry("sweep", "Measure blocks over a grid of axes, into a run that can be resumed."),
        _entry(
            "report", "Show a stored run: every case, or one value of each in rows and columns."
        ),
        _entry(
            "compare",
            "Compare two stored runs: what became slower or faster, and what cannot be told.",
        ),
        _entry("plot", "Draw a stored run: svg, png, pdf, or a page that needs no network."),
        _entry(
            "count",
            "Count parameters, MACs and activations of each part of a module. Times nothing.",
        ),
        _entry("export", "Export a block to a file for another runtime, as it is measured there."),
        _entry("network", "Measure a network with blocks inside against the plain one."),
        _entry(
            "attention",
            "Measure how much attention depends on the query, and what a block of one map would "
            "save.",
        ),
        _entry(
            "paper", "Show the GCNet paper's tables, every printed cell beside what is derived now."
        ),
        _entry(
            "check",
            "Time blocks against their own copies: can this machine's numbers be believed?",
        ),
        _entry(
            "peaks",
            "Measure the ceilings of a device: matrix products, copies, the cost of a call.",
        ),
        _entry("blocks", "List the blocks, describe one, or count all of them at a shape."),
        _entry("env", "Show the manifest that a run would store, and warnings."),
    ),
)


DEFAULTS = "Defaults may stand in variables (GCBENCH_THREADS=1), or in a project: docs/defaults.md."


class _Command(typer.core.TyperCommand):
    def get_params(self, ctx: Any) -> Any:
        return _plain(super().get_params(ctx))


class _Group(typer.core.TyperGroup):
    """Knows commands by name and summary, and loads the one that is run, completed or asked of."""

    def __init__(self, **settings: Any) -> None:
        known = {
            each.name: typer.core.TyperCommand(each.name, help=each.summary) for each in COMMANDS
        }
        super().__init__(**settings | {"commands": known})

    def get_params(self, ctx: Any) -> Any:
        return _plain(super().get_params(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and loaded(str(name)), rest


def loaded(name: str) -> typer.core.TyperCommand:
    """Load a command with its options. Raises UsageError where there is none of this name."""
    function = COMMANDS[name].load()
    from_outside = any(option.has_key for option in function.options.values())
    alone = typer.Typer(add_completion=False)
    alone.command(name, cls=_Command, epilog=DEFAULTS if from_outside else None)(function)
    command = typer.main.get_command(alone)
    assert isinstance(command, typer.core.TyperCommand)
    return command


def _plain(parameters: Any) -> Any:
    """Show flags without the kind of a value: they take none."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters


app = typer.Typer(
    name="gcbench",
    epilog=faults.EXIT_CODES,
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from gcbench.measure.environment import version

        print(f"gcbench {version('gcbench')}")
        raise typer.Exit


@app.callback(
    help="What a global-context block costs, at your shapes, on your machine: "
    "parameters, MACs, and latency with an honest interval."
)
def door(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version.",
            callback=_version,
            is_eager=True,
            show_default=False,
        ),
    ] = False,
) -> None:
    """Hold the options that stand before a command."""


def run(arguments: Sequence[str], interrupts: Interrupts) -> int:
    """Run a command line; whatever goes wrong is told in one line. Returns the exit code."""
    # torch's profiler measures memory, and would tell on stderr of every start and stop
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    try:
        code = app(args=arguments or ["--help"], prog_name="gcbench", standalone_mode=False)
        if code == INTERRUPTED:
            faults.info(WORDS)
        if sys.stdout:
            sys.stdout.flush()
    except (Exception, SystemExit) as error:
        # typer exits so where it takes an error for a broken pipe of stdout, which is not raised
        cause = error.__context__ if isinstance(error, SystemExit) else error
        if cause is None and not interrupts.came:
            # that a completion was shown or installed
            return int(getattr(error, "code", 0) or 0)
        if interrupts.came and not isinstance(cause, GcbenchError):
            # whoever was interrupted may have made something else of it
            cause = StoppedError(WORDS)
        return faults.report_error(
            cause if isinstance(cause, Exception) else RuntimeError("it exited")
        )
    return code or 0
