"""Is what gcbench says beside busy processes true? Pairs of blocks whose order is known from quiet.

First each pair is measured on the quiet machine, which is the truth: at each shape and number of
threads. Then trials are drawn over all of that and over what runs beside them: processes that never
rest, or one that copies memory. A verdict is wrong where it calls a copy faster or slower, or
claims the contrary of the truth; what is untrusted, unresolved or has too few replicates claims
nothing. All is kept in the file of --out, and not measured again: stop it and go on at any time.
"""

import argparse
import itertools
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from fresh_runs import Row, checkouts, in_time, keep, known, measured, parser

# light against heavy, one thread against many, alike and equal; the first is the baseline
PAIRS = (
    *(("gc", "gc"), ("se", "se"), ("nl", "nl"), ("gc", "se"), ("gc", "snl"), ("gc", "nl")),
    *(("se", "nl"), ("se", "eca"), ("gc:fusion=both", "gc"), ("eca", "gc"), ("gc", "cbam")),
    ("snl", "simam"),
)
SHAPES = ((64, 14), (256, 28), (256, 56))
THREADS = (1, 2)
LOOP = "while True: pass"
COPYING = "a, b = bytearray(2**28), bytearray(2**28)\nwhile True: a[:] = b"
LOADS = {"1 loop": [LOOP], "2 loops": [LOOP] * 2, "4 loops": [LOOP] * 4, "memory": [COPYING]}
QUIET = "nothing"
# differences under this are no truth that a verdict could contradict
CLOSE = 0.02


class Trial(NamedTuple):
    """One bench: of which version, beside what, of which pair where; `number` tells draws apart."""

    version: str
    load: str
    pair: int
    shape: int
    threads: int
    number: int

    @classmethod
    def of(cls, row: Row) -> "Trial":
        """The trial that a kept row belongs to."""
        numbers = (int(row[name]) for name in ("pair", "shape", "threads", "number"))
        return cls(row["version"], row["load"], *numbers)

    @property
    def place(self) -> tuple[int, int, int]:
        """What it measures, whatever ran beside it."""
        return self.pair, self.shape, self.threads

    @property
    def arguments(self) -> list[str]:
        """What `gcbench bench` is given: the baseline, a copy of it, and the other block."""
        baseline, other = PAIRS[self.pair]
        channels, size = SHAPES[self.shape]
        named = [baseline, baseline, *([other] if other != baseline else [])]
        return [*named, "-C", str(channels), "-s", str(size), "--threads", str(self.threads)]


@contextmanager
def beside(load: str) -> Iterator[None]:
    """Have what a load names run meanwhile."""
    programs = LOADS.get(load, [])
    running = [subprocess.Popen([sys.executable, "-c", text]) for text in programs]
    try:
        time.sleep(1 if running else 0)
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def truths() -> list[Trial]:
    """What the quiet machine is asked."""
    places = itertools.product(range(len(PAIRS)), range(len(SHAPES)), THREADS)
    return [Trial("here", QUIET, *place, 0) for place in places]


def drawn(versions: list[str], trials: int) -> list[Trial]:
    """The trials beside loads: the same draws for each version, a third as many for another one."""
    found = []
    for version in versions:
        rng = random.Random(0)
        for number in range(trials if version == "here" else trials // 3):
            place = (rng.randrange(len(PAIRS)), rng.randrange(len(SHAPES)), rng.choice(THREADS))
            found.append(Trial(version, rng.choice(list(LOADS)), *place, number))
    return found


def go_on(options: argparse.Namespace) -> None:
    """Measure what is missing, until the time is up."""
    versions = checkouts(options.checkout, options.only_checkout)
    done = {Trial.of(row) for row in known(options.out)}
    due = [t for t in (*truths(), *drawn(list(versions), options.trials)) if t not in done]
    for trial in in_time(due, options.hours):
        checkout = checkouts(options.checkout)[trial.version]
        with beside(trial.load):
            arguments = [*trial.arguments, "--max-time", options.max_time]
            rows = measured(checkout, arguments, trial._asdict())
        keep(options.out, rows, Trial._fields)


def is_wrong(row: Row, truth: float) -> bool:
    """Whether a verdict says what is not so of a relative whose true value is known."""
    claim = row["verdict"]
    if row["row"] == "1":  # a copy
        return claim in ("faster", "slower")
    if claim == "same":
        return abs(truth - 1) > 2 * CLOSE
    return (claim == "faster" and truth > 1 - CLOSE) or (claim == "slower" and truth < 1 + CLOSE)


def told(rows: list[Row]) -> None:
    """Print the verdicts beside each load, and how many of them were wrong."""
    truth = {
        (*Trial.of(row).place, row["row"]): float(row["relative"])
        for row in rows
        if row["load"] == QUIET and row["relative"]
    }
    print("| version | beside | verdicts | wrong | untrusted, unresolved or too few |")
    print("|---|---|---:|---:|---:|")
    versions = dict.fromkeys(row["version"] for row in rows)
    for version, load in itertools.product(versions, (QUIET, *LOADS, "any load")):
        loads = set(LOADS) if load == "any load" else {load}
        own = [
            row
            for row in rows
            if row["version"] == version and row["load"] in loads and row["verdict"] != "baseline"
        ]
        judged = [row for row in own if (*Trial.of(row).place, row["row"]) in truth]
        wrong = [r for r in judged if is_wrong(r, truth[(*Trial.of(r).place, r["row"])])]
        kinds = Counter(row["verdict"] for row in judged)
        silent = sum(kinds[k] for k in ("untrusted", "unresolved", "too_few_replicates"))
        if judged:
            share = f"{len(wrong)} ({100 * len(wrong) / len(judged):.0f} %)"
            print(f"| {version} | {load} | {len(judged)} | {share} | {silent} |")
    print("\nwrong:")
    for row in rows:
        place = (*Trial.of(row).place, row["row"])
        if row["load"] != QUIET and place in truth and is_wrong(row, truth[place]):
            print(
                f"  {row['version']}, {row['load']}, {row['threads']} threads, "
                f"{' '.join(Trial.of(row).arguments)}: row {row['row']} {row['verdict']} "
                f"{row['relative']}, truth {truth[place]:.3f}"
            )


def main() -> None:
    """Measure what is due, and print the tables."""
    options_of = parser(__doc__, "busy.csv")
    options_of.add_argument("--trials", type=int, default=60)
    options_of.add_argument("--max-time", default="4s")
    options = options_of.parse_args()
    if not options.told:
        go_on(options)
    told(known(options.out))


if __name__ == "__main__":
    main()
