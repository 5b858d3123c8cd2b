"""The commands, and how each of them ends."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
import typer.core

from gcbench.cli import faults
from gcbench.cli.attention import attention
from gcbench.cli.bench import bench
from gcbench.cli.blocks import blocks
from gcbench.cli.check import check
from gcbench.cli.compare import compare
from gcbench.cli.count import count
from gcbench.cli.env import env
from gcbench.cli.network import network
from gcbench.cli.paper import paper
from gcbench.cli.peaks import peaks
from gcbench.cli.plot import plot
from gcbench.cli.report import report
from gcbench.cli.signals import INTERRUPTED, WORDS, Interrupts
from gcbench.cli.sweep import sweep
from gcbench.errors import GcbenchError, StoppedError


class _Group(typer.core.TyperGroup):
    def get_params(self, ctx: Any) -> Any:
        return _plain(super().get_params(ctx))


class _Command(typer.core.TyperCommand):
    def get_params(self, ctx: Any) -> Any:
        return _plain(super().get_params(ctx))


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
for command in (
    *(bench, sweep, report, compare, plot),
    *(count, network, attention, paper),
    *(check, peaks, blocks, env),
):
    app.command(cls=_Command)(command)


def _version(wanted: bool) -> None:
    if wanted:
        from gcbench.environment import version

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
            faults.say(WORDS)
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
        return faults.told(cause if isinstance(cause, Exception) else RuntimeError("it exited"))
    return code or 0
