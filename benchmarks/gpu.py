"""Everything that needs a GPU, in one call of under eight minutes: tests, trust, ceilings, tables.

    python benchmarks/gpu.py [--device cuda:0] [--out results]

Leaves reference runs, each with device, torch and date in its name. Without a GPU it says so, and
exits with 0, nothing run.
"""

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import torch

ROOT = Path(__file__).parent.parent
BUDGET_S = 480.0
SIZES = (14, 56, 200)


def steps(device: str, out: Path, name: str) -> Iterator[tuple[str, list[str], Path | None]]:
    """What is run, in order: a title, the command, and where its stdout goes."""
    gcbench = [sys.executable, "-m", "gcbench"]
    on = ["--device", device]

    def run(what: str) -> str:
        return str(out / f"bench-{what}-{name}.jsonl")

    tests = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", str(ROOT / "tests")]
    yield "tests", tests, None
    yield "peaks", [*gcbench, "peaks", *on], out / f"peaks-{name}.txt"
    yield "check", [*gcbench, "check", *on], out / f"check-{name}.txt"
    yield "table", [*gcbench, "bench", *on, "-o", run("1x256x56x56")], None
    yield "training", [*gcbench, "bench", *on, "--mode", "train", "-o", run("train")], None
    for size in SIZES:
        pair = ["bench", "gc", "--pair", "runtime=eager,graph", "-s", str(size), *on]
        yield f"graph at {size}", [*gcbench, *pair, "-o", run(f"graph-{size}")], None
    grid = ["sweep", "--size", "14,28,56", "--ratio", "4,16", "--quick", *on]
    yield "sweep", [*gcbench, *grid, "-o", str(out / f"sweep-{name}.jsonl")], None
    network = ["network", "resnet50", "--insert", "gc@+all", "--quick", *on]
    yield "network", [*gcbench, *network, "-o", str(out / f"network-{name}.jsonl")], None
    yield "events against do_bench", [sys.executable, __file__, "--do-bench", *on], None


def do_bench(device: str) -> None:
    """Hold a block of over 1 ms against triton's own timing, caches flushed in both."""
    from triton.testing import do_bench as triton_ms

    import gcbench

    shape = (32, 256, 112, 112)
    row = gcbench.bench(["gc"], shape, device=device, cache="cold").iloc[0]
    block = gcbench.build("gc", channels=256).to(device).eval()
    x = torch.randn(shape, device=device)
    with torch.no_grad(), torch.cuda.device(device):
        theirs_us = 1e3 * triton_ms(lambda: block(x), return_mode="median")
    print(
        f"gc at {'x'.join(map(str, shape))}: gcbench {row['latency_us']:.1f} us, triton do_bench "
        f"{theirs_us:.1f} us, ratio {row['latency_us'] / theirs_us:.4f}"
    )


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--device", default="cuda:0")
    arguments.add_argument("--out", type=Path, default=ROOT / "results")
    arguments.add_argument("--do-bench", action="store_true", help="that comparison alone")
    asked = arguments.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA device that torch can use: nothing was run")
        return 0
    if asked.do_bench:
        do_bench(asked.device)
        return 0
    device = re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name(asked.device).lower())
    version = str(torch.__version__).partition("+")[0]
    name = f"{device.strip('-')}-torch{version}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    asked.out.mkdir(parents=True, exist_ok=True)
    end, failed = time.monotonic() + BUDGET_S, []
    for title, command, kept in steps(asked.device, asked.out, name):
        print(f"\n== {title}", flush=True)
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                timeout=max(1.0, end - time.monotonic()),
                stdout=None if kept is None else subprocess.PIPE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            print(f"{title}: out of time")
            failed.append(title)
            continue
        if kept:
            kept.write_bytes(done.stdout)
            sys.stdout.buffer.write(done.stdout)
        if done.returncode:
            failed.append(f"{title} (exit {done.returncode})")
    print(f"\nfailed: {', '.join(failed) or 'nothing'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
