"""How long `gcbench --help` takes, against a bare Typer program with the same commands and options.

The bare program is written from gcbench's own commands: the same names, options and help, and
nothing else. Both are started in turn; the ratio is taken pair by pair.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import typer

from gcbench.cli.commands import app


def bare_program() -> str:
    """Write a Typer program that has gcbench's commands, options and help, and does nothing."""
    lines = ["from typing import Annotated", "import typer", "app = typer.Typer()"]
    for command in typer.main.get_command(app).commands.values():
        lines += ["@app.command()", f"def {command.name}("]
        for parameter in command.params:
            declared = [repr(name) for name in parameter.opts if name.startswith("-")]
            kind = "Option" if declared else "Argument"
            text = [*declared, f"help={parameter.help!r}", f"metavar={parameter.metavar!r}"]
            flag = getattr(parameter, "is_flag", False)
            hint, default = ("bool", False) if flag else ("str | None", None)
            typed = f"Annotated[{hint}, typer.{kind}({', '.join(text)})]"
            lines.append(f"    {parameter.name}: {typed} = {default},")
        lines.append(f") -> None:\n    {command.help!r}")
    return "\n".join([*lines, "app()", ""])


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    pairs = parser.parse_args().pairs
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(bare_program())
        for arguments in (["--help"], ["bench", "--help"]):
            commands = [
                [sys.executable, "-m", "gcbench", *arguments],
                [sys.executable, str(bare), *arguments],
            ]
            for command in commands:
                seconds(command)
            timed = [[seconds(command) for command in commands] for _ in range(pairs)]
            ours, theirs = (statistics.median(column) for column in zip(*timed, strict=True))
            ratio = statistics.median(ours / theirs for ours, theirs in timed)
            print(
                f"gcbench {' '.join(arguments)}: {1e3 * ours:.0f} ms, bare {1e3 * theirs:.0f} ms, "
                f"median ratio {ratio:.3f} over {pairs} pairs"
            )


if __name__ == "__main__":
    main()
