"""Ceilings that no test has to wait for."""

from gcbench.records import Peaks

# ceilings that no test has to wait for; what measures them has tests of its own
PEAKS = Peaks("made-up", "cpu", "made up", None, {}, {}, {}, ((2**18, 1e11), (2**28, 1e10)), 1.0)
