"""What a case names, made: a block, or a network with blocks inside."""

from typing import TYPE_CHECKING

from gcbench import blocks, networks
from gcbench.blocks.forms import flags as flags_of
from gcbench.spec.cases import Case

if TYPE_CHECKING:
    from torch import nn


def build_case(case: Case, seed: int) -> "nn.Module":
    """Build what a case names on the CPU in float32, its weights drawn from `seed`.

    Raises UsageError with the reason where it cannot be built.
    """
    return (
        blocks.build_case(case, seed) if case.network is None else networks.build_case(case, seed)
    )


def is_known(case: Case) -> bool:
    """Tell whether all code of a case is gcbench's, torchvision's or torch's.

    Other code may keep what it makes, and is not to meet the meta device where it is then timed.
    """
    return is_ours(case) or (case.network is None and blocks.is_known(case.spec))


def is_ours(case: Case) -> bool:
    """Tell whether a case is a block of the table, or a network of the table with such blocks."""
    return blocks.is_ours(case.spec) if case.network is None else networks.is_ours(case)


def build_meta(case: Case) -> "nn.Module":
    """Build what a case names on the meta device: shapes without numbers or memory."""
    return blocks.build_meta(case) if case.network is None else networks.build_meta(case)


def flags(module: "nn.Module") -> tuple[str, ...]:
    """What a block, or a block inside a network, finds special about its configuration."""
    from gcbench.networks.with_block import inserted

    found = [*flags_of(module), *(f for _, b in inserted(module) for f in flags_of(b))]
    return tuple(dict.fromkeys(found))
