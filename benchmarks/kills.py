"""Is anything lost when a sweep is killed? A sweep, killed with SIGKILL at random moments.

    python benchmarks/kills.py                  # 30 kills
    python benchmarks/kills.py --kills 5 --seed 1

The sweep is killed, its file is read, and it is gone on with, until it was killed so often; then it
may end. A quarter of the kills come after a random time from its start, the others after one from
the moment that it wrote something. Every case must be there once, none lost that was there before,
none measured twice, and the file must be readable at every moment. Exits with 1 where that is not
so.
"""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from gcbench import store
from gcbench.records import Status

COMMAND = [sys.executable, "-m", "gcbench", "sweep"]
BLOCKS = ("gc", "se", "nl")
SIZES, CHANNELS, RATIOS = 30, 4, 4
SPREAD_S = 2.0
# nl has no ratio
CASES = SIZES * CHANNELS * (2 * RATIOS + 1)
GRID = [
    *BLOCKS,
    *("--size", f"4:{3 + SIZES}:1"),
    *("--channels", ",".join(str(16 * (1 + step)) for step in range(CHANNELS))),
    *("--ratio", ",".join(str(2**step) for step in range(RATIOS))),
    *("--max-time", "100ms", "--threads", "1"),
]


def killed(run: Path, rng: random.Random) -> str:
    """Start the sweep or go on with it, and kill it at a random moment, which is said."""
    more = ["--resume", str(run)] if run.exists() else [*GRID, "-o", str(run)]
    size = run.stat().st_size if run.exists() else 0
    # starting takes seconds: most kills come while there is something to lose
    measuring, seconds = rng.random() < 0.75, rng.uniform(0, SPREAD_S)
    with subprocess.Popen(
        [*COMMAND, *more], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as sweep:
        while measuring and sweep.poll() is None:
            if run.exists() and run.stat().st_size > size:
                break
            time.sleep(0.001)
        time.sleep(seconds)
        sweep.kill()
    if sweep.returncode != -signal.SIGKILL:
        raise SystemExit(f"the sweep ended by itself, with {sweep.returncode}: {more}")
    return f"{seconds:.2f} s after {'it wrote' if measuring else 'it started'}"


def known(run: Path) -> dict[str, Status]:
    """What became of each case so far; SystemExit where the file cannot be read."""
    if not run.exists():
        return {}
    damage: list[str] = []
    found = store.statuses(run, damage.append)
    # the line that was being written is the only one that may be damaged
    if any("is not finished" not in word for word in damage):
        raise SystemExit(f"the file is damaged: {damage}")
    return found


def times_measured(run: Path) -> Counter[str]:
    """How many records hold each case."""
    return Counter(
        m.case.key for record in store.load(run).comparisons for m in record.measurements
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, start = random.Random(options.seed), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "killed.jsonl"
        before: dict[str, Status] = {}
        for kill in range(options.kills):
            when = killed(run, rng)
            after = known(run)
            if not before.items() <= after.items():
                raise SystemExit(f"lost: {sorted(before.items() - after.items())}")
            print(f"kill {kill + 1}, {when}: {len(after)} of {CASES} cases", flush=True)
            before = after
        subprocess.run([*COMMAND, "--resume", str(run)], check=True, stdout=subprocess.DEVNULL)
        times = times_measured(run)
        left = sorted(path.name for path in Path(folder).iterdir())
    twice = [key for key, number in times.items() if number > 1]
    print(
        f"{options.kills} kills in {time.perf_counter() - start:.0f} s: {len(times)} of {CASES} "
        f"cases, {len(twice)} twice, {len(before.keys() - times.keys())} lost; files {left}"
    )
    sys.exit(bool(twice or len(times) != CASES))


if __name__ == "__main__":
    main()
