"""gcbench from wheels alone, without an index, in what a machine with a GPU holds: Python 3.12 with
torch 2.11."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# what such a machine holds, with what these need
HELD = (
    *("torch==2.11.*", "torchvision==0.26.*", "numpy", "pandas", "rich", "Pillow", "PyYAML"),
    *("tqdm", "tabulate", "portalocker", "scipy", "psutil"),
)
SMALL = ("--channels", "16", "--ratio", "4", "--max-time", "100ms", "--threads", "1")
UNTRUSTED = 5

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "GCBENCH_WHEELS" not in os.environ,
        reason="downloads torch 2.11, some 3 GB: GCBENCH_WHEELS=1 does, as CI",
    ),
]


def python_there():
    """A Python 3.12 of this machine, or the one that runs this where there is none."""
    of_pyenv = sorted(Path.home().glob(".pyenv/versions/3.12.*/bin/python3.12"))
    for found in (shutil.which("python3.12"), *of_pyenv):
        # what pyenv puts on the path answers only where that version is chosen
        if found and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0:
            return str(found)
    return sys.executable


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """Run a command as on such a machine, with the wheels beside what it holds."""
    folder = tmp_path_factory.mktemp("there")
    python, wheels, site = folder / "venv/bin/python", folder / "wheels", folder / "site"
    usual = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command, allowed=(0,), **more):
        done = subprocess.run(
            [str(each) for each in command],
            capture_output=True,
            text=True,
            check=False,
            **{"cwd": folder, "env": usual, **more},
        )
        assert done.returncode in allowed, done.stdout + done.stderr
        return done

    run(python_there(), "-m", "venv", folder / "venv")
    run(python, "-m", "pip", "install", "--quiet", *HELD)
    version = run(python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").stdout.strip()
    run(ROOT / "benchmarks/gpu_wheels.sh", wheels, sys.executable, version)
    found = sorted(wheels.glob("*.whl"))
    run(python, "-m", "pip", "install", "--no-index", "--no-deps", "--target", site, *found)
    here = {**usual, "PYTHONPATH": str(site), "XDG_CACHE_HOME": str(folder / "cache")}
    yield lambda *words, **more: run(python, *words, **{"env": here, **more})
    # it is some 6 GB
    shutil.rmtree(folder)


def statuses(table):
    return [row["status"] for row in csv.DictReader(table.splitlines())]


def test_it_is_the_wheel_and_torch_2_11(there):
    said = there("-c", "import gcbench, torch; print(gcbench.__file__, torch.__version__)").stdout
    gcbench, torch = said.split()
    assert "site-packages" not in gcbench
    assert str(ROOT) not in gcbench
    assert torch.startswith("2.11.")


def test_blocks_are_compared(there):
    shape = ("--size", "8", *SMALL)
    done = there("-m", "gcbench", "bench", "gc", "se", *shape, "--format", "csv")
    assert statuses(done.stdout) == ["ok", "ok"]


def test_a_sweep_is_measured(there, tmp_path):
    run = tmp_path / "run.jsonl"
    there("-m", "gcbench", "sweep", "gc", "--size", "4,8", *SMALL, "-o", run)
    done = there("-m", "gcbench", "report", run, "--format", "csv")
    assert statuses(done.stdout) == ["ok", "ok"]


def test_the_machine_is_checked(there):
    trials = ("check", "--repeat", "1", "--max-time", "1s")
    # a busy machine is not to be believed, and that is what it says
    assert "trials of" in there("-m", "gcbench", *trials, allowed=(0, UNTRUSTED)).stdout


def test_a_network_is_counted(there):
    counted = there("-m", "gcbench", "network", "resnet50", "--insert", "gc@+all", "--static")
    assert "25.6 M" in counted.stdout


def test_the_first_run_is_rehearsed(there, tmp_path):
    script = ROOT / "benchmarks" / "gpu.py"
    done = there(script, "--rehearse", "--out", tmp_path / "out", cwd=ROOT)
    assert "failed: nothing" in done.stdout
    assert "outside what was expected: nothing" in done.stdout
