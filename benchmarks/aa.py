"""Does a block differ from itself? A/A trials by gcbench, and by timing one after the other.

Each trial compares gc with an ordinary second copy of gc, and with se, at 1x256x56x56. A verdict
of faster or slower on the copy is false. Beside it the two copies are timed one after the
other with torch.utils.benchmark. With --known, 34 calls of gc meet 33: slower is right.
"""

import argparse
import copy
import math
import random
import statistics

import torch
from torch.utils.benchmark import Timer

from gcbench import blocks, engines
from gcbench.engines.inline import measure
from gcbench.records import ComparisonRecord, Effort, Measurement, Role
from gcbench.spec import Axes
from gcbench.statistics import Summary, summarise
from gcbench.timing.clocks import CpuClock, Work
from gcbench.timing.replicates import time_comparison
from gcbench.workload import Copy, Workload, make_input, make_workload

CALLS = (33, 34)


class Repeated:
    """A workload called several times in one call, always with its own module and input."""

    repeatable = True

    def __init__(self, work: Workload, times: int) -> None:
        self.work, self.times = work, times
        self.prepare = work.prepare

    def call(self) -> None:
        for _ in range(self.times):
            self.work.call()


def compared(names: list[str], axes: Axes, effort: Effort, seed: int) -> dict[int, Summary]:
    return summarise(measure(engines.compare(names, axes), effort, seed))


def known_answer(axes: Axes, effort: Effort, seed: int) -> dict[int, Summary]:
    torch.set_num_threads(axes.threads or torch.get_num_threads())
    case = engines.compare(["gc"], axes).cases[0]
    work = make_workload(blocks.build_case(case, seed), case, "cpu", seed)
    clone = Copy(make_input(case, "cpu", seed))
    rng = random.Random(seed)

    def make(role: Role, position: int | None) -> Work:
        if position is None:
            return clone.elsewhere(rng)
        return Repeated(work.elsewhere(rng), CALLS[position])

    timing = time_comparison(make, [0, 1], 0, effort, CpuClock(), rng)
    return summarise(ComparisonRecord((Measurement(case),) * 2, 0, effort.precision, timing))


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
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", type=float, default=0.01)
    parser.add_argument("--nl", action="store_true", help="put nl in the same comparison")
    parser.add_argument("--known", action="store_true", help="34 calls against 33 instead")
    options = parser.parse_args()
    axes = Axes(device="cpu", threads=options.threads)
    effort = Effort(options.precision, options.seconds)
    names = ["gc", "gc", "se", *(["nl"] if options.nl else [])]
    copies, halves, seconds_of_se, sequential = [], [], [], []
    verdicts: list[str] = []
    for trial in range(options.trials):
        if options.known:
            found = known_answer(axes, effort, trial)
        else:
            found = compared(names, axes, effort, trial)
            seconds_of_se.append(found[2].relative.half_width / found[2].relative.mid)
            sequential.append(one_after_the_other(axes, 1.0))
        copies.append(found[1].relative)
        halves.append(found[1].relative.half_width)
        verdicts.append(found[1].verdict)
        print(f"{trial + 1}: {found[1].relative}, {found[1].verdict}", flush=True)
    mids = [interval.mid for interval in copies]
    exclude = sum(not interval.lo <= 1 <= interval.hi for interval in copies)
    tally = {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))}
    print(f"threads {options.threads}, {options.seconds:g} s a trial, verdicts {tally}")
    print(f"estimates {min(mids):.4f} to {max(mids):.4f}; {exclude} intervals exclude 1")
    print(f"median half-width of the copy {100 * statistics.median(halves):.2f} %")
    if sequential:
        print(
            f"median half-width of se {100 * statistics.median(seconds_of_se):.2f} % of its ratio"
        )
        spread = math.exp(statistics.stdev(map(math.log, sequential)))
        print(
            f"one after the other, 1 s: {min(sequential):.3f} to {max(sequential):.3f}, "
            f"standard deviation {100 * (spread - 1):.1f} %"
        )


if __name__ == "__main__":
    main()
