"""Manifests as text, and what sets two of them apart."""

from collections.abc import Iterator, Mapping

import msgspec

from gcbench.records import Cell, Manifest
from gcbench.units import size_text

# what may differ between two sessions of one run; all else makes latencies incomparable
_FREE = (
    *("run", "started", "command", "memory_bytes", "load_1min", "warnings", "sweep", "schema"),
    *("origins", "engine", "runtimes"),
)
# torch sets this one itself
_FREE_VARIABLES = ("TORCHINDUCTOR_CACHE_DIR",)
# the fields that hold several things, and the word before each of their names
_NAMED = {"versions": "", "devices": "device ", "flags": "flag ", "variables": "variable "}


# of all that, what a cluster shares with the machine from which it is asked
_EVERYWHERE = ("gcbench version", "torch", "seed")


def lines_of(record: Manifest) -> Iterator[tuple[str, str]]:
    """List a manifest's fields as names and short text; what is empty or unknown is left out."""
    for name, value in msgspec.to_builtins(record).items():
        if name == "gpus":
            yield from ((f"gpu.{key}", str(text)) for key, text in _of_gpus(value))
        elif name == "runtimes":
            yield from ((f"runtime.{key}", str(text)) for key, text in _of_runtimes(value))
        elif isinstance(value, dict):
            yield from ((f"{name}.{key}", str(text)) for key, text in value.items())
        elif name not in ("run", "seed", "command", "warnings", "sweep", "schema") and (
            value is not None
        ):
            size = name.endswith("_bytes")
            yield name.removesuffix("_bytes"), size_text(value) if size else str(value)


def mismatches(
    old: Manifest,
    new: Manifest,
    words: tuple[str, str] = ("{} then", "{} now"),
    elsewhere: bool = False,
) -> list[str]:
    """Say in words what makes measurements under two manifests incomparable; empty where nothing.

    That is a change of the machine, its devices, the versions, the settings or the seed; not of the
    time, the command or the load, nor whether a runtime that is not torch's own is installed (its
    rows could not be there). `words` say whose value is whose. Where it is measured
    `elsewhere`, on a cluster, what this machine is does not matter.
    """
    before, after = dict(_conditions(old)), dict(_conditions(new))
    shared = old.runtimes.keys() & new.runtimes.keys()
    for conditions, record in ((before, old), (after, new)):
        installed = {name: record.runtimes[name] for name in shared}
        conditions.update((f"runtime {key}", text) for key, text in _of_runtimes(installed))
    if elsewhere:
        before, after = ({n: c[n] for n in _EVERYWHERE} for c in (before, after))
    return [
        f"{name}: {words[0].format(_word(before.get(name)))}, "
        f"{words[1].format(_word(after.get(name)))}"
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name)
    ]


def _conditions(record: Manifest) -> Iterator[tuple[str, Cell]]:
    for name, value in msgspec.to_builtins(record).items():
        if name == "gpus":
            yield from _of_gpus(value)
        elif name in _NAMED:
            yield from (
                (_NAMED[name] + key, v) for key, v in value.items() if key not in _FREE_VARIABLES
            )
        elif name not in _FREE:
            yield name.replace("_", " "), value


def _of_gpus(gpus: Mapping[str, Mapping[str, Cell]]) -> Iterator[tuple[str, Cell]]:
    """What is known of each GPU, by its name and that of the field."""
    for device, known in gpus.items():
        for name, value in known.items():
            if value is not None:
                yield f"{device} {name.replace('_', ' ')}", value


def _of_runtimes(runtimes: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, str]]:
    """The versions and settings of runtimes, by the name of each and of what it is."""
    for runtime, told in runtimes.items():
        yield from ((f"{runtime} {name}", text) for name, text in told.items())


def _word(value: Cell) -> str:
    return "none" if value is None else str(value)
