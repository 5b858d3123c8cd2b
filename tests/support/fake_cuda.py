"""torch.cuda without a GPU: devices whose memory torch's caching allocator keeps, in numbers alone.

Tensors made while `FakeCuda.tensors` is open are torch's fake tensors: they have a device, a shape
and a lifetime. Their memory is what a simulated caching allocator gives them, block by block, and
what operators read and write passes through a simulated last cache.
"""

import weakref
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace

import torch
from torch import Tensor
from torch._subclasses import fake_tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

MIB = 2**20
# of torch's CUDACachingAllocator: kMinBlockSize, kSmallSize, kSmallBuffer, kLargeBuffer,
# kMinLargeAlloc, kRoundLarge
LEAST, SMALL, SMALL_SEGMENT, LARGE_SEGMENT, OWN_SEGMENT, ROUND = (
    *(512, MIB, 2 * MIB),
    *(20 * MIB, 10 * MIB, 2 * MIB),
)
ILLEGAL = "CUDA error: an illegal memory access was encountered"


def rounded(size, to):
    return -(-size // to) * to


@dataclass(eq=False)
class Block:
    """A part of a segment; `requested` is None where it is free."""

    address: int
    size: int
    requested: int | None = None


@dataclass(eq=False)
class Segment:
    """What was taken from the device at once, cut into blocks by their addresses."""

    blocks: list
    small: bool

    @property
    def size(self):
        return sum(block.size for block in self.blocks)

    @property
    def idle(self):
        return all(block.requested is None for block in self.blocks)


@dataclass
class Allocator:
    """A device's memory: what others took of it, and what torch's caching allocator did."""

    total: int = 64 * 1024 * MIB
    others: int = 0
    fraction: float = 1.0
    segments: list = field(default_factory=list)
    peaks: dict = field(default_factory=dict)

    @property
    def reserved(self):
        return sum(segment.size for segment in self.segments)

    def current(self):
        used = [b for s in self.segments for b in s.blocks if b.requested is not None]
        return {
            "requested_bytes": sum(block.requested for block in used),
            "allocated_bytes": sum(block.size for block in used),
            "reserved_bytes": self.reserved,
        }

    def stats(self):
        now = self.current()
        return {f"{name}.all.current": value for name, value in now.items()} | {
            f"{name}.all.peak": max(value, self.peaks.get(name, 0)) for name, value in now.items()
        }

    def take(self, requested):
        size = max(LEAST, rounded(requested, LEAST))
        small = size <= SMALL
        segment, block = self._fitting(size, small) or self._new(size, small)
        rest = block.size - size
        if rest >= LEAST if small else rest > SMALL:
            place = segment.blocks.index(block)
            segment.blocks.insert(place + 1, Block(block.address + size, rest))
            block.size = size
        block.requested = requested
        for name, value in self.current().items():
            self.peaks[name] = max(value, self.peaks.get(name, 0))
        return block

    def free(self, block):
        [segment] = [segment for segment in self.segments if block in segment.blocks]
        block.requested = None
        joined = []
        for each in segment.blocks:
            if joined and joined[-1].requested is None and each.requested is None:
                joined[-1].size += each.size
            else:
                joined.append(each)
        segment.blocks[:] = joined

    def empty_cache(self):
        self.segments = [segment for segment in self.segments if not segment.idle]

    def _fitting(self, size, small):
        """The smallest free block that is large enough, the lowest of those."""
        fitting = [
            (block.size, block.address, segment, block)
            for segment in self.segments
            if segment.small == small
            for block in segment.blocks
            if block.requested is None and block.size >= size
        ]
        return min(fitting, key=lambda each: each[:2])[2:] if fitting else None

    def _new(self, size, small):
        own = rounded(size, ROUND) if size >= OWN_SEGMENT else LARGE_SEGMENT
        wanted = SMALL_SEGMENT if small else own
        for again in (True, False):
            fits = self.others + self.reserved + wanted <= self.total
            if fits and self.reserved + wanted <= self.fraction * self.total:
                break
            if not again:
                raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {size} bytes")
            self.empty_cache()
        segment = Segment([Block(self._gap(wanted), wanted)], small)
        self.segments.append(segment)
        return segment, segment.blocks[0]

    def _gap(self, size):
        """The lowest addresses that nothing has, as the driver gives them."""
        at = 2**40
        for segment in sorted(self.segments, key=lambda each: each.blocks[0].address):
            if segment.blocks[0].address - at >= size:
                break
            at = segment.blocks[0].address + segment.size
        return at


@dataclass
class LastCache:
    """A last cache that writes back what it evicts, the longest untouched first."""

    size: int
    # bytes held of each storage and how many of them are not yet in memory, by last touch
    lines: dict = field(default_factory=dict)

    def touch(self, storage, size, write):
        _, dirty = self.lines.pop(storage, (0, 0))
        held = min(size, self.size)
        self.lines[storage] = held, held if write else min(dirty, held)
        for other, (there, unwritten) in list(self.lines.items()):
            over = sum(held for held, _ in self.lines.values()) - self.size
            if over <= 0:
                break
            if there <= over:
                del self.lines[other]
            else:
                self.lines[other] = there - over, max(0, unwritten - over)

    @property
    def dirty(self):
        return sum(unwritten for _, unwritten in self.lines.values())


@dataclass
class Device:
    name: str = "Made-up GPU"
    uuid: str = "0000-0000"
    multi_processor_count: int = 132
    major: int = 9
    minor: int = 0
    L2_cache_size: int = 50 * MIB
    memory: Allocator = field(default_factory=Allocator)

    def __post_init__(self):
        self.last_cache = LastCache(self.L2_cache_size)

    @property
    def total_memory(self):
        return self.memory.total


class FakeCuda:
    """Patches torch.cuda. Once `error` is set, everything that asks the driver raises it."""

    def __init__(self, monkeypatch, count=2):
        self.devices = [Device(uuid=f"uuid-{index}") for index in range(count)]
        self.at = 0
        self.error = None
        self.entered = []
        self._blocks = weakref.WeakKeyDictionary()
        for name in (
            *("_exchange_device", "_maybe_exchange_device", "current_device", "device_count"),
            *(
                "current_stream",
                "empty_cache",
                "get_device_name",
                "get_device_properties",
                "is_available",
            ),
            *("mem_get_info", "memory_snapshot", "memory_stats", "reset_peak_memory_stats"),
            *("max_memory_allocated", "memory_allocated", "memory_reserved"),
            *("set_per_process_memory_fraction", "synchronize"),
        ):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(fake_tensor, "init_gpu_context", lambda device: None)
        monkeypatch.setattr(
            fake_tensor.FakeTensor, "data_ptr", lambda x: self.address(x), raising=False
        )
        monkeypatch.setattr(fake_tensor.FakeTensor, "__deepcopy__", _copied, raising=False)

    @property
    def memory(self):
        return self.devices[self.at].memory

    def is_available(self):
        return True

    def device_count(self):
        return len(self.devices)

    def current_device(self):
        return self.at

    def _exchange_device(self, index):
        self._ask()
        before, self.at = self.at, self.at if index < 0 else index
        self.entered.append(self.at)
        return before

    _maybe_exchange_device = _exchange_device

    def current_stream(self, device=None):
        self._device(device)
        return SimpleNamespace(cuda_stream=0)

    def get_device_properties(self, device=None):
        return self._device(device)

    def get_device_name(self, device=None):
        return self._device(device).name

    def mem_get_info(self, device=None):
        memory = self._device(device).memory
        return memory.total - memory.others - memory.reserved, memory.total

    def memory_stats(self, device=None):
        return self._device(device).memory.stats()

    def memory_snapshot(self):
        return [
            {
                "device": index,
                "stream": 0,
                "segment_pool_id": (0, 0),
                "segment_type": "small" if segment.small else "large",
                "blocks": [
                    {
                        "size": block.size,
                        "state": "inactive" if block.requested is None else "active_allocated",
                    }
                    for block in segment.blocks
                ],
            }
            for index, device in enumerate(self.devices)
            for segment in device.memory.segments
        ]

    def memory_allocated(self, device=None):
        return self.memory_stats(device)["allocated_bytes.all.current"]

    def memory_reserved(self, device=None):
        return self.memory_stats(device)["reserved_bytes.all.current"]

    def max_memory_allocated(self, device=None):
        return self.memory_stats(device)["allocated_bytes.all.peak"]

    def reset_peak_memory_stats(self, device=None):
        memory = self._device(device).memory
        memory.peaks = memory.current()

    def empty_cache(self):
        self._ask()
        for device in self.devices:
            device.memory.empty_cache()

    def set_per_process_memory_fraction(self, fraction, device=None):
        assert 0 <= fraction <= 1
        device = torch.device("cuda", self.at) if device is None else torch.device(device)
        if device.index is None:
            raise ValueError(
                f'Expected a torch.device with a specified index or an integer, but got:"{device}"'
            )
        self._device(device).memory.fraction = fraction

    def synchronize(self, device=None):
        self._device(device)

    @contextmanager
    def tensors(self):
        """Make tensors on these devices inside."""
        # as FakeTensorMode does where torch finds no device: nothing asks the driver for one
        torch._C._ensureCUDADeviceGuardSet()
        with fake_tensor.FakeTensorMode(), Follow(self):
            yield

    def enter(self, tensor):
        """Give the memory of a tensor that is new its block."""
        storage = tensor.untyped_storage()
        if storage in self._blocks or tensor.device.type != "cuda":
            return
        memory = self._device(tensor.device).memory
        self._blocks[storage] = block = memory.take(storage.nbytes())
        weakref.finalize(storage, memory.free, block)

    def address(self, tensor):
        """Where a tensor begins in its device's memory."""
        block = self._blocks[tensor.untyped_storage()]
        return block.address + tensor.storage_offset() * tensor.element_size()

    def touch(self, tensor, write):
        if tensor.device.type == "cuda":
            storage = tensor.untyped_storage()
            cache = self._device(tensor.device).last_cache
            cache.touch(self._blocks[storage].address, min(tensor.nbytes, storage.nbytes()), write)

    def _ask(self):
        if self.error is not None:
            raise self.error

    def _device(self, device):
        self._ask()
        index = device if isinstance(device, int) else torch.device(device or "cuda").index
        return self.devices[self.at if index is None else index]


def _copied(tensor, memo):
    made = tensor.detach().clone().requires_grad_(tensor.requires_grad)
    return memo.setdefault(id(tensor), made)


class Follow(TorchDispatchMode):
    """Tell a `FakeCuda` what operators make, read and write."""

    def __init__(self, cuda):
        super().__init__()
        self._cuda = cuda

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        for tensor in made:
            self._cuda.enter(tensor)
        if not func.is_view and "empty" not in func.__name__:
            for tensor in read:
                if not any(tensor is each for each in made):
                    self._cuda.touch(tensor, write=False)
            for tensor in made:
                self._cuda.touch(tensor, write=True)
        return result


def nvml(refuses=(), mig=0):
    """A module like pynvml, of which some readings are refused."""

    def reading(name, value):
        def read(*handle):
            if name in refuses:
                raise RuntimeError("Not Supported")
            return value

        return read

    values = {
        "nvmlInit": None,
        "nvmlDeviceGetHandleByUUID": "handle",
        "nvmlSystemGetDriverVersion": "580.65.06",
        "nvmlDeviceGetEnforcedPowerLimit": 700_000,
        "nvmlDeviceGetMigMode": [mig, mig],
    }
    return SimpleNamespace(**{name: reading(name, value) for name, value in values.items()})
