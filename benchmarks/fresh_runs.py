"""Fresh runs of `gcbench bench`, of this checkout or another, kept in a CSV."""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

HERE = Path(__file__).resolve().parent.parent
# what is kept of a row of the table
COLUMNS = (
    *("row", "spec", "latency_us", "latency_us_min", "relative", "relative_lo", "relative_hi"),
    *("verdict", "aa_lo", "aa_hi", "flags", "seconds"),
)
Row = dict[str, str]
Turn = TypeVar("Turn")


def parser(description: str | None, out: str) -> argparse.ArgumentParser:
    """Options that every trial of fresh runs has; `out` is the file that is kept by default."""
    found = argparse.ArgumentParser(description=description)
    found.add_argument("--out", type=Path, default=Path(out))
    found.add_argument("--hours", type=float, default=24.0)
    found.add_argument("--checkout", type=Path, help="another version, measured beside this one")
    found.add_argument("--only-checkout", action="store_true", help="that version alone")
    found.add_argument("--told", action="store_true", help="measure nothing, print the tables")
    return found


def in_time(due: Sequence[Turn], hours: float) -> Iterator[Turn]:
    """Yield what is due, one after the other, until the time is up; say on stderr how far it is."""
    end = time.monotonic() + 3600 * hours
    for number, turn in enumerate(due):
        if time.monotonic() > end:
            print(f"the time is up; {len(due) - number} are left", file=sys.stderr)
            return
        print(f"{number + 1} of {len(due)}: {turn}", file=sys.stderr, flush=True)
        yield turn


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
