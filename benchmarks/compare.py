"""Does `gcbench compare` tell a changed block from a changed machine?

Three sweeps of four blocks at ten sizes, one after the other: twice the same, then with one block
made slower: it calls gc eleven times where it called it ten times, which is 10 %. Prints the cells
by verdict, and the blocks. With --trials, so many times. With --simulated N nothing is timed: N
pairs of runs are drawn for each of several machines, and the verdicts counted.
"""

import argparse
import math
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from gcbench import store
from gcbench.analysis import compare
from gcbench.analysis.verdicts import Timed, clones_of, judge
from gcbench.stats.intervals import ERROR_RATE, Interval, Noise, median_interval
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
    found = compare.match_runs(store.load(a), store.load(b))
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


NAMES = ("gc", "se", "snl", "nl")
REPLICATES = 12
LAYOUT = 0.01
# what moves between two runs: unlike things apart, comparisons and everything, whole blocks
MACHINES = {
    "unlike things by 0.5 %": {"unlike": 0.005},
    "by 1 %": {"unlike": 0.01},
    "by 2 %": {"unlike": 0.02},
    "by 3 %": {"unlike": 0.03},
    "by 1 %, comparisons by 10 %, all by 20 %": {"unlike": 0.01, "local": 0.1, "drift": 0.2},
    "by 1 % with tails (t of 2 degrees)": {"unlike": 0.01, "tails": True},
    "by 1 %, whole blocks by 5 %": {"unlike": 0.01, "whole": 0.05},
    "one comparison of 4 blocks, by 0.5 %": {"unlike": 0.005, "sizes": 1},
    "one comparison of 3 blocks, by 0.5 %": {"unlike": 0.005, "sizes": 1, "blocks": 3},
    "one comparison of 2 blocks, by 0.5 %": {"unlike": 0.005, "sizes": 1, "blocks": 2},
}


def drawn(
    rng: random.Random,
    slower: float,
    unlike: float,
    local: float = 0.0,
    drift: float = 0.0,
    whole: float = 0.0,
    tails: bool = False,
    sizes: int = 10,
    blocks: int = 4,
) -> list[Timed]:
    def seen(truth: float, rate: float, deviation: float = LAYOUT) -> Interval:
        return median_interval([rng.gauss(truth, deviation) for _ in range(REPLICATES)], rate)

    def apart() -> float:
        # a normal number over the root of a mean of two squares of others is Student's of 2
        heavy = math.sqrt(rng.expovariate(1.0)) if tails else 1.0
        return rng.gauss(0, unlike) / heavy

    rate = ERROR_RATE / blocks
    shifts = {name: rng.gauss(0, whole) for name in (*NAMES[:blocks], None)}
    shifts["gc"] += slower
    found = []
    for size in range(sizes):
        machine = drift + rng.gauss(0, local)
        clone = seen(machine + shifts[None] + apart(), ERROR_RATE).minus(seen(0, ERROR_RATE))
        for name in NAMES[:blocks]:
            before, after = seen(0, rate), seen(machine + shifts[name] + apart(), rate)
            variance = before.variance(rate) + after.variance(rate)
            noise = Noise((seen(0, ERROR_RATE, LAYOUT), seen(0, ERROR_RATE, LAYOUT)), 0.02)
            place = (size, size)
            found.append(
                Timed(
                    f"{name} {size}", name, place, (), after.minus(before), variance, clone, noise
                )
            )
    return found


def simulated(runs: int) -> None:
    print(
        "| machine moves | false cells | runs with one | false blocks | 10 % found: cells | block |"
    )
    for machine, moves in MACHINES.items():
        same = [_verdicts(drawn(random.Random(seed), 0.0, **moves)) for seed in range(runs)]
        slow = [
            _verdicts(drawn(random.Random(seed), math.log(1.1), **moves)) for seed in range(runs)
        ]
        claims = ("faster", "slower")
        false = [sum(verdict in claims for verdict in cells.values()) for cells, _ in same]
        blocks = sum(any(verdict in claims for verdict in each.values()) for _, each in same)
        cells = [v == "slower" for each, _ in slow for key, v in each.items() if key[:2] == "gc"]
        shares = (
            sum(false) / sum(len(each) for each, _ in same),
            sum(map(bool, false)) / runs,
            blocks / runs,
            sum(cells) / len(cells),
            sum(each["gc"] == "slower" for _, each in slow) / runs,
        )
        told = " | ".join(map(percent_text, shares))
        print(f"| {machine} | {told} |", flush=True)


def _verdicts(timed: list[Timed]) -> tuple[dict[str, str], dict[str, str]]:
    cells, blocks = judge(timed, clones_of(timed))
    return (
        {key: judged.verdict for key, judged in cells.items()},
        {whole.block: whole.judgement.verdict for whole in blocks},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1)
    parser.add_argument("--threads", default="1")
    parser.add_argument("--quick", action="store_true", help="3 s a comparison instead of 10 s")
    parser.add_argument("--keep", type=Path, help="a folder for the runs")
    parser.add_argument("--simulated", type=int, metavar="N", help="draw N pairs of runs instead")
    options = parser.parse_args()
    if options.simulated:
        simulated(options.simulated)
        return
    arguments = ["--threads", options.threads, *(["--max-time", "3s"] if options.quick else [])]
    with tempfile.TemporaryDirectory() as made:
        folder = options.keep.resolve() if options.keep else Path(made)
        (folder / f"{SLOWED}.py").write_text(BLOCK)
        for trial in range(1, options.trials + 1):
            a = swept(folder, f"{trial}-a", 10, arguments)
            b = swept(folder, f"{trial}-b", 10, arguments)
            c = swept(folder, f"{trial}-c", 11, arguments)
            told(f"trial {trial}, the same", a, b)
            told(f"trial {trial}, one block 10 % slower", b, c)


if __name__ == "__main__":
    main()
