"""What becomes of the work when stderr or stdout goes away? Every attack, and what it lost.

    python benchmarks/streams.py                        # 72 attacks, some ten minutes
    python benchmarks/streams.py --commands report,compare

Each command runs once undisturbed, and then with one stream gone (its reader has left), full (it
takes no more) or closed (the descriptor, later the terminal): from the start, midway, or at the
end. The files that it writes must be as complete, the other stream must carry the same, and the
exit code must be the same; 2 where stdout was the only place of the result and could not take it,
though its reader was there. Prints how many attacks lost data or changed the exit code, and exits
with 1 where any did.
"""

import argparse
import fcntl
import itertools
import os
import pty
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gcbench import store

GCBENCH = [sys.executable, "-m", "gcbench"]
SMALL = ["gc", "se", "-C", "8", "-r", "4", "--max-time", "200ms", "--threads", "1"]
COMMANDS = {
    "sweep": ["sweep", *SMALL, "-s", "4,5", "-o", "run.jsonl", "--csv", "run.csv"],
    "bench": ["bench", *SMALL, "-s", "4", "-o", "run.jsonl", "--csv", "run.csv"],
    "report": ["report", "known.jsonl", "--csv", "run.csv", "--format", "json"],
    "compare": ["compare", "known.jsonl", "known.jsonl", "--fail-on", "unresolved"],
}
STREAMS, FATES, MOMENTS = ("stderr", "stdout"), ("gone", "full", "closed"), ("start", "mid", "end")
# what is measured differs from run to run, and so do the words that tell of it
_NUMBERS = re.compile(rb"[0-9.]+|faster|slower|same|unresolved|untrusted")


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code, its streams (None of the one attacked), its files."""

    code: int
    streams: dict[str, bytes | None]
    cases: int
    lines: int

    def without(self, stream: str) -> "Outcome":
        return replace(self, streams={**self.streams, stream: None})


class Attack:
    """One stream of a command, and what becomes of it when so many bytes have come."""

    def __init__(self, fate: str, after: int) -> None:
        self.fate, self._after = fate, after
        self._reader: threading.Thread | None = None
        self.end = self._open()

    def _open(self) -> int | None:
        if self.fate == "closed" and not self._after:
            return None
        if self.fate == "full" and not self._after:
            return os.open("/dev/full", os.O_WRONLY)
        if self.fate == "full":
            return self._small_pipe()
        theirs, ours = reversed(os.pipe()) if self.fate == "gone" else reversed(pty.openpty())
        self._reader = threading.Thread(target=self._read, args=(ours,))
        self._reader.start()
        if not self._after:
            self._reader.join()
        return theirs

    def _small_pipe(self) -> int:
        """A pipe without a reader, with room for so many bytes."""
        self._kept, theirs = os.pipe()
        room = fcntl.fcntl(theirs, fcntl.F_GETPIPE_SZ)
        os.set_blocking(theirs, False)
        os.write(theirs, bytes(max(0, room - self._after)))
        return theirs

    def _read(self, ours: int) -> None:
        left = self._after
        while left > 0:
            try:
                piece = os.read(ours, left)
            except OSError:
                break
            if not piece:
                break
            left -= len(piece)
        os.close(ours)

    def finish(self) -> None:
        if self.end is not None:
            os.close(self.end)
        if self._reader:
            self._reader.join()
        elif self.fate == "full" and self._after:
            os.close(self._kept)


def done(
    command: Sequence[str], folder: Path, stream: str = "", attack: Attack | None = None
) -> Outcome:
    """Run a command in a folder, with one of its streams under attack."""
    for path in (folder / "run.jsonl", folder / "run.csv"):
        path.unlink(missing_ok=True)
    ends: dict[str, int | None] = dict.fromkeys(STREAMS, subprocess.PIPE)
    line = [*GCBENCH, *command]
    if attack and attack.end is None:
        number = {"stdout": 1, "stderr": 2}[stream]
        line = ["bash", "-c", f'exec "$@" {number}>&-', "-", *line]
        ends[stream] = subprocess.DEVNULL
    elif attack:
        ends[stream] = attack.end
    process = subprocess.Popen(line, cwd=folder, start_new_session=True, **ends)
    out, err = process.communicate()
    if attack:
        attack.finish()
    run, csv = folder / "run.jsonl", folder / "run.csv"
    return Outcome(
        process.returncode,
        {"stdout": out, "stderr": err},
        len(store.statuses(run)) if run.exists() else 0,
        len(csv.read_text().splitlines()) if csv.exists() else 0,
    )


def difference(
    name: str, stream: str, fate: str, moment: str, known: Outcome, found: Outcome
) -> str:
    """Say what an attack lost or changed; nothing where all is well."""
    other = next(each for each in STREAMS if each != stream)
    said = found.streams[other] or b""
    # what only stdout had is lost with it, and that is said: it may all be written before it closes
    only = stream == "stdout" and fate != "gone" and name in ("report", "compare")
    told = b"cannot write to stdout" in said or b"stdout is closed" in said
    expected = 2 if only and told else known.code
    lost = []
    if only and moment == "start" and not told:
        lost.append("nothing said of stdout")
    if found.code != expected:
        lost.append(f"exit code {found.code}, not {expected}")
    if (found.cases, found.lines) != (known.cases, known.lines):
        lost.append(
            f"{found.cases} cases and {found.lines} lines, not {known.cases}, {known.lines}"
        )
    if other == "stdout" and _plain(found, other) != _plain(known, other):
        lost.append("another stdout")
    if other == "stderr" and b"Traceback" in (found.streams[other] or b""):
        lost.append("a traceback")
    return "; ".join(lost)


def _plain(outcome: Outcome, stream: str) -> tuple[bytes, ...]:
    """What a stream carried, as far as it is the same in every run: the first word of each line."""
    lines = (outcome.streams[stream] or b"").splitlines()
    return tuple(_NUMBERS.sub(b"", line.split()[0]) for line in lines if line.split())[:4]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--commands", default=",".join(COMMANDS))
    chosen = parser.parse_args().commands.split(",")
    attacks = failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        known_run = ["sweep", *SMALL, "-s", "4,5,6", "-o", "known.jsonl"]
        subprocess.run([*GCBENCH, *known_run], cwd=folder, check=True, capture_output=True)
        for command in chosen:
            known = done(COMMANDS[command], folder)
            for stream, fate, moment in itertools.product(STREAMS, FATES, MOMENTS):
                size = len(known.streams[stream] or b"")
                after = {"start": 0, "mid": max(1, size // 2), "end": max(1, size - 10)}[moment]
                found = done(COMMANDS[command], folder, stream, Attack(fate, after))
                lost = difference(command, stream, fate, moment, known, found.without(stream))
                attacks, failed = attacks + 1, failed + bool(lost)
                print(f"{command}: {stream} {fate}, {moment}: {lost or 'nothing lost'}", flush=True)
        left = [path.name for path in folder.iterdir() if path.name.startswith(".gcbench")]
    print(f"{attacks} attacks: {failed or 'none'} lost data or changed the exit code; files {left}")
    sys.exit(bool(failed or left))


if __name__ == "__main__":
    main()
