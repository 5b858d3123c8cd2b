"""What does torch.compile buy a block? Compiled against eager in one comparison, at five sizes.

Prints a Markdown row for each size: both latencies, the relative with its interval, the verdict,
and the compile time, which is in no sample.
"""

import argparse

import gcbench

SIZES = (7, 14, 28, 56, 112)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("block", nargs="?", default="gc")
    parser.add_argument("--channels", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    print("| size | eager | compiled | relative | 95 % interval | verdict | compile time |")
    print("|---:|---:|---:|---:|---|---|---:|")
    for size in SIZES:
        table = gcbench.bench(
            [options.block],
            (1, options.channels, size, size),
            pair="runtime",
            max_time_s=options.seconds,
            device="cpu",
            threads=options.threads,
        )
        eager, compiled = table.iloc[0], table.iloc[1]
        if compiled["status"] != "ok":
            print(f"| {size} | {compiled['status']}: {compiled['reason']} |")
            continue
        print(
            f"| {size} | {eager['latency_us']:.0f} µs | {compiled['latency_us']:.0f} µs "
            f"| {compiled['relative']:.3f} "
            f"| {compiled['relative_lo']:.3f} to {compiled['relative_hi']:.3f} "
            f"| {compiled['verdict']} | {compiled['compile_ms'] / 1e3:.1f} s |",
            flush=True,
        )


if __name__ == "__main__":
    main()
