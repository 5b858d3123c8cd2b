"""Is counting as fast as in another checkout, and does bench start as soon? Side by side, in pairs.

`python benchmarks/counting.py OLD` runs the same commands from this checkout and from OLD, a folder
with another one, by turns, in one environment; it prints the ratios of their durations.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent.parent

MINE = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.inner = nn.Sequential(*(nn.Conv2d(channels, channels, 1) for _ in range(4)))
    def forward(self, x):
        rows = self.inner(x).flatten(2)
        return x + (torch.softmax(rows @ rows.transpose(1, 2), -1) @ rows).view_as(x)
"""
OWN = ["gc", "se", "snl", "nl"]
SIZES = ["--size", "7:210:7", "--channels", "64:512:64"]
ONCE = ["--size", "14", "--channels", "64", "--max-time", "50ms", "--no-wait", "--format", "csv"]
COMMANDS = {
    "static, 2,160 cases of gcbench's blocks": ["sweep", "--static", *OWN, *SIZES, "-r", "4,8"],
    "static, 240 cases of a user's block": ["sweep", "--static", "mine:Block", *SIZES],
    "bench of gcbench's blocks, timed for 50 ms": ["bench", *OWN, *ONCE],
    "bench of a user's block, timed for 50 ms": ["bench", "gc", "mine:Block", *ONCE],
}


def seconds(checkout: Path, command: list[str], folder: Path) -> float:
    """How long a command takes, run from a checkout."""
    out = ["-o", str(folder / f"run-{time.monotonic_ns()}")] if command[0] == "sweep" else []
    cache = "cache" + str(checkout).replace("/", "-")
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "gcbench", *command, *out],
        cwd=folder,
        # ceilings that one checkout keeps are stale to the other, and both are compiled once, as
        # for users
        env={
            **os.environ,
            "PYTHONPATH": str(checkout),
            "XDG_CACHE_HOME": str(folder / cache),
            "PYTHONDONTWRITEBYTECODE": "",
        },
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("old", type=Path, help="A folder with another checkout.")
    parser.add_argument("--pairs", type=int, default=7)
    asked = parser.parse_args()
    both = {"new": HERE, "old": asked.old.resolve()}
    print("| what | old, s | new / old, median | least to most |\n|---|---:|---:|---|")
    for what, command in COMMANDS.items():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "mine.py").write_text(MINE)
            for checkout in both.values():
                # what is measured once and kept is not what either pays for
                seconds(checkout, command, folder)
            took: dict[str, list[float]] = {"new": [], "old": []}
            for pair in range(asked.pairs):
                for which in ("new", "old") if pair % 2 else ("old", "new"):
                    took[which].append(seconds(both[which], command, folder))
        ratios = [new / old for new, old in zip(took["new"], took["old"], strict=True)]
        print(
            f"| {what} | {statistics.median(took['old']):.1f} | {statistics.median(ratios):.2f} "
            f"| {min(ratios):.2f} to {max(ratios):.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
