"""Blocks that end, hang or leave something, and what became of that."""

import os
import time
from pathlib import Path

from gcbench import engines
from gcbench.engines.isolated import Isolated
from gcbench.engines.jobs import Job
from gcbench.spec.cases import Axes, Effort

SMALL = Axes(device="cpu", channels=16, size=(6, 5), ratio=4, threads=1)


BRIEF = Effort(precision=0.5, max_time_s=0.3)


MODULES = """
import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path
import torch
from torch import nn

class Real(nn.Module):
    # does harm on a real device only: looked at, and counted, it is harmless
    def __init__(self, channels):
        super().__init__()
    def forward(self, x):
        if x.device.type != "meta":
            self.harm()
        return x + 1

class Segfaults(Real):
    def harm(self):
        ctypes.string_at(0)

class Exits(Real):
    def harm(self):
        os._exit(1)

class Loops(Real):
    def harm(self):
        while True:
            pass

class Hoards(Real):
    def harm(self):
        self.hoard = torch.ones(25 * 2**30)

class Raises(Real):
    def harm(self):
        raise RuntimeError("I never work")

class Counted(nn.Module):
    def __init__(self, channels):
        super().__init__()
    def forward(self, x):
        os._exit(3)

class Later(Real):
    # goes through its trial, and dies when it is timed
    def __init__(self, channels):
        super().__init__(channels)
        self.calls = 0
    def harm(self):
        path = Path(f"calls-{os.getpid()}")
        calls = int(path.read_text()) + 1 if path.exists() else 1
        path.write_text(str(calls))
        if calls > 12:
            os._exit(9)

class Parent(Real):
    def harm(self):
        if not Path("grandchild").exists():
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            Path("grandchild").write_text(f"{os.getpid()} {child.pid}")
        time.sleep(600)
"""


def measured(names, timeout_s=60.0, **more):
    with Isolated(timeout_s) as isolated:
        return isolated.measure(Job(engines.compare(names, SMALL), BRIEF, **more))


def alive(pid):
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    # a process that was killed and not yet collected by init is dead
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pids, within_s=20.0):
    deadline = time.monotonic() + within_s
    while any(alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
