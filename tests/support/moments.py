"""Sweeps on a clock of their own."""

from gcbench.options import config
from gcbench.spec.cases import Block
from gcbench.spec.grid import ResolvedSweep

GC, NL = Block("gc", "gc", None, True), Block("nl", "nl", None, False)


def asked(**named):
    return config.make({name: [(f"--{name}", text)] for name, text in named.items()})


def at(asked, *blocks):
    return ResolvedSweep(asked, blocks or (GC, NL), ("cpu",))


class Moments:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now
