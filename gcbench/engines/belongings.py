"""What a block's code may change of the process that it shares with others, and setting it back."""

import copy
import gc
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import backends, nn

from gcbench.measure.environment import set_torch, torch_settings

# what measuring and all other blocks call by its name
_SHARED: dict[str, ModuleType | type] = {
    "torch": torch,
    "torch.nn": nn,
    "torch.nn.functional": nn.functional,
    "torch.nn.init": nn.init,
    "torch.Tensor": torch.Tensor,
    "torch.nn.Module": nn.Module,
    "torch.nn.Conv2d": nn.Conv2d,
    "torch.nn.Linear": nn.Linear,
    "copy": copy,
    "gc": gc,
    "math": math,
    "random": random,
    "time": time,
}


@dataclass(frozen=True)
class _Switch:
    """A setting of the process: how it is read, and how it is set."""

    name: str
    read: Callable[[], Any]
    set: Callable[[Any], object]


def _set_deterministic(value: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(value[0], warn_only=value[1])


def _set_mkldnn(value: bool) -> None:
    backends.mkldnn.set_flags(value)


def _set_collecting(value: bool) -> None:
    (gc.enable if value else gc.disable)()


_SWITCHES = (
    _Switch("threads", torch.get_num_threads, torch.set_num_threads),
    _Switch("default dtype", torch.get_default_dtype, torch.set_default_dtype),
    # the one that was set is only known to have been: none is torch's own
    _Switch("default device", torch.get_default_device, lambda _: torch.set_default_device(None)),
    _Switch(
        "deterministic algorithms",
        lambda: (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        _set_deterministic,
    ),
    _Switch("torch's switches", torch_settings, set_torch),
    _Switch("autocast", torch.is_autocast_enabled, torch.set_autocast_enabled),
    _Switch("anomaly mode", torch.is_anomaly_enabled, torch.set_anomaly_enabled),
    _Switch("cores", lambda: os.sched_getaffinity(0), lambda cores: os.sched_setaffinity(0, cores)),
    _Switch("garbage collection", gc.isenabled, _set_collecting),
    _Switch("working directory", os.getcwd, os.chdir),
)


class Belongings:
    """What a process had before a block's code ran in it."""

    def __init__(self) -> None:
        """Look at it now."""
        self._names = {place: dict(vars(shared)) for place, shared in _SHARED.items()}
        self._values = dict(_readings())
        # what was set back so far, each name once
        self._found: tuple[dict[str, None], dict[str, None]] = {}, {}

    def set_back(self) -> None:
        """Set back what has changed, and remember it."""
        replaced, changed = self._found
        replaced |= dict.fromkeys(self._replaced())
        now = dict(_readings())
        for switch in _SWITCHES:
            if switch.name in now and now[switch.name] != self._values.get(switch.name):
                changed[switch.name] = None
                # a system may refuse
                with suppress(Exception):
                    switch.set(self._values[switch.name])

    @property
    def words(self) -> str:
        """Say what was set back so far; empty where nothing was."""
        replaced, changed = map(list, self._found)
        said = [f"it replaces {listed(replaced)}"] if replaced else []
        said += [f"it changes its process: {listed(changed)}"] if changed else []
        return " and ".join(said)

    def _replaced(self) -> Iterator[str]:
        for place, shared in _SHARED.items():
            now = vars(shared)
            for name, value in self._names[place].items():
                called = callable(value) and not name.startswith("_")
                if called and not _is_same(now.get(name), value):
                    with suppress(Exception):
                        setattr(shared, name, value)
                    yield f"{place}.{name}"


def _is_same(now: Any, before: Any) -> bool:
    """Whether a name stands for the same still, or for what torch itself wrapped around it."""
    if now is before:
        return True
    marks = [
        (getattr(it, "__module__", None), getattr(it, "__qualname__", None)) for it in (now, before)
    ]
    return callable(now) and None not in marks[0] and marks[0] == marks[1]


def _readings() -> Iterator[tuple[str, Any]]:
    for switch in _SWITCHES:
        # not every system has all of them
        with suppress(Exception):
            yield switch.name, switch.read()


def listed(names: Sequence[str], most: int = 3) -> str:
    """Name some of what was changed.

    >>> listed(["a", "b"]), listed(["a", "b", "c", "d"])
    ('a, b', 'a, b, c and 1 more')
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
