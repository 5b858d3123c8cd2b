"""How long `gcbench --help` takes, against a bare Typer program with as many commands and options.

The bare program, `doors_bare.py`, has the names, options and help of gcbench as it once was, and
nothing else; it does not grow with gcbench. Both are started in turn; the ratio is taken pair by
pair.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

BARE = Path(__file__).with_name("doors_bare.py")


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    pairs = parser.parse_args().pairs
    for arguments in (["--help"], ["bench", "--help"]):
        commands = [
            [sys.executable, "-m", "gcbench", *arguments],
            [sys.executable, str(BARE), *arguments],
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
