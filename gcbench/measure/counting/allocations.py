"""Memory of a case as its device gives it out, in a pass of its own that is not timed.

Every number here is exact. On a CPU torch's allocator tells the profiler of each allocation, the
work space of kernels included; on CUDA the caching allocator keeps the peak of what was requested
of it, and of what it took from the device for that, which is more: blocks of 512 bytes and up, cut
from segments of 2 MiB and up.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.profiler import profile, record_function

from gcbench.measure.workload import SMALL_POOL_BYTES, Workload
from gcbench.records import Cell

# marks, in a profile, where a preparation ends
_MARK = "gcbench: prepared"

Do = Callable[[], Any]


class Traffic(NamedTuple):
    """What a call did to memory, in bytes above the start: its peak, and what it left alive.

    What a preparation left alive counts as made by the call; what it needed meanwhile does not.
    """

    peak_bytes: int
    left_bytes: int


TrafficOf = Callable[[Do, Do], Traffic]


def allocations(work: Workload, pristine: Workload | None = None) -> dict[str, Cell]:
    """Measure the memory of one call, in bytes.

    `pristine` is the same work, never called, where copying what was called may fail.

    `peak_memory_bytes` is the most alive at one moment: weights, buffers, input, the gradient that
    a backward pass starts from, and what the call makes; a backward pass alone begins with all that
    a forward pass has left. `activation_memory_bytes` is the same less what was there before.
    `saved_memory_bytes` is what a forward pass keeps for the backward pass beside its output, the
    weights and the input; empty in mode infer. `reserved_memory_bytes`, on CUDA alone, is what
    torch's caching allocator takes from the device for all of that at its peak: whole segments, in
    which there is nothing else; empty where there is no room to call one copy more.
    """
    traffic_of = _cpu_traffic if work.x.device.type == "cpu" else _cuda_traffic(work.x.device)
    work.clear()
    saved = None if work.mode == "infer" else _saved_bytes(work, traffic_of)
    work.clear()
    activations = traffic_of(work.prepare, work.call).peak_bytes
    work.clear()
    # each once where it is shared, and without the room that a copy elsewhere leaves before it
    held = {tensor.data_ptr(): tensor.nbytes for tensor in work.held()}
    return {
        "peak_memory_bytes": activations + sum(held.values()),
        "activation_memory_bytes": activations,
        "saved_memory_bytes": saved,
        "memory_source": "measured",
        "reserved_memory_bytes": _reserved_bytes(pristine or work) if work.x.is_cuda else None,
    }


def _saved_bytes(work: Workload, traffic_of: TrafficOf) -> int:
    """What a forward pass leaves alive, less its output where that is a tensor of its own."""
    outputs: list[Tensor] = []
    enable = partial(torch.set_grad_enabled, True)
    left_bytes = traffic_of(enable, lambda: outputs.append(work.forward())).left_bytes
    storage = outputs[0].untyped_storage()
    aliases = any(storage.data_ptr() == t.untyped_storage().data_ptr() for t in work.held())
    return left_bytes - (0 if aliases else storage.nbytes())


def _cpu_traffic(prepare: Do, call: Do) -> Traffic:
    # the profiler knows the size of what is freed only where it saw the allocation; that of
    # torch.profiler, which wraps this one, loads all of the compiler when it starts
    with profile(use_kineto=True, profile_memory=True, acc_events=True) as profiler:
        prepare()
        with record_function(_MARK):
            pass
        call()
    events = list(profiler.kineto_results.experimental_event_tree())
    sizes: list[tuple[int, int]] = []
    prepared_ns = 0
    while events:
        event = events.pop()
        events.extend(event.children)
        if event.name == _MARK:
            prepared_ns = event.start_time_ns
        elif event.tag.name == "Allocation":
            sizes.append((event.start_time_ns, event.extra_fields.alloc_size))
    left = peak = sum(size for at_ns, size in sizes if at_ns < prepared_ns)
    for at_ns, size in sorted(sizes, key=lambda each: each[0]):
        if at_ns >= prepared_ns:
            left += size
            peak = max(peak, left)
    return Traffic(peak, left)


def _cuda_traffic(device: torch.device) -> TrafficOf:
    def traffic_of(prepare: Do, call: Do) -> Traffic:
        torch.cuda.synchronize(device)
        start = _cuda_bytes(device, "requested", "current")
        prepare()
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        torch.cuda.synchronize(device)
        peak, left = (_cuda_bytes(device, "requested", of) for of in ("peak", "current"))
        return Traffic(peak - start, left - start)

    return traffic_of


def _reserved_bytes(work: Workload) -> int | None:
    """What the caching allocator takes from the device for a copy of a work and one call of it.

    None where there is no room for one copy more.
    """
    device = work.x.device
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    filled = _filled(device)
    start = _cuda_bytes(device, "reserved", "current")
    torch.cuda.reset_peak_memory_stats(device)
    try:
        alone = work.again()
        alone.settle()
    except torch.OutOfMemoryError:
        return None
    torch.cuda.synchronize(device)
    del filled
    return _cuda_bytes(device, "reserved", "peak") - start


def _filled(device: torch.device) -> list[Tensor]:
    """Take all that is free inside segments: whatever is made next needs segments of its own.

    Those of other streams, and the pools of graphs, are nothing to what comes next.
    """
    stream = torch.cuda.current_stream(device).cuda_stream
    holes = [
        piece
        for segment in torch.cuda.memory_snapshot()
        if (segment["device"], segment["stream"]) == (device.index, stream)
        and tuple(segment.get("segment_pool_id", (0, 0))) == (0, 0)
        for block in segment["blocks"]
        if block["state"] == "inactive"
        for piece in _pieces(block["size"], segment["segment_type"] == "small")
    ]
    # the largest first: each then fits one hole exactly, which is the one that the allocator takes
    return [torch.empty(n, dtype=torch.uint8, device=device) for n in sorted(holes, reverse=True)]


def _pieces(hole: int, small: bool) -> Iterator[int]:
    """Cut a hole into sizes that its pool serves: small ones up to a limit, large ones beyond."""
    if small:
        yield from [SMALL_POOL_BYTES] * (hole // SMALL_POOL_BYTES)
        hole %= SMALL_POOL_BYTES
    if hole > (0 if small else SMALL_POOL_BYTES):
        yield hole


def _cuda_bytes(device: torch.device, what: str, of: str) -> int:
    # before the first allocation there are no statistics
    return int(torch.cuda.memory_stats(device).get(f"{what}_bytes.all.{of}", 0))
