"""The pictures of README and docs are what gcbench draws now of the reference runs."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pictures import words

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_every_picture_says_what_would_be_drawn_now(tmp_path):
    command = ["make", "pictures", f"PYTHON={sys.executable}", f"PICTURES={tmp_path}"]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    kept = sorted((ROOT / "docs/pictures").glob("*.svg"))
    assert [path.name for path in kept] == sorted(path.name for path in tmp_path.iterdir())
    for path in kept:
        # another version of what draws may move a pixel, but says the same
        now = [word.text for word in words((tmp_path / path.name).read_text())]
        assert [word.text for word in words(path.read_text())] == now, f"{path.name}: make pictures"
