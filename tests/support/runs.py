"""Small runs made of numbers, for tests of what is kept and read."""

import math
import random
from collections.abc import Mapping, Sequence
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
from gcbench.spec.cases import Axes, Block, comparison_of

DATA = Path(__file__).parents[1] / "data"
QUIET = Disturbance(10**9, 10**9, 0, 0, 0)
GC, SE, SNL, NL = (
    Block(name, name, None, name in ("gc", "se")) for name in ("gc", "se", "snl", "nl")
)


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
    asked = comparison_of(blocks or (GC, SE), Axes(**axes), "cpu")
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


def on_device(name: str, record: ComparisonRecord, kind: bool = False) -> ComparisonRecord:
    """The comparison as another device measured it: of a cluster, or of each kind that it has."""
    elsewhere = manifest(node=f"node of {name}", devices={"cpu": name})
    return replace(record, machine=elsewhere, kind=name if kind else None)


def kept(path: Path, *comparisons: ComparisonRecord, **changes) -> Path:
    """Write a run."""
    with store.create(path, manifest(**changes)) as file:
        for each in comparisons:
            file.append(each)
    return path


def swept(
    seed: int,
    slower: Mapping[str, float] = {},
    drift: float = 1.0,
    local: float = 0.0,
    unlike: float = 0.003,
    blocks: Sequence[Block] = (GC, SE, SNL, NL),
    sizes: Sequence[int] = tuple(range(7, 17)),
    layout: float = 0.005,
    replicates: int = 12,
) -> list[ComparisonRecord]:
    """A run with noise: comparisons of blocks at some sizes, on a machine that moves.

    Every block costs 0.1 ms times its position from 1 on, or `slower` times that. The machine is
    slower by `drift`, and in each comparison by a factor of deviation `local`; each arm is moved by
    one of its own, of deviation `unlike`, and each replicate of it by one of deviation `layout`.
    """
    rng = random.Random(seed)

    def varied(deviation: float) -> float:
        return math.exp(rng.gauss(0, deviation))

    def comparison_at(size: int) -> ComparisonRecord:
        asked = comparison_of(blocks, Axes(size=(size, size)), "cpu")
        count = len(asked.cases)
        arms = [*(Arm("case", case, 0, 1) for case in range(count)), Arm("aa", 0, 0, 1)]
        costs = [
            1e5 * (1 + case) * slower.get(asked.cases[case].block, 1.0) * varied(unlike)
            for case in range(count)
        ]
        costs += [costs[0], 2e4 * varied(unlike)]
        machine = drift * varied(local)
        rows = [
            tuple((round(cost * machine * varied(layout)),) for cost in costs)
            for _ in range(replicates)
        ]
        return ComparisonRecord(
            tuple(
                Measurement(case, metrics={"params": 10, "macs": 1000, "peak_memory_bytes": 4096})
                for case in asked.cases
            ),
            asked.baselines,
            0.02,
            (
                Timing(
                    (*arms, Arm("copy", 0, 0, 1)),
                    tuple(Replicate(row, QUIET) for row in rows),
                    "time",
                ),
            ),
        )

    return [comparison_at(size) for size in sizes]
