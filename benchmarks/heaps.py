"""Do arms in processes of their own read what a process alone reads? For a quiet machine.

Each trial measures blocks by `--pair heap`, and then with either heap in a process by itself. At
1x256x56x56 on two quiet cores nl should take about 1.5 times as long with the default heap at one
thread and 1.8 times at two; what is paired should be within 10 % of what is alone; and of the A/A
intervals, which reach across processes, about 95 in 100 should hold 1. With `--others` a busy loop
runs beside it for each: verdicts should then be untrusted, and none contradict the quiet ones.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

Row = dict[str, str]


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Keep so many cores busy inside."""
    endless = [sys.executable, "-c", "while True: pass"]
    running = [subprocess.Popen(endless) for _ in range(loops)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def measured(blocks: list[str], *options: str) -> dict[tuple[str, str], Row]:
    """The rows of one bench in a process of its own, by block and heap."""
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.csv"
        command = [sys.executable, "-m", "gcbench", "bench", *blocks, *options, "--csv", str(rows)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with rows.open() as file:
            return {(row["block"], row["heap"]): row for row in csv.DictReader(file)}


def number(row: Row, column: str) -> float:
    return float(row[column] or "nan")


def trial(blocks: list[str], options: list[str]) -> Iterator[tuple[str, bool]]:
    """Measure once each way; yield a line for each block, and whether its A/A interval holds 1."""
    paired = measured(blocks, *options, "--pair", "heap")
    alone = {
        key: row
        for heap in ("steady", "default")
        for key, row in measured(blocks, *options, "--heap", heap).items()
    }
    for block in blocks:
        steady, default = paired[block, "steady"], paired[block, "default"]
        one, other = (number(alone[block, heap], "latency_us") for heap in ("steady", "default"))
        lo, hi = number(default, "aa_lo"), number(default, "aa_hi")
        ends = (number(default, "relative_lo"), number(default, "relative_hi"))
        line = (
            f"{block:4} {number(default, 'relative'):6.3f} ({ends[0]:.3f} to {ends[1]:.3f}) "
            f"{default['verdict']:12} {other / one:6.3f}   "
            f"{lo:.3f} to {hi:.3f}   {number(steady, 'latency_us') / one:6.3f} "
            f"{number(default, 'latency_us') / other:6.3f}   {number(default, 'minor_faults'):8.0f}"
        )
        yield line, lo <= 1 <= hi


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("blocks", nargs="*", default=["gc", "se", "nl"])
    parser.add_argument("--threads", default="1")
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--seconds", default="10")
    parser.add_argument("--others", type=int, default=0)
    asked = parser.parse_args()
    options = ["--threads", asked.threads, "--max-time", asked.seconds]
    print("default / steady: paired, and alone; A/A; paired over alone: steady, default; faults")
    holds = []
    with busy(asked.others):
        for number_of_trial in range(asked.trials):
            seeded = [*options, "--seed", str(number_of_trial)]
            for line, hold in trial(asked.blocks, seeded):
                holds.append(hold)
                print(line, flush=True)
    print(f"{sum(holds)} of {len(holds)} A/A intervals across processes hold 1")


if __name__ == "__main__":
    main()
