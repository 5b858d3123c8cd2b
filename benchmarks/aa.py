"""Does a block differ from itself? A/A trials by gcbench, and by timing one after the other.

Each trial compares gc with an ordinary second copy of gc, and with se, at 1x256x56x56. A verdict
of faster or slower on the copy is false. Beside it the two copies are timed one after the
other with torch.utils.benchmark. With --known, 34 calls of gc meet 33: slower is right. With
--load, so many processes that never rest run meanwhile.
"""

import argparse
import copy
import math
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils.benchmark import Timer

from gcbench import blocks, engines
from gcbench.engines.inline import measure, time_side_by_side
from gcbench.engines.jobs import Job
from gcbench.measure.workload import make_input
from gcbench.spec.cases import Axes, Effort
from gcbench.stats.intervals import Summary, summarise

CALLS = (33, 34)


@contextmanager
def foreign_load(processes: int) -> Iterator[None]:
    endless = [sys.executable, "-c", "while True: pass"]
    running = [subprocess.Popen(endless) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def compared(names: list[str], axes: Axes, effort: Effort, seed: int) -> dict[int, Summary]:
    return summarise(measure(Job(engines.compare(names, axes), effort, seed)))


def known(axes: Axes, effort: Effort, seed: int) -> dict[int, Summary]:
    cases = engines.compare(["gc", "gc"], axes).cases
    return summarise(time_side_by_side(cases, CALLS, effort, seed))


def one_after_the_other(axes: Axes, seconds: float) -> float:
    case = engines.compare(["gc"], axes).cases[0]
    x = make_input(case, "cpu", 0)
    block = blocks.build_case(case, 0).eval()
    medians = []
    for module in (block, copy.deepcopy(block)):
        timer = Timer("m(x)", globals={"m": module, "x": x}, num_threads=axes.threads or 1)
        with torch.no_grad():
            medians.append(timer.blocked_autorange(min_run_time=seconds / 2).median)
    return medians[1] / medians[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", type=float, default=0.005)
    parser.add_argument("--nl", action="store_true", help="put nl in the same comparison")
    parser.add_argument("--known", action="store_true", help="34 calls against 33 instead")
    parser.add_argument("--load", type=int, default=0, help="busy processes beside it")
    options = parser.parse_args()
    axes = Axes(device="cpu", threads=options.threads)
    effort = Effort(options.precision, options.seconds)
    names = ["gc", "gc", "se", *(["nl"] if options.nl else [])]
    found, sequential = [], []
    with foreign_load(options.load):
        for trial in range(options.trials):
            if options.known:
                found.append(known(axes, effort, trial))
            else:
                found.append(compared(names, axes, effort, trial))
                sequential.append(one_after_the_other(axes, 1.0))
            second = found[-1][1]
            print(f"{trial + 1}: {second.relative}, {second.verdict}", flush=True)
    truth = CALLS[1] / CALLS[0] if options.known else 1.0
    print(f"threads {options.threads}, {options.seconds:g} s a trial, load {options.load}")
    told(found, 1, truth)
    if sequential:
        told(found, 2, None)
        spread = math.exp(statistics.stdev(map(math.log, sequential)))
        print(
            f"one after the other, 1 s: {min(sequential):.3f} to {max(sequential):.3f}, "
            f"standard deviation {100 * (spread - 1):.1f} %"
        )


def told(found: list[dict[int, Summary]], case: int, truth: float | None) -> None:
    summaries = [summary[case] for summary in found]
    relatives = [summary.relative for summary in summaries]
    verdicts = [summary.verdict for summary in summaries]
    tally = {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))}
    mids = [relative.mid for relative in relatives]
    halves = [100 * relative.half_width / relative.mid for relative in relatives]
    print(f"arm {case}: verdicts {tally}; estimates {min(mids):.4f} to {max(mids):.4f}")
    print(f"  half-width: median {statistics.median(halves):.2f} %, largest {max(halves):.2f} %")
    spread = math.exp(statistics.stdev(map(math.log, mids)))
    print(f"  standard deviation of the estimates {100 * (spread - 1):.2f} %")
    if truth:
        missed = sum(not relative.lo <= truth <= relative.hi for relative in relatives)
        print(f"  {missed} of {len(relatives)} intervals exclude {truth:.4f}")


if __name__ == "__main__":
    main()
