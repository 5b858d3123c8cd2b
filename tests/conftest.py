"""Every test leaves the machine to others: locks and temporary files stay in pytest's folder."""

import os
import tempfile

import pytest


@pytest.fixture(autouse=True, scope="session")
def own_temporary_folder(tmp_path_factory):
    """Neither wait for a gcbench that measures beside the tests, nor make one wait."""
    before = os.environ.get("TMPDIR"), tempfile.tempdir
    folder = str(tmp_path_factory.mktemp("temporary"))
    os.environ["TMPDIR"], tempfile.tempdir = folder, folder
    yield
    tempfile.tempdir = before[1]
    if before[0] is None:
        del os.environ["TMPDIR"]
    else:
        os.environ["TMPDIR"] = before[0]
