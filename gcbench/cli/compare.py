"""`gcbench compare`: two stored runs, case by case."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gcbench.cli import faults, options
from gcbench.cli.stored import opened
from gcbench.cli.taking import takes
from gcbench.options import Option
from gcbench.options.readers import one, whether
from gcbench.options.table import format_of
from gcbench.report import GENERAL
from gcbench.units import difference_text

if TYPE_CHECKING:
    from gcbench.analysis.compare import Compared
    from gcbench.analysis.fail_on import Condition

FIRST = Option(
    "a", "A run's file: what was.", kind="path", metavar="A", argument=True, required=True
)
SECOND = Option(
    "b", "Another's: what is now.", kind="path", metavar="B", argument=True, required=True
)
FAIL_ON = Option(
    "fail_on",
    "Exit 1 where this holds: slower, faster (of a case or a block), together (all slower "
    "at once), each with a share such as slower:3%, which the whole interval must exceed; "
    "missing (a case of A that B lacks), failed (ok in A, not in B), counts (other parameters, "
    "MACs, memory), unresolved. Commas or repetition add more.",
    kind="texts",
    metavar="CONDITION",
)
ALLOW_MISMATCH = Option(
    "allow_mismatch",
    "Compare although machine, versions or settings differ.",
    kind="flag",
    read=one(whether),
)
WHERE = Option(
    "where",
    "Say it of the cases for which this holds, as in \"block == 'gc' and height < 28\"; "
    "what was measured beside them is what they are held against all the same.",
    metavar="CONDITION",
)


@takes(
    "compare",
    *(FIRST, SECOND, FAIL_ON, ALLOW_MISMATCH, WHERE),
    format_of([entry.name for entry in GENERAL]),
)
def compare(
    a: Path,
    b: Path,
    fail_on: list[str] | None,
    where: str | None,
    allow_mismatch: bool,
    format: str,
    output: Path | None,
    verbose: bool,
    quiet: bool,
) -> None:
    """Compare two stored runs: what became slower or faster, and what cannot be told."""
    from gcbench import store
    from gcbench.analysis import compare as comparing
    from gcbench.analysis.fail_on import parse_conditions
    from gcbench.cli.output import leave, require_apart, require_writable
    from gcbench.errors import UsageError
    from gcbench.report.comparison import document
    from gcbench.spec.filters import parse_where

    conditions = parse_conditions("--fail-on", fail_on or [])
    keeps = parse_where("--where", where).keeps if where is not None else lambda case: True
    shown = GENERAL[format]
    detail = options.read_detail(verbose, quiet)
    require_apart({"A": a, "--output": output})
    require_apart({"B": b, "--output": output})
    require_writable("--output", output)
    differences = comparing.mismatches(store.manifest(a), store.manifest(b))
    _require_alike(a, b, differences, allow_mismatch)
    first, second = opened(a), opened(b)
    found = comparing.match_runs(first, second, keeps)
    _require_alike(a, b, found.mismatches, allow_mismatch)
    if where is not None and not found.pairs and (first.outlines or second.outlines):
        raise UsageError(f"--where {where!r} leaves no case of either run")
    leave(document(found), shown, output, detail=detail)
    raise typer.Exit(_code(found, conditions))


def _require_alike(a: Path, b: Path, differences: Sequence[str], allowed: bool) -> None:
    """Make sure that latencies of two runs compare. Raises RunError, which names what differs."""
    from gcbench.errors import RunError

    if differences and not allowed:
        raise RunError(
            f"{a} and {b} were not measured alike: {'; '.join(differences)} "
            "(--allow-mismatch compares all the same)"
        )


def _code(found: "Compared", conditions: "list[Condition]") -> int:
    """Say what ends it, and return the exit code."""
    met = False
    for condition in conditions:
        keys = condition.met(found)
        if keys:
            met = True
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            faults.info(f"--fail-on {condition.text}: {'; '.join(keys[:3])}{more}")
        elif unseen := condition.unseen(found):
            faults.info(
                f"warning: nothing met --fail-on {condition.text}, but in {unseen} of "
                f"{len(found.judged)} cells so little could not have been seen, nor in the whole "
                f"of their blocks; half of the cells do not even tell "
                f"{difference_text(found.resolves)}"
            )
    if met:
        return faults.FAIL_ON
    ok = sum(bool(p.a and p.b and p.a.status == p.b.status == "ok") for p in found.pairs)
    blind = any(condition.kind.graded for condition in conditions) and not found.judged
    if not ok or blind:
        faults.info("no case was timed in both runs" if ok else "no case is ok in both runs")
        return faults.NOTHING_MEASURED
    return 0
