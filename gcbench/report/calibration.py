"""What `gcbench check` found."""

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from gcbench.report.document import Document, Layout, Lines
from gcbench.stats.calibration import COARSEST, Finding, Report, Share, by_trial, resolved
from gcbench.stats.machine_flags import FLAG_WORDS
from gcbench.units import latency_text, percent_text

WANTED = 0.01


def document(report: Report, where: str) -> Document:
    """What it rests on, which `where` says, each trial, the sums, and advice; a row a trial."""
    found = msgspec.to_builtins(report.findings)
    for each in found:
        # the names of the CSV
        each["relative"], each["relative_lo"], each["relative_hi"] = each["relative"]
    coarsest = dict(zip(("trial", "difference"), report.coarsest, strict=True))
    everything = {"trustworthy": report.trustworthy, **msgspec.to_builtins(report)}
    return Document(
        title="check",
        sections=lambda detail: [_trials(report, where), _sums(report), *_words(report)],
        rows=lambda: map(_row_of, found),
        columns=(),
        whole={**everything, "coarsest": coarsest, "findings": found},
    )


def _row_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """A finding as cells: what is not known is empty."""
    return {
        name: None if isinstance(cell, float) and not math.isfinite(cell) else cell
        for name, cell in {**found, "flags": " ".join(found["flags"]) or None}.items()
    }


def advice(report: Report) -> str:
    """Say in a sentence or two whether to believe this machine, and what to do."""
    if not report.trustworthy:
        why = "; ".join(report.complaints)
        return (
            f"Not trustworthy: {why}. End what else runs, try --threads 1 or another machine, "
            "and check again."
        )
    told = (
        f"Verdicts can be believed here. {report.seconds:g} s a comparison resolve differences "
        f"of about {percent_text(report.resolution)}{_except(report)}"
    )
    if report.resolution <= 1.15 * WANTED:
        return f"{told}."
    give = f"--precision {percent_text(report.precision)} {_time(report.seconds_for(WANTED))}"
    return f"{told}; for {percent_text(WANTED)} give {give.replace(' %', '%')} or so."


def _except(report: Report) -> str:
    """Name the trial that tells least, where that is too little to be of use."""
    trial, difference = report.coarsest
    if difference <= COARSEST:
        return ""
    return f", but {_difference(difference)} of {trial}"


def _time(seconds: float) -> str:
    return f"--max-time {seconds:.0f}s" if seconds < 120 else f"--max-time {seconds / 60:.0f}m"


def _trials(report: Report, where: str) -> Layout:
    return Layout(
        heading=[where],
        header=("trials of", "truth", "latency", "estimates", "held", "resolves", "verdicts"),
        labels=1,
        lines=[_line(trial, each) for trial, each in by_trial(report.findings).items()],
        left=("verdicts",),
    )


def _line(trial: str, findings: Sequence[Finding]) -> tuple[str, ...]:
    us = statistics.median(each.baseline_ns for each in findings) / 1e3
    mids = [each.relative.mid for each in findings]
    verdicts = Counter(f"false {f.verdict}" if f.false else f.verdict for f in findings)
    tally = ", ".join(f"{times} {verdict}" for verdict, times in verdicts.most_common())
    return (
        trial,
        f"{findings[0].truth:.3g}",
        latency_text(us, us * 0.99, us * 1.01),
        f"{min(mids):.3f} to {max(mids):.3f}",
        _held(findings),
        _difference(resolved(findings)),
        tally,
    )


def _held(findings: Sequence[Finding]) -> str:
    """How many intervals hold the truth; how many trials were too short for one."""
    known = sum(each.relative.known for each in findings)
    without = f", {len(findings) - known} without" if known < len(findings) else ""
    return f"{sum(each.holds for each in findings)} of {known}{without}"


def _difference(share: float) -> str:
    return percent_text(share) if share < 1 else "nothing"


def _sums(report: Report) -> Layout:
    lines = (
        ("two copies of one block: intervals that hold 1", _share(report.coverage), "95 % or more"),
        (
            "more calls of one work: intervals that hold the truth",
            _share(report.known_coverage),
            "95 %",
        ),
        ("more calls found slower", _share(report.known_found), "as many as resolved"),
        ("false verdicts", _share(report.false_verdicts), "at most 5 %"),
        ("untrusted verdicts", _share(report.untrusted), "few"),
        ("trials in which threads waited for a core", _share(report.disturbed), "few"),
        (
            "copies above and below 1",
            f"{report.above} and {report.below} (chance of that {report.lean:.2g})",
            "alike",
        ),
        (
            "largest drift of a latency, first trial to last",
            f"{100 * report.drift:+.0f} %",
            "told only: ratios are paired",
        ),
        (
            f"smallest difference resolved in {report.seconds:g} s",
            f"{_difference(report.resolution)}; coarsest {_difference(report.coarsest[1])} "
            f"({report.coarsest[0]})",
            f"half of the trials under {percent_text(COARSEST)}",
        ),
    )
    return Layout((), ("of all trials", "found", "expected"), 3, lines, bare=True)


def _share(share: Share) -> str:
    return f"{share.hits} of {share.trials} ({percent_text(share.lo)} to {percent_text(share.hi)})"


def _words(report: Report) -> Iterator[Lines]:
    flags = dict.fromkeys(flag for each in report.findings for flag in each.flags)
    met = {flag: sum(flag in each.flags for each in report.findings) for flag in flags}
    if met:
        yield Lines(
            [
                f"in {trials} of {len(report.findings)} trials: {FLAG_WORDS.get(flag, flag)}"
                for flag, trials in met.items()
            ]
        )
    yield Lines([advice(report)], tone="good" if report.trustworthy else "bad")
