"""Names that stand for several blocks: `@light`, `@timm`, so that one command compares a family.

A group is read off the table of blocks, by what the leading terms of their MACs are, and off the
tables of libraries. Importing this imports neither torch nor a library.
"""

from collections.abc import Iterable

from gcbench.blocks.catalog import BLOCKS
from gcbench.blocks.peers import LIBRARIES
from gcbench.errors import UsageError
from gcbench.registry import suggestion

MARK = "@"

# the tiers of `BlockEntry.tier`
TIERS = {
    "light": "no C x C product at every position",
    "linear": "products at every position, of a cost below N^2",
    "quadratic": "a map of N x N",
}


def known() -> dict[str, tuple[str, ...]]:
    """Every group, and the block specs that it stands for in their order."""
    tiers = {tier: tuple(entry.name for entry in BLOCKS if entry.tier == tier) for tier in TIERS}
    libraries = {library.name: library.specs for library in LIBRARIES}
    return {**tiers, "all": tuple(entry.name for entry in BLOCKS), **libraries}


def expanded(names: Iterable[str]) -> list[str]:
    """Put its blocks in the place of every group, and leave block specs as they are.

    Raises UsageError where there is no such group.

    >>> expanded(["gc", "@quadratic"])
    ['gc', 'nl', 'dnl', 'mhsa', 'bot']
    """
    groups = known()
    found: list[str] = []
    for name in names:
        if not name.startswith(MARK):
            found.append(name)
            continue
        wanted = name.removeprefix(MARK)
        if wanted not in groups:
            marked = [f"{MARK}{group}" for group in groups]
            raise UsageError(f"unknown group {name!r}: {suggestion(name, marked)}")
        # a block that is named, or in two groups, is not meant twice
        found += [each for each in groups[wanted] if each not in found]
    return found


def inserted(texts: Iterable[str]) -> list[str]:
    """Put one insertion for each of its blocks in the place of that of a group: `@light@c4.last`.

    Raises UsageError where there is no such group.

    >>> inserted(["gc@c4.last", "@quadratic@c5.last"])[:3]
    ['gc@c4.last', 'nl@c5.last', 'dnl@c5.last']
    """
    found: list[str] = []
    for text in texts:
        group, _, places = text.removeprefix(MARK).partition("@")
        named = expanded([f"{MARK}{group}"]) if text.startswith(MARK) else []
        found += [f"{name}@{places}" for name in named] or [text]
    return found
