"""A module called as it is written."""

from gcbench.runtimes import Runtime


class Eager(Runtime):
    """What every runtime is held against."""
