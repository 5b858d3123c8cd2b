"""Small runs made of numbers, for tests of what is kept and read."""

from dataclasses import replace
from pathlib import Path

from gcbench import store
from gcbench.records import (
    SCHEMA,
    Arm,
    ComparisonRecord,
    Disturbance,
    Manifest,
    Measurement,
    Replicate,
    Status,
    Timing,
)
from gcbench.spec import Axes, Block, compare

DATA = Path(__file__).parent / "data"
QUIET = Disturbance(10**9, 10**9, 0, 0, 0)
GC, SE, NL = (Block(name, name, None, name != "nl") for name in ("gc", "se", "nl"))


def manifest(**changes) -> Manifest:
    """A manifest of today's schema."""
    old = store.manifest(DATA / f"run-schema{SCHEMA}.jsonl")
    return replace(old, **{"run": "made", "sweep": None, **changes})


def comparison(
    *blocks: Block, statuses: tuple[Status, ...] = (), factor: float = 1, **axes
) -> ComparisonRecord:
    """A comparison of blocks: the second takes twice as long as the first, and so on.

    What has no status is ok; what is not ok was not timed.
    """
    asked = compare(blocks or (GC, SE), Axes(**axes), "cpu")
    statuses = statuses or ("ok",) * len(asked.cases)
    timed = [case for case, status in enumerate(statuses) if status == "ok"]
    arms = [Arm("case", case, 0, 1) for case in timed]
    arms += [Arm("aa", timed[0], 0, 1), Arm("copy", 0, 0, 1)] if timed else []
    costs = [round(1e5 * factor * (1 + case)) for case in timed]
    costs += [costs[0], 20_000] if timed else []
    rows = tuple(tuple(cost + shift for shift in (0, 1, 2)) for cost in costs)
    replicates = (Replicate(rows, QUIET),) * 9
    return ComparisonRecord(
        tuple(
            Measurement(
                case, status, None if status == "ok" else f"it was {status}", {"macs": 1000}
            )
            for case, status in zip(asked.cases, statuses, strict=True)
        ),
        asked.baselines,
        0.02,
        (Timing(tuple(arms), replicates, "precision"),) if timed else (),
    )


def kept(path: Path, *comparisons: ComparisonRecord, **changes) -> Path:
    """Write a run."""
    with store.create(path, manifest(**changes)) as file:
        for each in comparisons:
            file.append(each)
    return path
