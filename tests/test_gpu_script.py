"""The script of the first run on a GPU: nothing without one, and its table."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "benchmarks" / "gpu.py"


def test_the_script_says_so_where_there_is_no_gpu_and_runs_nothing(tmp_path):
    hidden = {"CUDA_VISIBLE_DEVICES": "", "PATH": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--out", str(tmp_path / "out")],
        env=hidden,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "no CUDA device that torch can use: nothing was run\n"
    assert not (tmp_path / "out").exists()
