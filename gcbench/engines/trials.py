"""Trials with known answers: blocks against their own copies, and calls against more calls."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gcbench import blocks
from gcbench.engines.device_lock import Log, alone_on
from gcbench.engines.inline import time_side_by_side
from gcbench.measure import environment
from gcbench.measure.cores import tell_of_busy_cores
from gcbench.spec import cases as spec
from gcbench.spec.cases import Axes, Case, Effort
from gcbench.stats.calibration import Finding, finding
from gcbench.stats.intervals import summarise
from gcbench.stats.machine_flags import machine_flags


@dataclass(frozen=True)
class Trial:
    """A trial: a block and its copy, called so often in each arm, and a neighbour beside them."""

    block: str
    channels: int
    size: int
    neighbour: str | None = None
    calls: tuple[int, int] = (1, 1)

    @property
    def truth(self) -> float:
        """The true relative of the second arm."""
        return self.calls[1] / self.calls[0]

    @property
    def label(self) -> str:
        """The trial in words."""
        beside = f" beside {self.neighbour}" if self.neighbour else ""
        often = "" if self.truth == 1 else f", {self.calls[1]} calls against {self.calls[0]}"
        return f"{self.block} at {self.channels}x{self.size}x{self.size}{beside}{often}"


# small and large, light and heavy, alike and unlike neighbours; calls of some microseconds to some
# ten milliseconds
TRIALS = (
    Trial("gc", 256, 56, "se"),
    Trial("gc", 256, 28, calls=(20, 21)),
    Trial("se", 512, 28, "gc"),
    Trial("snl", 64, 14, "se"),
    Trial("se", 64, 14, calls=(20, 21)),
    Trial("gc", 256, 28, "nl"),
    Trial("nl", 64, 28, "gc"),
)


# tight, so that the time ends a trial and not the precision
PRECISION = 0.005


def number(times: int) -> int:
    """How many trials there are when each is made so many times."""
    return times * len(TRIALS)


def run(
    axes: Axes, times: int, seconds: float, seed: int, *, wait: bool, tell: Log
) -> Iterator[Finding]:
    """Run every trial so often, of so many seconds each; yield what each trial found.

    `axes` give device and threads, `wait` and `tell` are those of `engines.run`. Raises UsageError
    where the device is missing.
    """
    device = environment.resolve_device(axes.device)
    # what is shared by all: trials differ in channels and size
    axes = replace(axes, device=device, cache="warm")
    effort = Effort(PRECISION, seconds)
    with alone_on(device, wait, tell) as alone:
        if device == "cpu":
            tell_of_busy_cores(axes.threads or environment.default_threads(), tell)
        for turn in range(times):
            for trial in TRIALS:
                record = time_side_by_side(*_arms(trial, axes), effort, seed + turn)
                summaries = summarise(record)
                flags = [*machine_flags(record, summaries), *([] if alone else ["not_alone"])]
                yield finding(trial.label, trial.truth, summaries, trial.calls[0], flags)


def where(axes: Axes) -> str:
    """The machine in a line."""
    manifest = environment.manifest("check", seed=0)
    device = environment.resolve_device(axes.device)
    return environment.where(manifest, device, axes.threads or manifest.threads)


def _arms(trial: Trial, axes: Axes) -> tuple[Sequence[Case], Sequence[int]]:
    names = [trial.block, trial.block, *([trial.neighbour] if trial.neighbour else [])]
    axes = replace(axes, channels=trial.channels, size=(trial.size, trial.size))
    cases = spec.comparison_of([blocks.resolve(name) for name in names], axes, "cpu").cases
    return cases, (*trial.calls, *(1 for _ in cases[2:]))
