"""Tables of things that are found by name and imported when they are used.

An entry names its target as text (`"package.module:attribute"`), so a table can be listed without
importing what it lists.
"""

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from gcbench.errors import UsageError, quoted, worded

# more names than these are told only where none is near
MOST_KNOWN = 30


@dataclass(frozen=True)
class Entry:
    """One line of a table: a name, what it stands for, and one sentence about it."""

    name: str
    target: str
    summary: str

    def load(self) -> Any:
        """Import the target and return it."""
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)


E_co = TypeVar("E_co", bound=Entry, covariant=True)


class Registry(Generic[E_co]):
    """An ordered table of entries of one kind.

    >>> table = Registry("fruit", [Entry("apple", "a:b", ""), Entry("pear", "a:c", "")])
    >>> table["appel"]
    Traceback (most recent call last):
    gcbench.errors.UsageError: unknown fruit 'appel': did you mean 'apple'? known: apple, pear
    """

    def __init__(self, kind: str, entries: Iterable[E_co]) -> None:
        """Keep the entries in order. Raises ValueError where two carry one name."""
        self.kind = kind
        self._entries: dict[str, E_co] = {}
        for entry in entries:
            if entry.name in self._entries:
                raise ValueError(f"two entries of the {kind} table are named {entry.name!r}")
            self._entries[entry.name] = entry

    def __iter__(self) -> Iterator[E_co]:
        """Go through the entries in the table's order."""
        return iter(self._entries.values())

    def __len__(self) -> int:
        """Count the entries."""
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        """Tell whether an entry has this name."""
        return name in self._entries

    def __getitem__(self, name: str) -> E_co:
        """Return the entry of this name. Raises UsageError with the nearest name and all names."""
        if name not in self._entries:
            raise UsageError(
                f"unknown {self.kind} {quoted(name)}: {suggestion(name, self._entries)}"
            )
        return self._entries[name]


def imported(what: str, target: str) -> Any:
    """Import what a user's `module:attribute` names; `what` begins the sentence of an error.

    Modules are looked for in the working directory too. Raises UsageError where there is none, or
    where it cannot be called.
    """
    module, _, attribute = target.partition(":")
    look_here()
    try:
        found = _of_file(Path(module)) if is_file(module) else importlib.import_module(module)
        factory = getattr(found, attribute, None)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a user's module may raise anything
        raise UsageError(f"{what}: cannot import {module!r}: {worded(error)}") from error
    if not callable(factory):
        known = [n for n, v in vars(found).items() if inspect.isclass(v) or inspect.isfunction(v)]
        raise UsageError(
            f"{what}: module {module!r} has no class or function {attribute!r}: "
            f"{suggestion(attribute, known)}"
        )
    return factory


def is_file(module: str) -> bool:
    """Tell whether a module is named by its file."""
    return module.endswith(".py")


def _of_file(path: Path) -> ModuleType:
    """Import a file, once; its folder is looked through for what it imports, as for a script."""
    path = path.expanduser().resolve()
    # no name of a library's, whatever the file is called
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def look_here() -> None:
    """Have modules looked for in the working directory too."""
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


def suggestion(word: str, known: Iterable[str]) -> str:
    """Say what a mistyped word may have meant, and all that it could have been.

    >>> suggestion("pooing", ["pooling", "ratio"])
    "did you mean 'pooling'? known: pooling, ratio"
    >>> suggestion("x", ["pooling"])
    'known: pooling'

    Where there are very many and some are near, those alone are told.
    """
    names = list(known)
    near = nearest(word, names)
    if near and len(names) > MOST_KNOWN:
        others = difflib.get_close_matches(word, names)[1:]
        more = f" or {' or '.join(map(repr, others))}" if others else ""
        return f"did you mean {near!r}{more}?"
    hint = f"did you mean {near!r}? " if near else ""
    return f"{hint}known: {', '.join(names) or 'none'}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name that a mistyped word is most like, if any is.

    >>> nearest("GC", ["gc", "se"]), nearest("contextblok", ["gc", "mmcv/ContextBlock"])
    ('gc', 'mmcv/ContextBlock')
    """
    names = list(known)
    found = difflib.get_close_matches(word, names, n=1)
    if found:
        return found[0]
    # in other letters, or without the library that it is of
    plain = {name.rpartition("/")[2].lower(): name for name in reversed(names)}
    found = difflib.get_close_matches(word.rpartition("/")[2].lower(), plain, n=1)
    return plain[found[0]] if found else None
