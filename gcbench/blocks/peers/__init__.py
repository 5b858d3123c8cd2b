"""Blocks of others, by name: of libraries that gcbench knows, of packages that announce theirs.

A library is one file here and one line in the table below. The file's `factory(name)` returns what
makes the layer of that name from the channels and options, `remark(name)` says what is known to be
broken in it or asked of the shape, and `NAMES` are the layers that it knows; `NEEDED`, where it is
there, has the options without which a layer cannot be built. A library is imported only when a
layer of it is named.

A package announces its blocks as entry points of the group `gcbench.blocks`, which are read from
its metadata: nothing of it is imported before its block is named.
"""

import importlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

from gcbench.errors import UsageError, worded
from gcbench.registry import Entry, Registry, nearest, suggestion

GROUP = "gcbench.blocks"


@dataclass(frozen=True)
class Library(Entry):
    """A line of the table: the entry, whose target is a file here, and what pip installs."""

    install: str

    def load(self) -> ModuleType:
        """Import the file that adapts the library; the library itself is not imported."""
        return importlib.import_module(self.target)

    @property
    def names(self) -> tuple[str, ...]:
        """The layers that gcbench knows of the library, whether it is installed or not."""
        names: tuple[str, ...] = self.load().NAMES
        return names

    @property
    def specs(self) -> tuple[str, ...]:
        """Block specs of all its layers that can be built, with the options that this takes."""
        needed: Mapping[str, str] = getattr(self.load(), "NEEDED", {})
        return tuple(
            f"{self.name}/{name}" + (f":{needed[name]}" if name in needed else "")
            for name in self.names
        )

    def require(self) -> None:
        """Import the library. Raises UsageError, with the pip command where it is missing."""
        what = f"blocks {self.name}/..."
        try:
            importlib.import_module(self.name)
        except ModuleNotFoundError as error:
            if error.name != self.name:
                raise UsageError(f"{what}: {self.name} lacks a module: {error}") from error
            raise UsageError(
                f"{what}: {self.name} is not installed: pip install '{self.install}'"
            ) from error
        except Exception as error:
            raise UsageError(f"{what}: cannot import {self.name!r}: {worded(error)}") from error


LIBRARIES: Registry[Library] = Registry(
    "library",
    (
        Library(
            "timm",
            "gcbench.blocks.peers.timm",
            "every attention layer that timm's create_attn knows; rd_ratio = 1/ratio",
            "gcbench[timm]",
        ),
        Library(
            "mmcv",
            "gcbench.blocks.peers.mmcv",
            "mmcv's plug-in blocks; ContextBlock's ratio = 1/ratio",
            "gcbench[mmcv]",
        ),
        Library(
            "torchvision",
            "gcbench.blocks.peers.torchvision",
            "torchvision's layer; squeeze_channels = C // ratio",
            "torchvision",
        ),
    ),
)


def factory(target: str) -> Any:
    """Find what makes `LIBRARY/NAME` from the channels and options.

    Raises UsageError where gcbench knows no such library or layer, or the library is missing.
    """
    library, name = _named(target)
    library.require()
    return library.load().factory(name)


def require_known(target: str) -> None:
    """Make sure that `LIBRARY/NAME` is known; the library is not imported. Raises UsageError."""
    _named(target)


def remark(target: str) -> str:
    """Say what is known to be broken in `LIBRARY/NAME`, or asked of its shape; else nothing."""
    library, name = _named(target)
    words: str = library.load().remark(name)
    return words


def _named(target: str) -> tuple[Library, str]:
    first, _, name = target.partition("/")
    if first not in LIBRARIES:
        every = [f"{library.name}/{known}" for library in LIBRARIES for known in library.names]
        near = nearest(target, every)
        hint = f"did you mean {near!r}? " if near else ""
        libraries = ", ".join(f"{library.name}/NAME" for library in LIBRARIES)
        raise UsageError(
            f"unknown block {target!r}: {hint}known: {libraries}; a file of yours is FILE.py:CLASS"
        )
    library = LIBRARIES[first]
    if name not in library.names:
        raise UsageError(f"{first} has no block {name!r}: {suggestion(name, library.names)}")
    return library, name


def announced(taken: Sequence[str]) -> tuple[list[EntryPoint], list[str]]:
    """Read which blocks installed packages announce, and importing nothing of them.

    Returns them, and a sentence for each that cannot be had by name: because the name is among
    those `taken`, or two packages announce it, or it is none.
    """
    found = sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value))
    times = Counter(point.name for point in found)
    usable, clashes = [], []
    for point in found:
        if point.name in taken:
            why = "gcbench has a block of that name"
        elif times[point.name] > 1:
            why = "another package announces a block of that name"
        elif not re.fullmatch(r"[\w.-]+", point.name):
            why = "a name has letters, digits, '_', '-' and '.' only"
        else:
            usable.append(point)
            continue
        target = f"{point.module}:{point.attr}"
        clashes.append(f"{point.name!r} of {origin(point)} is to be named as {target}: {why}")
    return usable, clashes


def origin(point: EntryPoint) -> str:
    """Name the package that announces a block, and its version."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unnamed package"
