"""Calls without torch's compiler: nothing is compiled, and it is not loaded to be told so.

torch's own Python formulas for the meta device ask the compiler to leave them alone, and to ask
loads it: most of a second, once in every process that counts.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

_COMPILER = "torch._dynamo"
# where torch keeps what it was told of a function
_TOLD = "__dynamo_disable"


@contextmanager
def uncompiled() -> Iterator[None]:
    """Run inside as it is written what torch.compile made; load no compiler for that."""
    loaded = sys.modules.get(_COMPILER)
    if isinstance(loaded, _NotLoaded):
        yield
    elif loaded is not None:
        with torch.compiler.set_stance("force_eager"):
            yield
    else:
        stand_in = _NotLoaded()
        sys.modules[_COMPILER] = stand_in
        try:
            yield
        finally:
            stand_in.leave()


class _NotLoaded(ModuleType):
    """Stands for the compiler while it is not loaded, and gives way to it if it is wanted."""

    def __init__(self) -> None:
        super().__init__(_COMPILER)
        self._left_alone: list[Any] = []

    def disable(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        """Leave a function alone, which nothing would compile; for as long as this stands here."""
        self._left_alone.append(fn)
        return fn

    def leave(self) -> None:
        """Be here no longer, and have all functions ask again."""
        if sys.modules.get(_COMPILER) is self:
            del sys.modules[_COMPILER]
        for fn in self._left_alone:
            vars(fn).pop(_TOLD, None)
        self._left_alone.clear()

    def __getattr__(self, name: str) -> Any:
        """What else is asked for, the compiler has."""
        # what looks at every module that there is wants nothing of this one
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)
        self.leave()
        return getattr(importlib.import_module(_COMPILER), name)
