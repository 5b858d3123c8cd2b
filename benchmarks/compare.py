"""Does `gcbench compare` tell a changed block from a changed machine?

Three sweeps of four blocks at ten sizes, one after the other: twice the same, then with one block
made slower: it calls gc eleven times where it called it ten times, which is 10 %. Prints the cells
by verdict, and the blocks. With --trials, so many times.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from gcbench import comparing, store
from gcbench.units import interval_text, percent_text

SIZES = "7,8,10,12,14,16,18,20,24,28"
SLOWED = "slowed"
# what a user's own block would be, with its work in a variable so that its key stays the same
BLOCK = """
import os
import torch
from gcbench import build

class Repeated(torch.nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.block = build("gc", channels)
        self.calls = int(os.environ["CALLS"])

    def forward(self, x):
        for _ in range(self.calls):
            out = self.block(x)
        return out
"""


def swept(folder: Path, name: str, calls: int, arguments: list[str]) -> Path:
    run = folder / f"{name}.jsonl"
    blocks = [f"{SLOWED}:Repeated", "se", "snl", "nl"]
    command = [sys.executable, "-m", "gcbench", "sweep", *blocks, "--size", SIZES, "-o", str(run)]
    here = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "CALLS": str(calls), "PYTHONPATH": path}
    done = subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(done.stderr)
    return run


def told(what: str, a: Path, b: Path) -> None:
    found = comparing.compare(store.load(a), store.load(b))
    print(f"{what}: {len(found.judged)} cells, half of them resolve {percent_text(found.resolves)}")
    if found.all and found.clones:
        print(f"  together {interval_text(*found.all)}, copies {interval_text(*found.clones)}")
    for whole in found.blocks:
        judged = whole.judgement
        print(
            f"  {whole.block}: B / A {judged.b_over_a.mid:.3f}, own {judged.own.mid:.3f} "
            f"({interval_text(*judged.own)}), {judged.verdict}; its cells {dict(whole.verdicts)}"
        )
    print(f"  all cells {dict(Counter(pair.verdict for pair in found.pairs))}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1)
    parser.add_argument("--threads", default="1")
    parser.add_argument("--quick", action="store_true", help="3 s a comparison instead of 10 s")
    parser.add_argument("--keep", type=Path, help="a folder for the runs")
    options = parser.parse_args()
    arguments = ["--threads", options.threads, *(["--max-time", "3s"] if options.quick else [])]
    with tempfile.TemporaryDirectory() as made:
        folder = options.keep or Path(made)
        (folder / f"{SLOWED}.py").write_text(BLOCK)
        for trial in range(1, options.trials + 1):
            a = swept(folder, f"{trial}-a", 10, arguments)
            b = swept(folder, f"{trial}-b", 10, arguments)
            c = swept(folder, f"{trial}-c", 11, arguments)
            told(f"trial {trial}, the same", a, b)
            told(f"trial {trial}, one block 10 % slower", b, c)


if __name__ == "__main__":
    main()
