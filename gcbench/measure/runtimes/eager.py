"""A module called as it is written."""

from gcbench.measure.runtimes import Runtime


class Eager(Runtime):
    """What every runtime is held against."""
