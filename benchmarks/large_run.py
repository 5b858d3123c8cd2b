"""How much time and memory a run of about 1 GB takes to read: its statuses, its CSV, reports of it.

    python benchmarks/large_run.py                      # 20,000 comparisons
    python benchmarks/large_run.py --comparisons 2500   # 10,000 rows
    python benchmarks/large_run.py --keep large.jsonl   # keep the run, or use it where it is there

Each reading is a process of its own, so that its peak of resident memory is its own. The samples
are drawn, not measured: 6 arms, 30 replicates of 40 rounds.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from gcbench import store
from gcbench.records import (
    SCHEMA,
    Arm,
    ComparisonRecord,
    Disturbance,
    Measurement,
    Replicate,
    Timing,
)
from gcbench.spec.cases import Axes, Block, comparison_of
from gcbench.store.format import encoded

REFERENCE = next((Path(__file__).parent.parent / "results").glob("bench-*.jsonl"))
BLOCKS = [Block(name, name, None, name in ("gc", "se")) for name in ("gc", "se", "snl", "nl")]
ARMS = (*(Arm("case", case, 0, 2) for case in range(4)), Arm("aa", 0, 0, 2), Arm("copy", 0, 0, 2))
LATENCIES_NS = np.array([318e3, 95e3, 301e3, 904e3, 318e3, 40e3])
REPLICATES, ROUNDS = 30, 40
QUIET = Disturbance(200_000_000, 200_000_000, 0, 3, 0)

STATUSES = "from gcbench import store; print(len(store.statuses(Path(path))), 'cases known')"
REPORT = """
from gcbench.cli.app import main
try:
    main(["report", path, *{arguments!r}, "-o", path + ".report"])
except SystemExit as end:
    print("exit", end.code)
"""
REPORTS = (
    *(["--format", name] for name in ("csv", "table", "markdown", "latex", "json")),
    ["--rows", "shape"],
    ["--where", "relative < 1", "--sort", "-latency_us"],
)
READER = """
import resource, sys, time
from pathlib import Path
path, start = sys.argv[1], time.perf_counter()
{what}
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"{{time.perf_counter() - start:.1f}} s, peak {{peak:.0f}} MiB")
"""


def comparison(number: int, rng: np.random.Generator) -> ComparisonRecord:
    """A comparison of a shape that no other number has."""
    axes = Axes(channels=16 + 16 * (number % 40), size=(7 + number // 40, 7 + number // 40))
    asked = comparison_of(BLOCKS, axes, "cpu")
    drawn = rng.lognormal(0, 0.03, (REPLICATES, ROUNDS, len(ARMS))) * LATENCIES_NS
    samples = (drawn * rng.lognormal(0, 0.01, (REPLICATES, 1, len(ARMS)))).astype(int)
    replicates = tuple(Replicate(tuple(map(tuple, each.T.tolist())), QUIET) for each in samples)
    metrics = {"params": 8753, "macs": 1613824, "macs_counter": "fvcore", "min_bytes": 9668804}
    return ComparisonRecord(
        tuple(Measurement(case, metrics=metrics) for case in asked.cases),
        asked.baselines,
        0.02,
        (Timing(ARMS, replicates, "precision"),),
    )


def make(path: Path, comparisons: int) -> None:
    """Write the run, without waiting for the disk at every line."""
    manifest = replace(store.manifest(REFERENCE), run="large", schema=SCHEMA)
    store.create(path, manifest).close()
    rng = np.random.default_rng(0)
    with path.open("ab") as file:
        for number in range(comparisons):
            file.write(encoded(comparison(number, rng)))


def read(what: str, program: str, path: Path) -> None:
    """Read the run in a process of its own, and print what it took."""
    reader = [sys.executable, "-c", READER.format(what=program), str(path)]
    done = subprocess.run(reader, capture_output=True, text=True, check=True)
    print(f"{what}: {' '.join(done.stdout.split(chr(10)))}", flush=True)


def main() -> None:
    """Make the run, and read it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--comparisons", type=int, default=20_000)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.keep or Path(folder) / "large.jsonl"
        if not path.exists():
            start = time.perf_counter()
            make(path, options.comparisons)
            print(f"made in {time.perf_counter() - start:.1f} s", flush=True)
        print(f"{path.stat().st_size / 1e9:.2f} GB")
        read("statuses", STATUSES, path)
        for arguments in REPORTS:
            what = " ".join(["report", *arguments])
            read(what, REPORT.format(arguments=arguments), path)


if __name__ == "__main__":
    main()
