"""What does impl=fast buy? Each block beside itself, over shapes, threads, dtypes and modes.

Prints a Markdown row for each comparison: both latencies, fast over reference with its interval,
the verdict, and the ratio of peak memories; then the geometric mean of each block's ratios at each
number of threads. `aa` beside it is a second copy of the reference over the first.
"""

import argparse
import math
from collections import defaultdict
from collections.abc import Iterator

import pandas as pd

import gcbench

SHAPES = (
    *((1, 64, 14, 14), (1, 256, 56, 56), (8, 256, 56, 56)),
    *((1, 512, 28, 28), (1, 1024, 14, 14), (2, 96, 7, 9)),
)
BLOCKS = (
    *("gc", "gc:fusion=both", "se", "snl:hoist=false", "nl"),
    *("nl:similarity=dot_product", "nl:similarity=concatenation", "nl:similarity=gaussian"),
)
# a batch of maps of every query takes seconds a call
LONG = "nl"


def comparisons(options: argparse.Namespace) -> Iterator[tuple[str, tuple[int, ...], int]]:
    for threads in options.threads:
        for block in options.block or BLOCKS:
            for shape in SHAPES:
                if not (block.startswith(LONG) and shape[0] > 2):
                    yield block, shape, threads


def measured(
    block: str, shape: tuple[int, ...], threads: int, options: argparse.Namespace
) -> pd.DataFrame:
    return gcbench.bench(
        [block, block, f"{block}:impl=fast"],
        shape,
        threads=threads,
        dtype=options.dtype,
        mode=options.mode,
        layout=options.layout,
        heap=options.heap,
        max_time_s=options.seconds,
        device="cpu",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("block", nargs="*", help="block specs, without impl; default: all")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--mode", default="infer", choices=("infer", "train"))
    parser.add_argument("--layout", default="contiguous")
    parser.add_argument("--heap", default="steady", choices=("default", "steady"))
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    print(f"{options.dtype}, {options.mode}, {options.layout}, heap: {options.heap}\n")
    print("| block | shape | threads | reference | fast | ratio | 95 % | verdict | aa | memory |")
    print("|---|---|---:|---:|---:|---:|---|---|---:|---:|")
    ratios = defaultdict(list)
    for block, shape, threads in comparisons(options):
        table = measured(block, shape, threads, options)
        reference, again, fast = (table.iloc[row] for row in range(3))
        at = f"| {block} | {'x'.join(map(str, shape))} | {threads} |"
        failed = [row for row in (reference, again, fast) if row["status"] != "ok"]
        if failed:
            print(f"{at} {failed[0]['status']}: {failed[0]['reason']} |", flush=True)
            continue
        memory = fast["peak_memory_bytes"] / reference["peak_memory_bytes"]
        print(
            f"{at} {reference['latency_us']:.1f} us | {fast['latency_us']:.1f} us "
            f"| {fast['relative']:.3f} | {fast['relative_lo']:.3f} to {fast['relative_hi']:.3f} "
            f"| {fast['verdict']} | {again['relative']:.3f} | {memory:.2f} |",
            flush=True,
        )
        ratios[block, threads].append(fast["relative"])
    print()
    for (block, threads), found in ratios.items():
        mean = math.exp(sum(map(math.log, found)) / len(found))
        print(f"{block}, {threads} threads: geometric mean {mean:.3f} of {len(found)} shapes")


if __name__ == "__main__":
    main()
