"""A limit on memory that a case meets as an error of its own, before the system kills anybody."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gcbench.measure import environment, heap


@contextmanager
def memory_limited(limit_bytes: int | None, device: str) -> Iterator[None]:
    """Allow this process so many bytes beyond what it has; by default, what the CPU has free.

    On a CPU the limit is on private writable memory (RLIMIT_DATA): an allocation past it fails at
    once, and torch and Python raise. The limits on address space (RLIMIT_AS) would count libraries
    and what a CUDA driver merely reserves; the resident set cannot be limited at all. On CUDA it is
    torch's own limit on what its allocator takes from the device. Where the system has neither,
    nothing is limited.
    """
    if device == "cpu":
        with _data_limited(limit_bytes or environment.free_bytes(device)):
            yield
    elif limit_bytes is None:
        yield
    else:
        with _allocator_limited(limit_bytes, device):
            yield


@contextmanager
def _allocator_limited(limit_bytes: int, device: str) -> Iterator[None]:
    from torch import cuda

    # what the allocator keeps without use would count against the limit
    environment.give_back(device)
    most = cuda.memory_reserved(device) + limit_bytes
    share = most / cuda.mem_get_info(device)[1]
    # torch takes no device without an index here, but it takes the current one
    with environment.on_device(device):
        cuda.set_per_process_memory_fraction(min(1.0, share))
    try:
        yield
    finally:
        # a device that an illegal access has lost refuses this too
        with suppress(Exception), environment.on_device(device):
            cuda.set_per_process_memory_fraction(1.0)


@contextmanager
def _data_limited(limit_bytes: int | None) -> Iterator[None]:
    # what is held without use could be taken without a limit
    heap.give_back()
    held = _data_bytes()
    if limit_bytes is None or held is None:
        yield
        return
    import resource

    usual = resource.getrlimit(resource.RLIMIT_DATA)
    most = held + limit_bytes
    if usual[1] != resource.RLIM_INFINITY:
        most = min(most, usual[1])
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (most, usual[1]))
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_DATA, usual)


def _data_bytes() -> int | None:
    """Private writable memory that this process has, as the kernel counts it for RLIMIT_DATA."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    match = re.search(r"^VmData:\s+(\d+) kB$", status, re.MULTILINE)
    return int(match[1]) * 1024 if match else None
