"""Short names of cases, and the words for the values of axes: what tables and sentences share."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

# the axes beside block and ratio, and how a heading says a value of theirs
AXES: dict[str, Callable[[str], str]] = {
    "batch": "batch {}".format,
    "channels": "{} channels".format,
    "size": str,
    "dtype": str,
    "device": str,
    "layout": str,
    "mode": str,
    "runtime": str,
    "cache": "{} cache".format,
    "threads": "threads {}".format,
    "regime": str,
    "heap": "{} heap".format,
}
# what goes without saying: a heap wherever there is but one
USUAL = {"regime": ("burst",), "heap": ("steady", "default", "none")}
# beside them the kind of device, which differs within a run where a cluster has several
TOLD: dict[str, Callable[[str], str]] = {**AXES, "device_name": str}


def label(row: Mapping[str, Any]) -> str:
    """A short name of a row among those of its comparison."""
    return label_of_key(row["key"], row["network"])


def label_of_key(key: str, network: str | None = None) -> str:
    """A short name of a case: its spec, its ratio, and which copy it is; not the network around it.

    >>> label_of_key("gc|ratio=16|1x256x56x56|float32|cpu|contiguous|infer|eager|warm|threads=2#2")
    'gc r16 #2'
    >>> label_of_key("gc|1x256x56x56|float32|cuda|contiguous|infer|eager|warm|threads=2|sustained")
    'gc'
    >>> label_of_key("gc|1x256x56x56|float32|cpu|contiguous|infer|eager|warm|threads=2|heap=steady")
    'gc'
    """
    # eight axes stand behind, and up to two more: a regime that is not the usual one, and a heap of
    # its own; a spec may hold anything
    behind = re.search(r"\|threads=\w+((?:\|\w+)?(?:\|heap=\w+)?)(#[0-9]+)?$", key)
    more = behind[1].count("|") if behind else 0
    first, *axes = key.removeprefix(f"{network}|").rsplit("|", 8 + more)
    ratio = re.fullmatch(r"(.*)\|ratio=([0-9]+)", first, re.DOTALL)
    copy = axes[-1].partition("#")[2] if axes else ""
    return (f"{ratio[1]} r{ratio[2]}" if ratio else first) + (f" #{copy}" if copy else "")


def label_without_ratio(row: Mapping[str, Any]) -> str:
    """The label, where the ratio has a place of its own."""
    return label(row).replace(f" r{row['ratio']}", "", 1)


def full_label(row: Mapping[str, Any]) -> str:
    """The label, and the value of the paired axis where there is one."""
    pair = row["pair"]
    return f"{label(row)} ({pair} {row[pair]})" if pair else label(row)


def axis_word(row: Mapping[str, Any], axis: str) -> str:
    """The value of an axis as a word; a size is HxW.

    >>> axis_word({"height": 7, "width": 14}, "size"), axis_word({"threads": None}, "threads")
    ('7x14', 'none')
    """
    if axis == "size":
        return f"{row['height']}x{row['width']}"
    return "none" if row[axis] is None else str(row[axis])


def shared(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The axes in which all rows are alike, with that value as a word."""
    seen: dict[str, set[str]] = {axis: set() for axis in AXES}
    for row in rows:
        for axis, words in seen.items():
            words.add(axis_word(row, axis))
    return {axis: words.pop() for axis, words in seen.items() if len(words) == 1}


def axes_text(words: Mapping[str, str]) -> str:
    """Values of axes in a line.

    >>> axes_text({"batch": "1", "size": "7x7", "cache": "warm"})
    'batch 1 · 7x7 · warm cache'
    """
    return " · ".join(TOLD[axis](word) for axis, word in unusual(words).items())


def unusual(words: Mapping[str, str]) -> dict[str, str]:
    """Values of axes without what goes without saying."""
    return {axis: word for axis, word in words.items() if word not in USUAL.get(axis, ())}
