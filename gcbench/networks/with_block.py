"""A module of a network with blocks behind it, under the names that it had without them.

In state dicts everything that was there keeps its name, and what was put behind `layer3.4.bn3` is
`layer3.4.bn3.inserted.0`: weights of the plain network load into one with blocks (strict=False, and
nothing but `.inserted.` is missing), and those of one with blocks into the same again.
"""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn


class ChannelsSecond(nn.Module):
    """A block where a network keeps its channels last: it is called between two permutations.

    What comes out lies in memory as what came in: with channels last.
    """

    def __init__(self, block: nn.Module) -> None:
        """Take over a block of (B, C, ...)."""
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """(B, ..., C) -> (B, ..., C), gone through the block as (B, C, ...)."""
        output: Tensor = self.block(x.movedim(-1, 1))
        return output.movedim(1, -1).contiguous()


class WithBlock(nn.Module):
    """A module of a network, and the blocks behind it, in a row."""

    def __init__(self, place: nn.Module, block: nn.Module) -> None:
        """Put the first block behind a module."""
        super().__init__()
        self.place = place
        self.inserted = nn.Sequential(block)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Whatever the module takes -> its output, gone through the blocks."""
        output: Tensor = self.inserted(self.place(*args, **kwargs))
        return output

    def state_dict(self, *args: Any, prefix: str = "", **kwargs: Any) -> Any:
        """As torch's, with the names that the module had without a block."""
        found = super().state_dict(*args, prefix=prefix, **kwargs)
        inner = f"{prefix}place."
        for name in [name for name in found if name.startswith(inner)]:
            found[prefix + name[len(inner) :]] = found.pop(name)
        return found

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        ours = (f"{prefix}place.", f"{prefix}inserted.")
        for name in list(state_dict):
            if name.startswith(prefix) and not name.startswith(ours):
                state_dict[ours[0] + name[len(prefix) :]] = state_dict.pop(name)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def inserted(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The path of the module behind which each block of a network stands, and the block."""
    for path, module in model.named_modules():
        if isinstance(module, WithBlock):
            for block in module.inserted:
                yield path, block.block if isinstance(block, ChannelsSecond) else block
