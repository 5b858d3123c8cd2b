"""Every test leaves the machine to others: locks, temporary files and caches stay in its folder."""

import gc
import os
import signal
import sys
import tempfile
from dataclasses import replace

import pytest
from made_up import PEAKS

ENDED = pytest.StashKey[int]()


def pytest_configure():
    """Let interrupts reach what tests start, also where a shell began the tests in the background.

    A shell without job control has those ignore SIGINT, and what they start inherits that.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # defaults of whoever runs the tests are not theirs
    for name in [name for name in os.environ if name.startswith("GCBENCH_")]:
        if name != "GCBENCH_WHEELS":
            del os.environ[name]


def pytest_sessionfinish(session, exitstatus):
    """Remember how the tests ended, for the very end."""
    session.config.stash[ENDED] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """End with the status of the tests, without tearing the interpreter down.

    After a whole run in which all had passed a native thread was seen to crash there: which
    library's is not known (torch, Ray and the plots' renderer all leave some behind).
    """
    if ENDED in config.stash:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[ENDED])


@pytest.fixture
def foreign_code_here(monkeypatch):
    """Run the code of others in this process, where a test can get at it and nothing is started.

    What commands make of it in a worker, as they do, is in `test_foreign.py`.
    """
    for where in ("engines.sweeps", "cli.network_options", "cli.count"):
        monkeypatch.setattr(f"gcbench.{where}.is_foreign", lambda *named: False)


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


@pytest.fixture(autouse=True, scope="module")
def little_to_collect():
    """Let a collection look at what a module's tests make, not at all that torch consists of."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def single_thread():
    """Small tensors on one thread: several would only wait for each other on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def own_peaks(tmp_path_factory, monkeypatch):
    """Keep the ceilings of this machine to the tests, and let none be measured unasked."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))

    def measure(manifest, device, threads, dtypes, sustained=False, tell=None, known=None):
        rates = dict.fromkeys(dtypes, 1e12)
        return replace(
            PEAKS,
            device=device,
            threads=threads,
            product_flops_per_s=rates,
            convolution_flops_per_s=rates,
        )

    monkeypatch.setattr("gcbench.measure.peaks.measuring.measure", measure)
