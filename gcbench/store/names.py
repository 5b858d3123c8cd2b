"""Where runs lie: the newest in a folder, and names that stay inside one."""

import re
from contextlib import suppress
from pathlib import Path

from gcbench.errors import RunError
from gcbench.store.read import manifest

SUFFIX = ".jsonl"
LONGEST_NAME = 120


def path_in(folder: Path, name: str) -> Path:
    """Say where a new run of this name lies: directly in the folder, whatever the name holds.

    For names that are made of specs, hosts and the like; a path that a person gives is taken as it
    is. Characters other than letters, digits, `.`, `_`, `+` and `-` become `-`; a name that is
    taken gets a number. The file is not made.

    >>> path_in(Path("results"), "sweep ../../etc/passwd gc:ratio=8").as_posix()
    'results/sweep-etc-passwd-gc-ratio-8.jsonl'
    """
    parts = re.findall(r"[A-Za-z0-9_+]+(?:[.-][A-Za-z0-9_+]+)*", name)
    stem = "-".join(parts)[:LONGEST_NAME].rstrip(".-") or "run"
    path, number = folder / f"{stem}{SUFFIX}", 1
    while path.exists() or path.is_symlink():
        number += 1
        path = folder / f"{stem}-{number}{SUFFIX}"
    return path


def newest(folder: Path) -> Path:
    """Find the run that was written to last in a folder. Raises RunError where there is none."""
    files = [path for path in folder.glob(f"*{SUFFIX}") if path.is_file()]
    for path in sorted(files, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True):
        with suppress(RunError):
            manifest(path)
            return path
    raise RunError(
        f"there is no run in {folder.resolve()}: name one, or let gcbench sweep make one"
    )
