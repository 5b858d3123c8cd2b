"""One case made runnable: a module, its input, and the call that the case's mode asks for."""

import copy
import random
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Protocol, Self

import torch
from torch import Tensor, nn

from gcbench.measure import heap
from gcbench.records import Queueing
from gcbench.spec.cases import Case, Layout, Mode
from gcbench.tensors import brought, dense, held

Prepare = Callable[[], None]
# how a module is applied to its input: called as it is, or by what a compiler made of that
Apply = Callable[[nn.Module, Tensor], Tensor]

# A new place in memory: up to this many bytes before a buffer, in steps of its alignment by
# torch's allocator
_SHIFT_BYTES, _ALIGNMENT_BYTES = 2**16, {"cpu": 64, "cuda": 512}
# a heap that keeps what was freed would hand out the same pages for ever: before each work it is
# shifted by up to so much, so that replicates draw their pages anew
PAGES_BYTES = 2**22
# torch's CUDA allocator has one pool for what is up to so large, and another for the rest
SMALL_POOL_BYTES = 2**20


def eagerly(module: nn.Module, x: Tensor) -> Tensor:
    """Apply a module as it is."""
    output: Tensor = module(x)
    return output


class Workload:
    """A module and its input, called as the mode says.

    `prepare` does what must not be timed; `call` is what is timed and returns the output, or None
    where the mode ends in a backward pass. `repeatable` tells whether several calls may follow one
    preparation, `cold` whether a preparation empties the caches, `queueing` what a call does to a
    device's queue, `turns` how many calls in a row touch all of its inputs.
    """

    queueing: Queueing = "fits"
    turns = 1

    def __init__(
        self,
        module: nn.Module,
        x: Tensor,
        mode: Mode = "infer",
        gradient: Tensor | None = None,
        before: Prepare | None = None,
        apply: Apply = eagerly,
        threads: int | None = None,
        to_input: bool = True,
    ) -> None:
        """Take the module over in the mode's state.

        A backward pass starts from `gradient`, shaped like the output, or from an output that is a
        loss; it goes on to the input where `to_input` says so. `before` runs last in every
        preparation; `threads`, where given, are set in every preparation.
        """
        self.module = module.train(mode != "infer")
        self.x = x.requires_grad_(to_input and mode != "infer")
        self.gradient = gradient
        self.mode = mode
        self.repeatable = mode == "infer" and before is None
        self.cold = before is not None
        self._before = before
        self._apply = apply
        self._threads = threads
        self._to_input = to_input
        self._output: Tensor | None = None

    def prepare(self) -> None:
        """Bring the state to where the timed part begins. Leaves gradients on or off, as needed."""
        torch.set_grad_enabled(self.mode != "infer")
        if self.mode != "infer":
            self.clear()
        if self.mode == "backward":
            self._output = self.forward()
        self.prepare_machine()

    def prepare_machine(self) -> None:
        """Set the threads, and do what was given to run last in every preparation."""
        set_threads(self._threads)
        if self._before is not None:
            self._before()

    def call(self) -> Tensor | None:
        """Do the work once: a forward pass, a forward and a backward pass, or a backward pass."""
        if self.mode == "infer":
            return self.forward()
        output = self.forward() if self._output is None else self._output
        self._output = None
        output.backward(self.gradient)
        return None

    def settle(self) -> None:
        """Call once, prepared, so that pages and caches are there."""
        self.prepare()
        self.call()

    def clear(self) -> None:
        """Let go of all that earlier calls and preparations left: gradients, and a graph."""
        self.module.zero_grad(set_to_none=True)
        self.x.grad = self._output = None

    def forward(self) -> Tensor:
        """Apply the module to the input."""
        return self._apply(self.module, self.x)

    def held(self) -> list[Tensor]:
        """What is in memory before and after every call: weights, buffers, input, gradient."""
        given = [] if self.gradient is None else [self.gradient]
        return [*held(self.module), self.x, *given]

    def elsewhere(self, rng: random.Random) -> Self:
        """Rebuild the module from the same weights and the input from the same values."""
        # without spacers, small weights would fall back into the hole that the last copy left
        kept = spacers(self.x.device, rng)
        module = copy.deepcopy(self.module)
        if self.x.is_cuda:
            # the caching allocator would give most weights the very block that they had
            for tensor in dense(module):
                tensor.data = elsewhere(tensor, rng)
        moved = self._over(module, lambda x: elsewhere(x, rng))
        moved._spacers = kept
        return moved

    def warmed(self) -> Self:
        """The same module and input, with nothing that runs last in a preparation."""
        work = copy.copy(self)
        work._before, work.cold, work.repeatable = None, False, self.mode == "infer"
        return work

    def again(self) -> Self:
        """Rebuild the module and the input in as little memory as they need."""
        return self._over(copy.deepcopy(self.module), lambda x: x.detach().clone())

    def beside(self, rng: random.Random) -> Self:
        """The same module with an input of its own, of the same values."""
        return self._over(self.module, lambda x: elsewhere(x, rng))

    def in_mode(self, mode: Mode) -> Self:
        """A copy of the module in some mode, called as it is written, on the same input."""
        return type(self)(
            copy.deepcopy(self.module),
            self.x.detach(),
            mode,
            self.gradient,
            threads=self._threads,
            to_input=self._to_input,
        )

    def _over(self, module: nn.Module, copied: Callable[[Tensor], Tensor]) -> Self:
        work = type(self)(
            module,
            copied(self.x),
            self.mode,
            None if self.gradient is None else copied(self.gradient),
            self._before,
            self._apply,
            self._threads,
            self._to_input,
        )
        work.queueing = self.queueing
        return work

    _spacers: tuple[Tensor, ...] = ()


