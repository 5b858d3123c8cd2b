"""What a chart shows of each case: a column, how its ticks are written, and when it is in doubt."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from gcbench.column import Unit
from gcbench.columns import COLUMNS
from gcbench.errors import UsageError
from gcbench.results.tables import Row
from gcbench.stats.machine_flags import BUSY
from gcbench.units import counted, round_count_text, round_size_text, round_time_text

Doubt = Literal["unresolved", "untrusted", "busy", "predicted", "ceilings"]

# how a caption says what a mark that is not filled means
DOUBTS: dict[Doubt, str] = {
    "unresolved": "hollow: unresolved, so neither faster nor slower nor the same",
    "untrusted": "hollow with !: untrusted, since two copies of one thing differed, or threads "
    "waited for a core",
    "busy": "hollow: timed while threads waited for cores, so it says little",
    "predicted": "hollow: predicted, since the case did not run",
    "ceilings": "hollow: above a ceiling, or the ceilings are those of a busy machine",
}


_ROUND: dict[Unit, Callable[[float], str]] = {"us": round_time_text, "B": round_size_text}


@dataclass(frozen=True)
class Quantity:
    """One column as charts show it.

    What is `about_one` is a ratio, to which 1 belongs; what is not `of_time` was counted.
    `intervals` ends the sentence that says what they are, `absent` says that a case that ran has
    no value.

    `doubt` says why a value is not to be relied on, None where it is.
    """

    column: str
    doubt: Callable[[Row], Doubt | None]
    absent: str
    about_one: bool = False
    of_time: bool = True
    intervals: str = ""

    @property
    def title(self) -> str:
        """What it is called, as the beginning of sentences."""
        return COLUMNS[self.column].noun

    @property
    def text(self) -> Callable[[float], str]:
        """How a round number of it is written."""
        unit = COLUMNS[self.column].unit
        return _ROUND.get(unit, round_count_text) if unit else round_count_text

    @property
    def base(self) -> int:
        """The base of its round numbers."""
        return 2 if COLUMNS[self.column].unit == "B" else 10

    def known(self, row: Row) -> bool:
        """Whether a row has a value that a logarithm takes. What did not run may be counted."""
        told = row["status"] == "ok" or not self.of_time
        return told and bool(row[self.column]) and row[self.column] > 0

    def why_missing(self, row: Row) -> str:
        """Why there is no value of a row, in a word or two."""
        if row["status"] != "ok":
            return str(row["status"])
        if row[self.column] == 0:
            return "zero"
        return "no baseline" if self.about_one and row["latency_us"] else self.absent

    def reason(self, row: Row) -> str:
        """The same in a sentence, where there is one; that of a case that ran is about counts."""
        about = row["status"] != "ok" or not self.of_time
        return (about and row["reason"]) or ""

    def ends(self, row: Row) -> tuple[float | None, float | None]:
        """The ends of a row's interval; None where there is none."""
        lo, hi = row.get(f"{self.column}_lo"), row.get(f"{self.column}_hi")
        return (lo, hi) if lo and hi and lo > 0 else (None, None)


def _of_time(row: Row) -> Doubt | None:
    flags = (row["flags"] or "").split()
    if "copies_differ" in flags:
        return "untrusted"
    return "busy" if any(flag in BUSY for flag in flags) else None


def _of_relative(row: Row) -> Doubt | None:
    verdict = row["verdict"]
    if verdict == "too_few_replicates":
        return "unresolved"
    return verdict if verdict in ("unresolved", "untrusted") else _of_time(row)


def _of_memory(row: Row) -> Doubt | None:
    return "predicted" if row["memory_source"] == "predicted" else None


def _never(row: Row) -> Doubt | None:
    return None


LATENCY = Quantity("latency_us", _of_time, "not timed", intervals=" of the median")
RELATIVE = Quantity(
    "relative",
    _of_relative,
    "not timed",
    about_one=True,
    intervals=", paired within replicates",
)
MEMORY = Quantity(
    "peak_memory_bytes",
    _of_memory,
    "not measured",
    of_time=False,
)
MACS = Quantity("macs", _never, "not counted", of_time=False)


def require_known(rows: Iterable[Row], quantity: Quantity) -> None:
    """Make sure that there is a value to draw. Raises UsageError, which says why there is none."""
    rows = list(rows)
    if any(quantity.known(row) for row in rows):
        return
    words = ", ".join(sorted({quantity.why_missing(row) for row in rows}))
    reason = next(filter(None, map(quantity.reason, rows)), "")
    raise UsageError(
        f"nothing is known of the {quantity.title} of {counted(len(rows), 'case')} "
        f"({': '.join(filter(None, (words, reason)))}), so there is nothing to draw"
    )
