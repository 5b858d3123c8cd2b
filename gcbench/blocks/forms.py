"""The closed forms of a block, where it has some: what they say, and whether they say all."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from gcbench.errors import CountingError
from gcbench.spec.cases import ELEMENT_BYTES, Case, Shape

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")
# what a closed form says: parameters, MACs of a forward pass, elements that must move
FORMS = ("params", "macs", "min_elements")


def closed_form(module: "nn.Module", shape: Shape) -> dict[str, int] | None:
    """Evaluate the block's closed forms at (B, C, H, W); None where it has none.

    Raises CountingError where they lack one, and whatever the block's own functions raise.
    """
    block: Any = module
    return formed(block, block.letters(shape)) if has_closed_form(block) else None


def formed(block: Any, letters: Mapping[str, T]) -> dict[str, T]:
    """Evaluate closed forms with these letters, numbers or symbols; raises as `closed_form`."""
    forms: dict[str, T] = block.closed_form(**letters)
    missing = [name for name in FORMS if name not in forms]
    if missing:
        raise CountingError(f"closed_form of {type(block).__name__} lacks {', '.join(missing)}")
    return forms


def alive_bytes(module: "nn.Module", case: Case) -> int | None:
    """Evaluate the closed form of the peak of bytes that a forward pass makes; None without one."""
    block: Any = module
    if not has_closed_forms(block):
        return None
    return max(block.alive_bytes(**block.letters(case.shape), e=ELEMENT_BYTES[case.dtype]))


def flags(module: "nn.Module") -> tuple[str, ...]:
    """What the block itself finds special about its configuration."""
    block: Any = module
    return tuple(block.flags()) if has_closed_form(block) and hasattr(block, "flags") else ()


def has_closed_forms(block: object) -> bool:
    """Tell whether a block has closed forms of everything, memory included."""
    return has_closed_form(block) and callable(getattr(block, "alive_bytes", None))


def has_closed_form(block: object) -> bool:
    """Tell whether a block has closed forms of parameters, MACs and elements that must move."""
    # both, so that an attribute of a user's module that happens to have one name is left alone
    return all(callable(getattr(block, name, None)) for name in ("letters", "closed_form"))
