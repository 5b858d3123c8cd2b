"""Fresh runs of `gcbench bench`, of this checkout or another, kept in a CSV."""

import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
# what is kept of a row of the table
COLUMNS = (
    *("row", "spec", "latency_us", "latency_us_min", "relative", "relative_lo", "relative_hi"),
    *("verdict", "aa_lo", "aa_hi", "flags", "seconds"),
)
Row = dict[str, str]


def checkouts(other: Path | None, only_other: bool = False) -> dict[str, Path]:
    """The versions to measure, by name: this checkout, and another one."""
    found = {} if only_other else {"here": HERE}
    return found | ({other.name: other.resolve()} if other else {})


def measured(checkout: Path, arguments: Sequence[str], named: dict[str, object]) -> list[Row]:
    """Bench once in a fresh process; the rows of the table, each with what it is `named` by."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "rows.csv"
        begun = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "gcbench", "bench", *arguments, "--csv", str(table)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(checkout)},
            capture_output=True,
            text=True,
        )
        seconds = time.monotonic() - begun
        if done.returncode:
            sys.exit(done.stderr)
        with table.open(newline="") as file:
            rows = list(csv.DictReader(file))
    beside = {name: str(value) for name, value in named.items()} | {"seconds": f"{seconds:.1f}"}
    return [
        beside | {"row": str(number)} | {name: row[name] for name in COLUMNS if name in row}
        for number, row in enumerate(rows)
    ]


def known(path: Path) -> list[Row]:
    """All rows that were kept so far."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def keep(path: Path, rows: Iterable[Row], columns: Sequence[str]) -> None:
    """Add rows to what is kept."""
    begins = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, (*columns, *COLUMNS))
        if begins:
            writer.writeheader()
        writer.writerows(rows)
