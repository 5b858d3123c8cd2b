"""One case made runnable: a module, its input, and the call that the case's mode asks for."""

import copy
import random
from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

from gcbench.spec import Case, Layout, Mode

Prepare = Callable[[], None]

# A new place in memory: up to this many bytes before a buffer, in steps that keep torch's alignment
_SHIFT_BYTES, _ALIGNMENT_BYTES = 2**16, 64


class Workload:
    """A module and its input, called as the mode says.

    `prepare` does what must not be timed; `call` is what is timed and returns the output, or None
    where the mode ends in a backward pass. `repeatable` tells whether several calls may follow one
    preparation.
    """

    def __init__(
        self,
        module: nn.Module,
        x: Tensor,
        mode: Mode = "infer",
        gradient: Tensor | None = None,
        before: Prepare | None = None,
    ) -> None:
        """Take the module over in the mode's state.

        A backward pass starts from `gradient`, shaped like the output; `before` runs last in every
        preparation.
        """
        self.module = module.train(mode != "infer")
        self.x = x.requires_grad_(mode != "infer")
        self.repeatable = mode == "infer" and before is None
        self._mode = mode
        self._gradient = gradient
        self._before = before
        self._output: Tensor | None = None

    def prepare(self) -> None:
        """Bring the state to where the timed part begins. Leaves gradients on or off, as needed."""
        torch.set_grad_enabled(self._mode != "infer")
        if self._mode != "infer":
            self.module.zero_grad(set_to_none=True)
            self.x.grad = None
        if self._mode == "backward":
            self._output = self.module(self.x)
        if self._before is not None:
            self._before()

    def call(self) -> Tensor | None:
        """Do the work once: a forward pass, a forward and a backward pass, or a backward pass."""
        if self._mode == "infer":
            return self._forward()
        output = self._forward() if self._output is None else self._output
        self._output = None
        output.backward(self._gradient)
        return None

    def elsewhere(self, rng: random.Random) -> Self:
        """Rebuild the module from the same weights and the input from the same values."""
        # without a spacer, small weights would fall back into the hole that the last copy left
        spacer = torch.empty(rng.randrange(_SHIFT_BYTES), dtype=torch.uint8, device=self.x.device)
        moved = type(self)(
            copy.deepcopy(self.module),
            elsewhere(self.x, rng),
            self._mode,
            None if self._gradient is None else elsewhere(self._gradient, rng),
            self._before,
        )
        moved._spacer = spacer
        return moved

    def _forward(self) -> Tensor:
        output: Tensor = self.module(self.x)
        return output

    _spacer: Tensor | None = None


class Copy:
    """One clone of the input: the unit of memory traffic."""

    def __init__(self, x: Tensor, before: Prepare | None = None) -> None:
        """Clone `x` when called; `before` runs last in every preparation."""
        self.x = x
        self.repeatable = before is None
        self._before = before

    def prepare(self) -> None:
        """Bring the state to where the timed part begins. Leaves gradients off."""
        torch.set_grad_enabled(False)
        if self._before is not None:
            self._before()

    def call(self) -> Tensor:
        """Copy the input once."""
        return self.x.clone()

    def elsewhere(self, rng: random.Random) -> Self:
        """Put the input at a new place in memory."""
        return type(self)(elsewhere(self.x, rng), self._before)


def make_input(case: Case, device: str, seed: int) -> Tensor:
    """Draw the case's input (B, C, H, W): standard normal, the same for every case of a shape."""
    if device == "meta":
        x = torch.empty(case.shape, dtype=torch_dtype(case), device="meta")
    else:
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(case.shape, generator=generator).to(device, torch_dtype(case))
    return x.contiguous(memory_format=_memory_format(case.layout))


def make_workload(
    module: nn.Module, case: Case, device: str, seed: int = 0, before: Prepare | None = None
) -> Workload:
    """Bring a module to the case's dtype, layout and a device, and give it its input.

    The input is drawn from `seed`, the gradient of the output, where the mode needs one, from the
    next.
    """
    module = module.to(device=device, dtype=torch_dtype(case))
    module = module.to(memory_format=_memory_format(case.layout))
    gradient = None if case.mode == "infer" else make_input(case, device, seed + 1)
    return Workload(module, make_input(case, device, seed), case.mode, gradient, before)


def torch_dtype(case: Case) -> torch.dtype:
    """The case's dtype as torch names it."""
    dtype: torch.dtype = getattr(torch, case.dtype)
    return dtype


def elsewhere(x: Tensor, rng: random.Random) -> Tensor:
    """Copy a tensor to a new place: a fresh buffer, and a random offset into it."""
    shift = rng.randrange(0, _SHIFT_BYTES, _ALIGNMENT_BYTES) // x.element_size()
    buffer = torch.empty(x.numel() + shift, dtype=x.dtype, device=x.device)
    return buffer.as_strided(x.shape, x.stride(), shift).copy_(x.detach())


def cache_flush(size_bytes: int, device: str) -> Prepare:
    """Make a preparation that writes 1.5 times the cache, so that what follows is cold."""
    buffer = torch.empty(size_bytes * 3 // 2, dtype=torch.uint8, device=device)

    def flush() -> None:
        buffer.zero_()

    return flush


def _memory_format(layout: Layout) -> torch.memory_format:
    return torch.channels_last if layout == "channels_last" else torch.contiguous_format
