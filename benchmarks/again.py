"""Does the next run say the same? Fresh runs of one comparison, and what their intervals hold.

Each of six comparisons is measured so often, in turn, by `gcbench bench` in processes that know
nothing of each other. An interval should hold the median of all runs. What was measured is kept in
the file of --out, a line for each row, and is not measured again: stop it and go on at any time.
With --checkout another version of gcbench is measured in the same turns.
"""

import argparse
import statistics
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from fresh_runs import Row, checkouts, in_time, keep, known, measured, parser

COMPARISONS = {
    "family": "gc gc se snl nl",
    "small": "gc gc se snl -C 512 -s 14",
    "light": "se se eca simam -C 64 -s 28",
    "fusion": "gc:fusion=both gc:fusion=both gc se",
    "middle": "gc gc se nl -s 28",
    "batch": "se se gc snl -B 8 -C 128 -s 28",
}
# the pooled share of intervals that should hold the median, and that of one relative
POOLED, EACH = 0.92, 16 / 20


class Turn(NamedTuple):
    """One run: of which version, of which comparison, at how many threads, and its number."""

    version: str
    comparison: str
    threads: int
    run: int

    @classmethod
    def of(cls, row: Row) -> "Turn":
        """The turn that a kept row belongs to."""
        return cls(row["version"], row["comparison"], int(row["threads"]), int(row["run"]))


def turns(versions: list[str], threads: list[int], runs: int) -> list[Turn]:
    """All runs, in an order in which a trial that is interrupted has some of everything."""
    return [
        Turn(version, comparison, count, run)
        for run in range(runs)
        for comparison in COMPARISONS
        for count in threads
        for version in versions
    ]


def go_on(options: argparse.Namespace) -> None:
    """Measure what is missing, until the time is up."""
    versions = checkouts(options.checkout, options.only_checkout)
    done = {Turn.of(row) for row in known(options.out)}
    due = [t for t in turns(list(versions), options.threads, options.runs) if t not in done]
    for turn in in_time(due, options.hours):
        arguments = [*COMPARISONS[turn.comparison].split(), "--threads", str(turn.threads)]
        rows = measured(versions[turn.version], [*arguments, *options.arguments], turn._asdict())
        keep(options.out, rows, Turn._fields)


class Relative(NamedTuple):
    """What the runs said of one relative: its median, ends, half-width, and intervals that held."""

    version: str
    comparison: str
    threads: int
    spec: str
    middle: float
    least: float
    largest: float
    half_width: float
    held: int
    runs: int


def relatives(rows: list[Row]) -> Iterator[Relative]:
    """Each relative of each comparison, over its runs."""
    by_row = defaultdict(list)
    for row in rows:
        if row["relative_lo"] and row["verdict"] != "baseline":
            by_row[row["version"], row["comparison"], row["threads"], row["row"]].append(row)
    for (version, comparison, threads, _), found in by_row.items():
        mids = [float(each["relative"]) for each in found]
        middle = statistics.median(mids)
        ends = [(float(each["relative_lo"]), float(each["relative_hi"])) for each in found]
        yield Relative(
            version,
            comparison,
            int(threads),
            found[0]["spec"],
            middle,
            min(mids),
            max(mids),
            statistics.median((hi - lo) / 2 / middle for lo, hi in ends),
            sum(lo <= middle <= hi for lo, hi in ends),
            len(found),
        )


def told(rows: list[Row]) -> None:
    """Print a table of the relatives, and what all of them say together."""
    header = ("version", "comparison", "threads", "row", "median", "least to largest")
    print("|", " | ".join((*header, "half-width", "held")), "|")
    print("|---|---|---:|---|---:|---|---:|---:|")
    found = list(relatives(rows))
    for each in found:
        print(
            f"| {each.version} | {each.comparison} | {each.threads} | {each.spec} "
            f"| {each.middle:.3f} | {each.least:.3f} to {each.largest:.3f} "
            f"| {100 * each.half_width:.1f} % | {each.held} of {each.runs} |"
        )
    groups = dict.fromkeys((each.version, each.threads) for each in found)
    for version, threads in groups:
        own = [e for e in found if (e.version, e.threads) == (version, threads)]
        held, runs = sum(each.held for each in own), sum(each.runs for each in own)
        worst = min(own, key=lambda each: each.held / each.runs)
        spread = statistics.median(each.largest / each.least for each in own)
        print(
            f"\n{version}, {threads} threads: {held} of {runs} intervals hold the median of all "
            f"runs ({100 * held / runs:.1f} %, wanted {100 * POOLED:.0f} %); the worst relative "
            f"{worst.held} of {worst.runs} (wanted {100 * EACH:.0f} %); largest over least is "
            f"{spread:.3f} in the middle"
        )


def main() -> None:
    """Measure what is due, and print the tables."""
    options_of = parser(__doc__, "again.csv")
    options_of.add_argument("--runs", type=int, default=20)
    options_of.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options_of.add_argument("arguments", nargs="*", help="more for gcbench bench, after --")
    options = options_of.parse_args()
    if not options.told:
        go_on(options)
    told(known(options.out))


if __name__ == "__main__":
    main()
