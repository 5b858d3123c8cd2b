"""The first run on a GPU, in one call of at most eight minutes: tests, trust, ceilings, tables.

    python benchmarks/gpu.py --out FOLDER [--device cuda:0]
    python benchmarks/gpu.py --rehearse [--out FOLDER]      # every step, on a simulated GPU

Each step runs in a process of its own, within its own limit and what earlier ones left of theirs:
one that fails or hangs ends only itself. What it prints goes to FOLDER/report.txt at once, what it
reads to FOLDER/report.json beside what such a card should show; the runs that are kept are JSON
lines beside them, 8 files at most. Exits with 0 if every step was done, else with 1. Without a GPU
it says so and runs nothing.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import gpu_steps
from gpu_steps import ROOT, Setting
from gpu_table import STEPS, Reading, Step, Value, judged

BUDGET_S, GRACE_S = 480.0, 3.0
# a rehearsal may meet a busy machine: there a limit ends only what hangs
PATIENCE = 5


@dataclass(frozen=True)
class Outcome:
    """What became of a step: what it read, and why it failed if it did."""

    step: str
    readings: list[Reading]
    seconds: float = 0.0
    exit: int | None = None
    failed: str | None = None


class Report:
    """The text and the JSON of a run, written as it goes."""

    def __init__(self, out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.out, self.text = out, out / "report.txt"
        self.text.write_text("")
        self.outcomes: list[Outcome] = []
        self._begun = f"{datetime.now(UTC):%Y%m%d-%H%M%S}"

    def say(self, line: str) -> None:
        with self.text.open("a") as file:
            print(line, file=file)
        print(line, flush=True)

    def add(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        steps = [
            asdict(each) | {"readings": [asdict(r) | {"inside": r.inside} for r in each.readings]}
            for each in self.outcomes
        ]
        (self.out / "report.json").write_text(json.dumps(steps, indent=1) + "\n")
        self.say(f"-- {outcome.step}: {outcome.failed or f'done in {outcome.seconds:.1f} s'}")

    def read(self, name: str) -> Value:
        """A value that some step read; empty where none did."""
        found = (r.value for each in self.outcomes for r in each.readings if r.name == name)
        return next(found, "")

    @property
    def label(self) -> str:
        """What the names of the runs that are kept end with: the card, torch, and the time."""
        card = re.sub(r"[^a-z0-9]+", "-", str(self.read("card")).lower()).strip("-")
        torch = str(self.read("torch")).partition("+")[0]
        return f"{card or 'unknown'}-torch{torch}-{self._begun}"


def every_step(asked: argparse.Namespace, scratch: Path) -> int:
    """Do every step that there is time for; returns the exit code."""
    report, began, due_s = Report(asked.out), time.monotonic(), 0.0
    patience = PATIENCE if asked.rehearse else 1
    for number, step in enumerate(STEPS, 1):
        due_s += patience * step.limit_s
        left_s = min(due_s, patience * BUDGET_S) - (time.monotonic() - began)
        # what earlier steps left over may double a limit
        limit_s = min(left_s, 2 * patience * step.limit_s)
        title = gpu_steps.title(step.name)
        report.say(f"\n== {number}/{len(STEPS)} {step.name}, {limit_s:.0f} s at most: {title}")
        if limit_s < GRACE_S:
            report.add(Outcome(step.name, [], failed="skipped: the eight minutes are used up"))
        else:
            report.add(alone(step, limit_s, asked, report, scratch))
    readings = [(each.step, r) for each in report.outcomes for r in each.readings]
    outside = [f"{step}: {r.name}" for step, r in readings if r.inside is False]
    failed = [each.step for each in report.outcomes if each.failed]
    report.say(f"\noutside what was expected: {', '.join(outside) or 'nothing'}")
    report.say(f"failed: {', '.join(failed) or 'nothing'}; {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


def alone(
    step: Step, limit_s: float, asked: argparse.Namespace, report: Report, scratch: Path
) -> Outcome:
    """Do a step in a process of its own, and read back what it read before it ended."""
    values, card = scratch / f"{step.name}.values", str(report.read("card"))
    command = [sys.executable, __file__, "--step", step.name, "--device", asked.device]
    command += ["--out", str(asked.out), "--scratch", str(scratch)]
    command += ["--card", card, "--label", report.label]
    command += ["--rehearse"] if asked.rehearse else []
    began = time.monotonic()
    code = run(command, limit_s, report.text, surroundings(asked.rehearse, scratch))
    read = [json.loads(line) for line in values.read_text().splitlines()] if values.exists() else []
    failed = None if code == 0 else f"failed with exit code {code}"
    if code is None:
        failed = f"ended at its limit of {limit_s:.0f} s"
    return Outcome(
        step.name, list(judged(step, card, read)), time.monotonic() - began, code, failed
    )


def run(command: list[str], limit_s: float, text: Path, env: Mapping[str, str]) -> int | None:
    """Run a command, with what it prints in a file and then here; None where it was ended."""
    began = text.stat().st_size
    with text.open("ab") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=env,
            start_new_session=True,
        )
    try:
        code = process.wait(limit_s)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        end(process)
    print(text.read_bytes()[began:].decode(errors="replace"), end="", flush=True)
    return code


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process and its group, kindly first: gcbench then ends what it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)


def surroundings(rehearse: bool, scratch: Path) -> dict[str, str]:
    """The environment of a step: this checkout's gcbench, and a rehearsal that leaves no trace."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    here = {**os.environ, "PYTHONPATH": path, "COLUMNS": "160", "PYTHONDONTWRITEBYTECODE": "1"}
    return here | ({"TMPDIR": str(scratch), "XDG_CACHE_HOME": str(scratch)} if rehearse else {})


def do(asked: argparse.Namespace) -> None:
    """Do one step in this process; each reading is printed and kept when it is there."""
    step = next(step for step in STEPS if step.name == asked.step)
    setting = Setting(asked.device, asked.out, asked.scratch, asked.label, asked.rehearse)
    with (asked.scratch / f"{step.name}.values").open("a", buffering=1) as values:
        for reading in judged(step, asked.card, gpu_steps.of(step.name)(setting)):
            print(reading, flush=True)
            print(json.dumps([reading.name, reading.value]), file=values)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for the report and the runs")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--rehearse", action="store_true", help="on a simulated GPU")
    parser.add_argument("--step", choices=[step.name for step in STEPS], help="this one, here")
    for own in ("--card", "--label"):
        parser.add_argument(own, default="", help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.out is None and not asked.rehearse:
        parser.error("--out FOLDER names where the report and the runs go")
    return asked


def main() -> int:
    asked = arguments()
    # a step does not load torch to ask what was asked before
    if not asked.rehearse and asked.step is None and not gpu_steps.has_cuda():
        print("no CUDA device that torch can use: nothing was run")
        return 0
    # whoever ends this ends the step that it waits for
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="gcbench-gpu-") as folder:
        scratch = Path(folder)
        asked.out = (asked.out or scratch / "out").resolve()
        asked.scratch = asked.scratch or scratch
        if asked.step is None:
            return every_step(asked, scratch)
        asked.out.mkdir(parents=True, exist_ok=True)
        do(asked)
        return 0


if __name__ == "__main__":
    sys.exit(main())
