"""Which of a network's variants fit into an added latency, and which of them are worth it."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from gcbench.results.tables import Row
from gcbench.spec.labels import label

Fit = Literal["yes", "no", "unresolved"]


class Setting(NamedTuple):
    """One variant of a network: what it adds, and whether that fits.

    Latencies are shares of the plain network's. `is_best` says that no other variant adds as many
    parameters and MACs in less time; it takes an interval, here and there.
    """

    name: str
    added: float
    lo: float | None
    hi: float | None
    params: int
    macs: int
    fits: Fit
    is_best: bool


def settings(rows: Sequence[Row], share: float) -> list[Setting]:
    """Hold the variants of one network against a share of its latency, the quickest first.

    One fits where its whole interval lies within the share, and does not where all of that lies
    beyond. What was not measured, and the plain network itself, is left out.
    """
    measured = [
        row
        for row in rows
        if row["key"] != row["baseline"]
        and None not in (row["relative"], row["params_added"], row["macs_added"])
    ]
    known = [row for row in measured if None not in (row["relative_lo"], row["relative_hi"])]
    found = [_setting(row, share, known) for row in measured]
    return sorted(found, key=lambda setting: setting.added)


def _setting(row: Row, share: float, rows: Sequence[Row]) -> Setting:
    lo, hi = row["relative_lo"], row["relative_hi"]
    return Setting(
        label(row),
        row["relative"] - 1,
        None if lo is None else lo - 1,
        None if hi is None else hi - 1,
        row["params_added"],
        row["macs_added"],
        _fit(lo, hi, 1 + share, row["verdict"]),
        row in rows and not any(_is_better(other, row) for other in rows),
    )


def _fit(lo: float | None, hi: float | None, limit: float, verdict: str | None) -> Fit:
    if lo is None or hi is None or verdict == "untrusted" or lo <= limit < hi:
        return "unresolved"
    return "yes" if hi <= limit else "no"


def _is_better(other: Row, row: Row) -> bool:
    return bool(
        other["relative"] < row["relative"]
        and other["params_added"] >= row["params_added"]
        and other["macs_added"] >= row["macs_added"]
    )
