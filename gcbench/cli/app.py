"""One program for every door: the commands, and how it ends."""

import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

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
from gcbench.cli.sweep import sweep
from gcbench.errors import UsageError

app = typer.Typer(
    name="gcbench",
    epilog=faults.EXIT_CODES,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    *(bench, sweep, report, compare, plot),
    *(count, network, attention, paper),
    *(check, peaks, blocks, env),
):
    app.command()(command)


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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run gcbench with these arguments, or the process's own, and exit with its code."""
    # torch's profiler measures memory, and would tell on stderr of every start and stop
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        # a terminal that cannot show a letter gets a question mark, not a traceback
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        with faults.stopped_by_signals():
            code = app(args=arguments or ["--help"], prog_name="gcbench", standalone_mode=False)
        if code == faults.INTERRUPTED:
            faults.say("interrupted: what was not finished is not kept")
        if sys.stdout:
            sys.stdout.flush()
    except (BrokenPipeError, SystemExit):
        # the reader has what it wanted: typer itself would exit with 1
        _drop_stdout()
        code = 0
    except OSError as error:
        code = faults.told(_of_stdout(error))
    except Exception as error:
        code = faults.told(error)
    sys.exit(code or 0)


def _of_stdout(error: OSError) -> Exception:
    """What an error is that names no file: stdout cannot take the result."""
    if error.filename is not None:
        return error
    _drop_stdout()
    return UsageError(f"cannot write to stdout: {error.strerror}")


def _drop_stdout() -> None:
    """Let the interpreter's own last flush go nowhere: the reader is gone, or cannot take more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
