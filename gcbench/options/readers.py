"""How the texts of options become values, and back: lists, ranges, sizes, shapes, choices.

A reader takes what was given to one name: pairs of a place (an option, a variable, a path into a
file) and a text. It raises UsageError, which names the place.
"""

import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from gcbench.errors import UsageError, quoted
from gcbench.spec import cases
from gcbench.spec.cases import Axes, Shape
from gcbench.spec.filters import parse_where

MOST_VALUES = 10_000
AUTO = "auto"

# where a text was given (an option, or a path into a file), and the text
Given = tuple[str, str]
V = TypeVar("V")


def one(read: Callable[[str, str], V]) -> Callable[[Sequence[Given]], V]:
    """Read exactly one text."""

    def reader(given: Sequence[Given]) -> V:
        if len(given) != 1:
            raise UsageError(f"{given[0][0]} takes one value, not {len(given)}")
        return read(*given[0])

    return reader


def each(read: Callable[[str, str], V]) -> Callable[[Sequence[Given]], tuple[V, ...]]:
    """Read every text as it is, each value as often as it is named."""
    return lambda given: tuple(read(place, text) for place, text in given)


def many(read: Callable[[str, str], Sequence[V]]) -> Callable[[Sequence[Given]], tuple[V, ...]]:
    """Read lists: every part of every text may give several values; each value is kept once."""

    def reader(given: Sequence[Given]) -> tuple[V, ...]:
        found: dict[V, None] = {}
        for place, text in given:
            for item in text.split(","):
                if not item.strip():
                    raise UsageError(
                        f"{place}: nothing stands between two commas of {quoted(text)}"
                    )
                found |= dict.fromkeys(read(place, item.strip()))
                _require_few(place, len(found), text)
        return tuple(found)

    return reader


