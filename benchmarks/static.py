"""How fast is a sweep on paper: 20,900 cases of four blocks into a run, and what memory it takes.

gc, se, snl and nl at 50 sizes (to 1024), 19 widths and 10 ratios; NL's map at 1024 is 4 TiB.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gcbench import store

AXES = ["--size", "7:336:7,512,1024", "--channels", "64:1216:64", "--ratio", "1..512x2"]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        run, rows = Path(folder) / "run", Path(folder) / "rows.csv"
        door = [sys.executable, "-m", "gcbench"]
        started = time.monotonic()
        subprocess.run(
            [*door, "sweep", "--static", "-s", "7", "--csv", str(rows)], check=True, cwd=folder
        )
        alone_s = time.monotonic() - started
        started = time.monotonic()
        sweep = [*door, "sweep", "--static", *AXES, "-o", str(run), "--csv", str(rows)]
        # a ratio of 512 leaves no channel of 64: such cases are rows too, and the exit code is 3
        assert subprocess.run(sweep, cwd=folder).returncode == 3
        took_s = time.monotonic() - started
        cases = len(store.statuses(run))
    peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"{cases:,} cases in {took_s:.1f} s, of which {alone_s:.1f} s are a sweep of four: "
        f"{cases / (took_s - alone_s):,.0f} cases a second, run and CSV included; "
        f"peak {peak_mib:.0f} MiB"
    )


if __name__ == "__main__":
    main()
