"""How this process's C allocator treats freed memory: as it is by default, or steadily.

By default glibc maps large buffers anew and gives freed memory back to the system, by thresholds
that move with what was freed before. A call then pays for page faults or does not, depending on
what ran earlier in the process. A steady heap keeps what it once had. See mallopt(3).
"""

import ctypes
import resource
import sys

from gcbench.errors import UsageError
from gcbench.spec.cases import Heap

# the parameters of glibc's mallopt; the values are ints, and -1 stands for the largest there is
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
# no more than a step: growth counts against a limit on memory
_PAD_BYTES = 2**20
# larger than any threshold for mapping that glibc accepts, and what a probe may fault in once more
_PROBE_BYTES, _PROBE_FAULTS = 40 * 2**20, 100

_now: Heap = "default"


def now() -> Heap:
    """How the heap of this process is."""
    return _now


def require_both(option: str, device: str) -> None:
    """Make sure that both heaps can be had for what runs on a device. Raises UsageError."""
    if device != "cpu":
        raise UsageError(f"{option} is of what a CPU runs: the heap is no part of {device}")
    if not _is_glibc():
        raise UsageError(f"{option} needs glibc: no other C library can be asked for a steady heap")


def why_not(wanted: Heap | None) -> str | None:
    """Say why this process cannot measure what asks for a heap; None where it can."""
    if wanted is None or wanted == _now:
        return None
    return f"it asks for the {wanted} heap, and that of its process is {_now}"


def settle(wanted: Heap) -> Heap:
    """Make this process's heap as wanted, before anything large is made; returns how it is now.

    Only glibc has a steady heap; elsewhere it stays `default`. What is steady once stays so.
    """
    global _now
    if wanted == "steady" and _now == "default" and _made_steady():
        _now = "steady"
    return _now


def give_back() -> None:
    """Give what a steady heap holds without use back to the system: it is asked for its pages anew.

    Between comparisons what was freed must count as free, and nothing is being timed.
    """
    if _now == "steady":
        ctypes.CDLL(None).malloc_trim(0)


def touch(size_bytes: int) -> None:
    """Have so much of a steady heap in memory, so that what is made there next takes no faults."""
    if _now == "steady":
        _fault_in(ctypes.CDLL(None), size_bytes)


def _made_steady() -> bool:
    """Ask glibc to keep freed memory, and see by the page faults whether it does."""
    if not _is_glibc():
        return False
    libc = ctypes.CDLL(None)
    asked = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_TOP_PAD, _PAD_BYTES))
    if not all(libc.mallopt(*each) for each in asked):
        return False
    _fault_in(libc, _PROBE_BYTES)
    return _fault_in(libc, _PROBE_BYTES) < _PROBE_FAULTS


def _is_glibc() -> bool:
    return sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")


def _fault_in(libc: ctypes.CDLL, size_bytes: int) -> int:
    """Take a large buffer, write to each page, give it back; returns the page faults."""
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    place = libc.malloc(size_bytes)
    if place:
        ctypes.memset(place, 1, size_bytes)
        libc.free(place)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
