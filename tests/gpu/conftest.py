"""What tests of a GPU that is none share."""

from one_gpu import gpu  # noqa: F401