class Copy:
    """One clone of the input: the unit of memory traffic."""

    queueing: Queueing = "fits"
    turns = 1

    def __init__(
        self, x: Tensor, before: Prepare | None = None, threads: int | None = None
    ) -> None:
        """Clone `x` when called; `before` and `threads` as for `Workload`."""
        self.x = x
        self.repeatable = before is None
        self.cold = before is not None
        self._before = before
        self._threads = threads

    def prepare(self) -> None:
        """Bring the state to where the timed part begins. Leaves gradients off."""
        set_threads(self._threads)
        torch.set_grad_enabled(False)
        if self._before is not None:
            self._before()

    def call(self) -> Tensor:
        """Copy the input once."""
        return self.x.clone()

    def settle(self) -> None:
        """Copy once, prepared, so that pages and caches are there."""
        self.prepare()
        self.call()

    def elsewhere(self, rng: random.Random) -> Self:
        """Put the input at a new place in memory."""
        return type(self)(elsewhere(self.x, rng), self._before, self._threads)

    beside = elsewhere


class Repeated:
    """A work called several times in one call: how a known ratio is made.

    Every copy has a module and an input of its own, and is prepared like a single call of it.
    """

    cold = False
    repeatable = True
    turns = 1

    def __init__(self, work: Workload, times: int) -> None:
        """Call `work`, which must be repeatable, so many times."""
        self._work, self._times = work, times
        self.prepare, self.settle = work.prepare, work.settle
        self.queueing = work.queueing

    def call(self) -> None:
        """Do the work so many times."""
        for _ in range(self._times):
            self._work.call()

    def elsewhere(self, rng: random.Random) -> Self:
        """Rebuild the work; see `Workload.elsewhere`."""
        return type(self)(self._work.elsewhere(rng), self._times)

    def beside(self, rng: random.Random) -> Self:
        """The same module with an input of its own; see `Workload.beside`."""
        return type(self)(self._work.beside(rng), self._times)


class Replayed:
    """A work that is recorded once as a CUDA graph; a call replays it.

    What is recorded is the call alone: a preparation goes before each replay as it is, but
    gradients stay where the graph writes them.
    """

    queueing: Queueing = "fits"
    turns = 1

    def __init__(self, work: Workload) -> None:
        """Take a work over and record it; raises what recording raises.

        `output` is what the recorded call returned: each replay writes it anew.
        """
        self._work = work
        self.cold = work.cold
        self.repeatable = not work.cold
        self._graph, self.output = recorded(work)

    def prepare(self) -> None:
        """Do what must not be timed."""
        self._work.prepare_machine()

    def call(self) -> None:
        """Replay the graph."""
        self._graph.replay()

    def settle(self) -> None:
        """Replay once, prepared."""
        self.prepare()
        self.call()

    def elsewhere(self, rng: random.Random) -> Self:
        """Rebuild the work; it is recorded anew."""
        return type(self)(self._work.elsewhere(rng))

    def beside(self, rng: random.Random) -> Self:
        """The same module with an input of its own, recorded for itself."""
        return type(self)(self._work.beside(rng))


class Turned(Protocol):
    """A work that can be made again at another place, and beside another input of its own."""

    queueing: Queueing
    turns: int
    repeatable: bool
    cold: bool

    def prepare(self) -> None:
        """Do what must not be timed."""

    def call(self) -> object:
        """Do what is timed."""

    def settle(self) -> None:
        """Do, untimed, what only the first call at a new place has to do."""

    def elsewhere(self, rng: random.Random) -> Self:
        """Make it again at a new place in memory."""

    def beside(self, rng: random.Random) -> Self:
        """The same with an input of its own."""


class Rotated:
    """A work and another beside it, called in turn: no call finds its own input in the caches."""

    turns = 2

    def __init__(self, work: Turned, rng: random.Random) -> None:
        """Put another beside the work, with an input of its own."""
        self._next, self._other = work, work.beside(rng)
        self.repeatable, self.cold, self.queueing = work.repeatable, work.cold, work.queueing

    def prepare(self) -> None:
        """Prepare the one whose turn it is."""
        self._next.prepare()

    def call(self) -> None:
        """Call the one whose turn it is; the other one is next."""
        self._next.call()
        self._next, self._other = self._other, self._next

    def settle(self) -> None:
        """Settle both."""
        self._next.settle()
        self._other.settle()


