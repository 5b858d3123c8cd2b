"""Can this machine's timings be believed? What trials with known answers say, in numbers.

A trial times things whose true relative is known: two copies of one block (1), or the same work
called another number of times. Pure arithmetic over what the trials found; no torch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gcbench.stats.intervals import ERROR_RATE, Interval, Summary, Verdict, resolvable
from gcbench.stats.textbook import share_interval, sign_test
from gcbench.units import percent_text

# the false verdicts that are allowed, and the share of intervals that hold the truth
FALSE_RATE, COVERAGE = 0.05, 0.95
# estimates that lean to one side this much by chance in one check of a hundred
LEAN_RATE = 0.01
# a machine that cannot tell this much apart measures nothing
COARSEST = 0.25
# the share of trials that may be untrusted, and that in which threads may have waited for a core
UNTRUSTED_SHARE, DISTURBED_SHARE = 0.5, 0.2


@dataclass(frozen=True)
class Finding:
    """What one trial found of an arm whose true relative is `truth`.

    `baseline_ns` is the latency of what it was divided by, `resolves` the smallest difference that
    the trial would have called a difference.
    """

    trial: str
    truth: float
    relative: Interval
    verdict: Verdict
    baseline_ns: float
    resolves: float
    flags: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether the interval holds the truth; one that is not known holds nothing."""
        return self.relative.known and self.relative.lo <= self.truth <= self.relative.hi

    @property
    def disturbed(self) -> bool:
        """Whether threads of anything in it waited for a core."""
        return "disturbed" in self.flags

    @property
    def false(self) -> bool:
        """Whether the verdict claims what is not so."""
        right = "same" if self.truth == 1 else "slower" if self.truth > 1 else "faster"
        return self.verdict in ("faster", "slower", "same") and self.verdict != right


@dataclass(frozen=True)
class Share:
    """So many hits in so many trials, and the exact 95 % interval of the true share."""

    hits: int
    trials: int
    lo: float
    hi: float


@dataclass(frozen=True)
class Report:
    """What all trials say together. `complaints` are reasons not to believe this machine."""

    seconds: float
    precision: float
    coverage: Share
    false_verdicts: Share
    untrusted: Share
    disturbed: Share
    above: int
    below: int
    lean: float
    known_coverage: Share
    known_found: Share
    drift: float
    resolution: float
    coarsest: tuple[str, float]
    complaints: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def trustworthy(self) -> bool:
        """Whether nothing speaks against this machine's timings."""
        return not self.complaints

    def seconds_for(self, difference: float) -> float:
        """About how long a comparison must take to resolve a difference, as a share.

        What is beyond the precision asked for shrinks with the square root of the time.
        """
        beyond, wanted = self.resolution - self.precision, difference - self.precision
        return self.seconds * max(1.0, beyond / wanted) ** 2


def finding(
    trial: str, truth: float, summaries: dict[int, Summary], calls: int, flags: Sequence[str]
) -> Finding:
    """Make a finding of a comparison whose first case is the baseline, the second the arm.

    A call of the baseline in it is so many `calls` of its work. What stands beside them may use
    threads otherwise, and is asked too whether it waited for a core.
    """
    first, second = summaries[0], summaries[1]
    assert second.relative is not None
    assert second.noise is not None
    assert second.verdict is not None
    logs = Interval(*map(math.log, second.relative)) if second.relative.known else None
    return Finding(
        trial=trial,
        truth=truth,
        relative=second.relative,
        verdict=second.verdict,
        baseline_ns=first.latency.mid / calls,
        resolves=math.expm1(resolvable(logs, second.noise)) if logs else math.inf,
        flags=(*flags, *(["disturbed"] if any(s.disturbed for s in summaries.values()) else [])),
    )


def report(findings: Sequence[Finding], seconds: float, precision: float) -> Report:
    """Put findings of trials of so many seconds, which asked for a precision, together."""
    # too few replicates make no interval, and say nothing of intervals
    judged = [each for each in findings if each.relative.known]
    copies = [each for each in judged if each.truth == 1]
    known = [each for each in judged if each.truth != 1]
    above = sum(each.relative.mid > 1 for each in copies)
    below = sum(each.relative.mid < 1 for each in copies)
    resolution = resolved(findings)
    coverage = share([each.holds for each in copies])
    known_coverage = share([each.holds for each in known])
    false_verdicts = share([each.false for each in findings])
    untrusted = share([each.verdict == "untrusted" for each in findings])
    lean = sign_test(above, below)
    disturbed = share([each.disturbed for each in findings])
    complaints = [
        complaint
        for complaint, grave in (
            ("too many verdicts on known answers were false", false_verdicts.lo > FALSE_RATE),
            ("too few intervals held 1 for two copies of one thing", coverage.hi < COVERAGE),
            ("too few intervals held the known ratio of calls", known_coverage.hi < COVERAGE),
            ("copies came out on one side too often", lean < LEAN_RATE),
            (
                "copies of one thing differed in most trials",
                untrusted.hits > UNTRUSTED_SHARE * untrusted.trials,
            ),
            (
                "threads waited for cores that other programs had",
                disturbed.hits > DISTURBED_SHARE * disturbed.trials,
            ),
            ("the time was too short for intervals", 2 * len(judged) < len(findings)),
            (f"differences under {percent_text(COARSEST)} cannot be told", resolution > COARSEST),
        )
        if grave
    ]
    return Report(
        seconds=seconds,
        precision=precision,
        coverage=coverage,
        false_verdicts=false_verdicts,
        untrusted=untrusted,
        disturbed=disturbed,
        above=above,
        below=below,
        lean=lean,
        known_coverage=known_coverage,
        known_found=share([each.verdict == "slower" for each in findings if each.truth != 1]),
        drift=_drift(findings),
        resolution=resolution,
        coarsest=max(
            ((trial, resolved(found)) for trial, found in by_trial(findings).items()),
            key=lambda pair: pair[1],
        ),
        complaints=tuple(complaints),
        findings=tuple(findings),
    )


def resolved(findings: Sequence[Finding]) -> float:
    """The median of the smallest differences that trials resolve."""
    return float(np.median([each.resolves for each in findings]))


def share(hits: Sequence[bool], error_rate: float = ERROR_RATE) -> Share:
    """Count hits, with the exact interval of their share."""
    count, of = sum(hits), len(hits)
    return Share(count, of, *share_interval(count, of, error_rate))


def _drift(findings: Sequence[Finding]) -> float:
    """The largest change of a trial's latency from its first time to its last, as a share."""
    times = by_trial(findings).values()
    return max((each[-1].baseline_ns / each[0].baseline_ns - 1 for each in times), key=abs)


def by_trial(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """The findings of each trial, in the order in which they were made."""
    trials: dict[str, list[Finding]] = {}
    for each in findings:
        trials.setdefault(each.trial, []).append(each)
    return trials