def parse_counts(place: str, item: str) -> Sequence[int]:
    """Read one part of a list: a number, or a range. Raises UsageError, which names the place.

    >>> parse_counts("--size", "14"), list(parse_counts("--size", "14:56:14"))
    ([14], [14, 28, 42, 56])
    >>> parse_counts("--size", "7..56x2")
    [7, 14, 28, 56]
    """
    if re.fullmatch(r"[0-9]+", item):
        return [cases.parse_count(place, item)]
    if steps := re.fullmatch(r"([0-9]+):([0-9]+)(?::([0-9]+))?", item):
        start, stop, step = (cases.parse_count(place, end or "1") for end in steps.groups())
        _require_upwards(place, item, start, stop)
        _require_few(place, (stop - start) // step + 1, item)
        return range(start, stop + 1, step)
    if factors := re.fullmatch(r"([0-9]+)\.\.([0-9]+)x([0-9]+)", item):
        start, stop = (cases.parse_count(place, end) for end in factors.groups()[:2])
        factor = cases.parse_count(
            f"{place}, as the factor of {quoted(item)},", factors[3], least=2
        )
        _require_upwards(place, item, start, stop)
        powers = itertools.takewhile(
            lambda number: number <= stop, (start * factor**i for i in itertools.count())
        )
        found = list(powers)
        if found[-1] != stop:
            raise UsageError(
                f"{place}: the range {quoted(item)} does not meet its end {stop}: end it at "
                f"{found[-1]} or {found[-1] * factor}"
            )
        return found
    raise UsageError(
        f"{place} takes whole numbers as 14,28,56 or 14:56:14 (start:stop:step) or 7..56x2 "
        f"(doubling up to 56), not {quoted(item)}"
    )


def parse_sizes(place: str, item: str) -> Sequence[tuple[int, int]]:
    """Read one part of a list of sizes: `56`, `50x80`, or a range of squares.

    >>> parse_sizes("--size", "50x80"), parse_sizes("--size", "14:28:14")
    ([(50, 80)], [(14, 14), (28, 28)])
    """
    if re.fullmatch(r"[0-9]+(x[0-9]+)?", item):
        return [cases.parse_size(place, item)]
    if re.search(r"x", item) and ".." not in item:
        raise UsageError(
            f"{place} takes sizes such as 56 (56x56) or 50x80 (height x width), not {quoted(item)}"
        )
    return [(side, side) for side in parse_counts(place, item)]


def parse_shapes(place: str, item: str) -> Sequence[Shape]:
    """Read a shape `BxCxHxW`.

    >>> parse_shapes("--shape", "1x256x50x80")
    [(1, 256, 50, 80)]
    """
    sides = item.split("x")
    if len(sides) != 4 or not all(re.fullmatch(r"[0-9]+", side) for side in sides):
        raise UsageError(f"{place} takes a shape BxCxHxW such as 1x256x56x56, not {quoted(item)}")
    batch, channels, height, width = (cases.parse_count(place, side) for side in sides)
    return [(batch, channels, height, width)]


def threads(place: str, item: str) -> Sequence[int | None]:
    """Read one part of a list of thread counts; `auto` is None, PyTorch's own."""
    if item == AUTO:
        return [None]
    return [cases.parse_threads(place, str(count)) for count in parse_counts(place, item)]


def devices(place: str, item: str) -> Sequence[str]:
    """Read one device of a list."""
    return [cases.parse_device(place, item)]


def choices(known: Any) -> Callable[[str, str], Sequence[Any]]:
    """Read one value of a list, of those of a Literal."""
    return lambda place, item: [cases.parse_choice(place, item, known)]


def choice(known: Any) -> Callable[[str, str], Any]:
    """Read one value of a Literal."""
    return lambda place, text: cases.parse_choice(place, text, known)


def block(place: str, text: str) -> str:
    """Check a block spec as far as its grammar goes."""
    if text.startswith("@"):
        return text  # a group, which is looked at where blocks are known
    try:
        cases.parse_block(text)
    except UsageError as error:
        # an argument has no name that would say more
        raise error if place == "BLOCK" else UsageError(f"{place}: {error}") from error
    return text


def where(place: str, text: str) -> str:
    """Check a condition over what is known before measuring."""
    return parse_where(place, text).text


def pair(place: str, text: str) -> str:
    """Check a pair by itself."""
    cases.parse_pair(place, text, Axes())
    return text


def whether(place: str, text: str) -> bool:
    """Read `true` or `false`; variables may say 1 or 0 too."""
    known = {"true": True, "1": True, "false": False, "0": False}
    if text not in known:
        raise UsageError(f"{place} takes true or false, not {quoted(text)}")
    return known[text]


def cpus(place: str, text: str) -> int:
    """Read a number of CPUs."""
    return cases.parse_count(place, text, most=cases.MOST_THREADS)


def _require_upwards(place: str, item: str, start: int, stop: int) -> None:
    if start > stop:
        raise UsageError(
            f"{place}: the range {quoted(item)} counts up, and {start} is above {stop}"
        )


def _require_few(place: str, number: int, text: str) -> None:
    if number > MOST_VALUES:
        raise UsageError(f"{place}: {quoted(text)} is {number:,} values, more than {MOST_VALUES:,}")


def size_written(size: tuple[int, int]) -> int | str:
    """Write a size as it is read."""
    return size[0] if size[0] == size[1] else f"{size[0]}x{size[1]}"


def shape_written(shape: Shape) -> str:
    """Write a shape as it is read."""
    return "x".join(map(str, shape))


def threads_written(threads: int | None) -> int | str:
    """Write a number of threads as it is read."""
    return threads or AUTO


def seconds_written(seconds: float) -> str:
    """Write a time as it is read."""
    return f"{_plain(max(seconds, 1e-9))}s"


def share_written(share: float) -> str:
    """Write a share as it is read."""
    return f"{_plain(max(100 * share, 1e-9))}%"


def _plain(number: float) -> str:
    """A number as the readers take it: without an exponent."""
    return f"{number:.9f}".rstrip("0").rstrip(".")