def recorded(work: Workload) -> "tuple[torch.cuda.CUDAGraph, Tensor | None]":
    """Record one call of a work as a CUDA graph; returns it and what the call returned.

    Raises what torch or the module raises meanwhile. The stream that was current is so again,
    random numbers can be drawn, and the allocator is out of the graph's pool as far as torch
    allows; yet what a broken capture leaves in libraries is unknown, so nothing should be measured
    in this process then.
    """
    device = work.x.device
    with torch.cuda.device(device):
        current, side = torch.cuda.current_stream(), _side_stream(device)
        # libraries make their handles and work space at first calls, which no graph may hold
        side.wait_stream(current)
        with torch.cuda.stream(side):
            for _ in range(3):
                work.settle()
        current.wait_stream(side)
        work.clear()
        torch.set_grad_enabled(work.mode != "infer")
        graph, pool = torch.cuda.CUDAGraph(), torch.cuda.graph_pool_handle()
        generator = torch.cuda.default_generators[torch.cuda.current_device()]
        drawn = generator.clone_state()
        try:
            with torch.cuda.graph(graph, pool=pool, stream=side):
                output = work.call()
        except BaseException:
            torch.cuda.set_stream(current)
            # the state that was captured refuses to draw outside of a capture for ever
            generator.graphsafe_set_state(drawn)
            with suppress(Exception):  # private, and not needed where the capture ended in order
                torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), pool)
            raise
    return graph, output


@lru_cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """A stream to record on, one for each device: libraries keep work space for every stream."""
    return torch.cuda.Stream(device)


def set_threads(threads: int | None) -> None:
    """Have torch use so many CPU threads; None leaves them as they are."""
    if threads is not None and threads != torch.get_num_threads():
        torch.set_num_threads(threads)


def make_input(case: Case, device: str, seed: int) -> Tensor:
    """Draw the case's input, (B, C, H, W): standard normal, the same for every case of a shape.

    That of a network may have other dimensions; the layout is that of four.
    """
    if device == "meta":
        x = torch.empty(case.input_shape, dtype=torch_dtype(case), device="meta")
    else:
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(case.input_shape, generator=generator).to(device, torch_dtype(case))
    return x.contiguous(memory_format=memory_format(case.layout)) if x.ndim == 4 else x


def make_workload(
    module: nn.Module,
    case: Case,
    device: str,
    seed: int = 0,
    before: Prepare | None = None,
    apply: Apply = eagerly,
    threads: int | None = None,
) -> Workload:
    """Bring a module to the case's dtype, layout and a device, and give it its input.

    The input is drawn from `seed`, the gradient of the output, where the mode needs one, from the
    next; a network's output is a loss, and its images need no gradient. `before`, `apply` and
    `threads` are those of `Workload`.
    """
    module = brought(module, device, torch_dtype(case), memory_format(case.layout))
    alone = case.network is None
    gradient = make_input(case, device, seed + 1) if alone and case.mode != "infer" else None
    x = make_input(case, device, seed)
    return Workload(module, x, case.mode, gradient, before, apply, threads, alone)


def torch_dtype(case: Case) -> torch.dtype:
    """The case's dtype as torch names it."""
    dtype: torch.dtype = getattr(torch, case.dtype)
    return dtype


def elsewhere(x: Tensor, rng: random.Random) -> Tensor:
    """Copy a tensor to a new place: a fresh buffer, and a random offset into it."""
    step = _ALIGNMENT_BYTES[x.device.type]
    shift = rng.randrange(0, _SHIFT_BYTES, step) // x.element_size()
    buffer = torch.empty(x.numel() + shift, dtype=x.dtype, device=x.device)
    return buffer.as_strided(x.shape, x.stride(), shift).copy_(x.detach())


def spacers(device: torch.device, rng: random.Random) -> tuple[Tensor, ...]:
    """Take memory of random sizes, so that what is made behind it lies elsewhere: of each pool."""
    sizes = [rng.randrange(PAGES_BYTES if heap.now() == "steady" else _SHIFT_BYTES)]
    if device.type == "cuda":
        sizes.append(rng.randrange(SMALL_POOL_BYTES + 1, 3 * SMALL_POOL_BYTES))
    return tuple(torch.empty(size, dtype=torch.uint8, device=device) for size in sizes)


def cache_flush(size_bytes: int, device: str) -> Prepare:
    """Make a preparation that fills the last cache of `size_bytes` with what nobody needs.

    It writes 1.5 times the cache, so that what follows is cold. On CUDA it then reads as much that
    is clean: what was written would be written back during the call that is timed.
    """
    written = torch.empty(size_bytes * 3 // 2, dtype=torch.uint8, device=device)
    clean_floats = 0 if device == "cpu" else size_bytes * 3 // 8
    clean = torch.zeros(clean_floats, dtype=torch.float32, device=device)

    def flush() -> None:
        written.zero_()
        if clean_floats:
            clean.sum()

    return flush


def memory_format(layout: Layout) -> torch.memory_format:
    """A layout as torch names it."""
    return torch.channels_last if layout == "channels_last" else torch.contiguous_format
