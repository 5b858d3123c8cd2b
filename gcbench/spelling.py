"""How a sweep is spelled: options and TOML say the same names and texts, read by one table.

`KEYS` has a line for each name. A run keeps the TOML, so that it can be gone on with.
"""

import itertools
import re
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from gcbench import spec
from gcbench.errors import UsageError, quoted
from gcbench.registry import suggestion
from gcbench.spec import Axes, CounterName, Shape
from gcbench.sweep import EngineName, OnOom, Stages, Sweep, first_axes, pairs_heaps
from gcbench.units import parse_seconds, parse_share, parse_size_bytes
from gcbench.where import parse_where

MOST_VALUES = 10_000
AUTO = "auto"

# where a text was given (an option, or a path into a file), and the text
Given = tuple[str, str]
V = TypeVar("V")


def _one(read: Callable[[str, str], V]) -> Callable[[Sequence[Given]], V]:
    """Read exactly one text."""

    def reader(given: Sequence[Given]) -> V:
        if len(given) != 1:
            raise UsageError(f"{given[0][0]} takes one value, not {len(given)}")
        return read(*given[0])

    return reader


def _each(read: Callable[[str, str], V]) -> Callable[[Sequence[Given]], tuple[V, ...]]:
    """Read every text as it is, each value as often as it is named."""
    return lambda given: tuple(read(*one) for one in given)


def _many(read: Callable[[str, str], Sequence[V]]) -> Callable[[Sequence[Given]], tuple[V, ...]]:
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
        return [spec.parse_count(place, item)]
    if steps := re.fullmatch(r"([0-9]+):([0-9]+)(?::([0-9]+))?", item):
        start, stop, step = (spec.parse_count(place, end or "1") for end in steps.groups())
        _require_upwards(place, item, start, stop)
        _require_few(place, (stop - start) // step + 1, item)
        return range(start, stop + 1, step)
    if factors := re.fullmatch(r"([0-9]+)\.\.([0-9]+)x([0-9]+)", item):
        start, stop = (spec.parse_count(place, end) for end in factors.groups()[:2])
        factor = spec.parse_count(f"{place}, as the factor of {quoted(item)},", factors[3], least=2)
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
    if re.fullmatch(r"[0-9]+x[0-9]+", item):
        return [spec.parse_size(place, item)]
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
    batch, channels, height, width = (spec.parse_count(place, side) for side in sides)
    return [(batch, channels, height, width)]


def _threads(place: str, item: str) -> Sequence[int | None]:
    if item == AUTO:
        return [None]
    return [spec.parse_threads(place, str(count)) for count in parse_counts(place, item)]


def _devices(place: str, item: str) -> Sequence[str]:
    return [spec.parse_device(place, item)]


def _choices(choices: Any) -> Callable[[str, str], Sequence[Any]]:
    return lambda place, item: [spec.parse_choice(place, item, choices)]


def _choice(choices: Any) -> Callable[[str, str], Any]:
    return lambda place, text: spec.parse_choice(place, text, choices)


def _block(place: str, text: str) -> str:
    if text.startswith("@"):
        return text  # a group, which is looked at where blocks are known
    try:
        spec.parse_block(text)
    except UsageError as error:
        # an argument has no name that would say more
        raise error if place == "BLOCK" else UsageError(f"{place}: {error}") from error
    return text


def _where(place: str, text: str) -> str:
    return parse_where(place, text).text


def _pair(place: str, text: str) -> str:
    spec.parse_pair(place, text, Axes())
    return text


def _whether(place: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise UsageError(f"{place} takes true or false, not {quoted(text)}")
    return text == "true"


def _cpus(place: str, text: str) -> int:
    return spec.parse_count(place, text, most=spec.MOST_THREADS)


def _require_upwards(place: str, item: str, start: int, stop: int) -> None:
    if start > stop:
        raise UsageError(
            f"{place}: the range {quoted(item)} counts up, and {start} is above {stop}"
        )


def _require_few(place: str, number: int, text: str) -> None:
    if number > MOST_VALUES:
        raise UsageError(f"{place}: {quoted(text)} is {number:,} values, more than {MOST_VALUES:,}")


def _as_it_is(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Key:
    """One thing that a sweep can be told: its table in TOML, its reader, and its way back."""

    table: str | None
    read: Callable[[Sequence[Given]], Any]
    written: Callable[[Any], Any] = _as_it_is


def _size_written(size: tuple[int, int]) -> int | str:
    return size[0] if size[0] == size[1] else f"{size[0]}x{size[1]}"


def _shape_written(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _threads_written(threads: int | None) -> int | str:
    return threads or AUTO


def _seconds_written(seconds: float) -> str:
    return f"{_plain(max(seconds, 1e-9))}s"


def _share_written(share: float) -> str:
    return f"{_plain(max(100 * share, 1e-9))}%"


def _plain(number: float) -> str:
    """A number as the readers take it: without an exponent."""
    return f"{number:.9f}".rstrip("0").rstrip(".")


def _axis(
    read: Callable[[str, str], Sequence[Any]], written: Callable[[Any], Any] = _as_it_is
) -> Key:
    return Key("axes", _many(read), lambda values: [written(value) for value in values])


# in the order in which they are written
KEYS: dict[str, Key] = {
    "blocks": Key(None, _each(_block), list),
    "where": Key(None, _one(_where)),
    "baseline": Key(None, _one(_block)),
    "pair": Key(None, _one(_pair)),
    "static": Key(None, _one(_whether)),
    "allow_nondeterministic": Key(None, _one(_whether)),
    "seed": Key(None, _one(lambda place, text: spec.parse_count(place, text, least=0))),
    "counter": Key(None, _one(_choice(CounterName))),
    "batch": _axis(parse_counts),
    "channels": _axis(parse_counts),
    "size": _axis(parse_sizes, _size_written),
    "shape": _axis(parse_shapes, _shape_written),
    "stages": _axis(_choices(Stages)),
    "ratio": _axis(parse_counts),
    "dtype": _axis(_choices(spec.Dtype)),
    "device": _axis(_devices),
    "layout": _axis(_choices(spec.Layout)),
    "mode": _axis(_choices(spec.Mode)),
    "runtime": _axis(_choices(spec.Runtime)),
    "cache": _axis(_choices(spec.Cache)),
    "threads": _axis(_threads, _threads_written),
    "regime": _axis(_choices(spec.Regime)),
    "tf32": Key("axes", _one(_choice(spec.Switch))),
    "heap": Key("axes", _one(_choice(spec.Heap))),
    "precision": Key("effort", _one(parse_share), _share_written),
    "max_time": Key("effort", _one(parse_seconds), _seconds_written),
    "processes": Key("effort", _one(spec.parse_count)),
    "budget": Key("effort", _one(parse_seconds), _seconds_written),
    "engine": Key("engine", _one(_choice(EngineName))),
    "timeout": Key("engine", _one(parse_seconds), _seconds_written),
    "memory_limit": Key("engine", _one(parse_size_bytes)),
    "on_oom": Key("engine", _one(_choice(OnOom))),
    "per_device": Key("engine", _one(_whether)),
    "cpus_per_comparison": Key("engine", _one(_cpus)),
}
# names that carry no unit in text, where the text has one, and carry it here
_FIELDS = {
    "max_time": "max_time_s",
    "budget": "budget_s",
    "timeout": "timeout_s",
    "memory_limit": "memory_limit_bytes",
}


def make(named: Mapping[str, Sequence[Given]]) -> Sweep:
    """Make a sweep of the texts given to each name of `KEYS`. Raises UsageError with the place."""
    values = {_FIELDS.get(name, name): KEYS[name].read(given) for name, given in named.items()}
    sweep = Sweep(**values)
    _require_one_way(named)
    if sweep.baseline and sweep.pair:
        raise UsageError(
            "--baseline and --pair ask for different things: a pair divides every block by itself"
        )
    _require_engine(sweep, named)
    _require_keys_differ(sweep)
    return sweep


def _require_engine(sweep: Sweep, named: Mapping[str, Sequence[Given]]) -> None:
    """What only a cluster, or another process, can do goes with the engine that has one."""
    if sweep.engine == "inline" and pairs_heaps(sweep):
        raise UsageError("--pair heap takes a process for each heap, and --engine inline has one")
    for name in ("per_device", "cpus_per_comparison"):
        if sweep.engine != "ray" and name in named:
            raise UsageError(f"{named[name][0][0]} goes with --engine ray")


def _require_one_way(named: Mapping[str, Sequence[Given]]) -> None:
    """A shape is given in one way: whole, by a backbone, or by batch, channels and size."""
    whole = next((name for name in ("shape", "stages") if name in named), None)
    if whole is None:
        return
    for name in ("channels", "size") if "stages" in named else ("batch", "channels", "size"):
        if name in named:
            raise UsageError(
                f"{named[name][0][0]} and {named[whole][0][0]} both say what shape the input has: "
                "give one of them"
            )


def _require_keys_differ(sweep: Sweep) -> None:
    if sweep.pair is not None:
        pair = spec.parse_pair("--pair", sweep.pair, Axes())
        axis = pair.axis
        spec.require_one_heap(sweep.heap, pair)
        if len(getattr(sweep, axis) or ()) > 1:
            raise UsageError(
                f"--pair {axis} compares values of that axis, and the axis has several too: "
                f"name them in the pair, as in --pair {axis}=V,V"
            )
        spec.parse_pair("--pair", sweep.pair, first_axes(sweep))


def from_toml(text: str, source: str) -> dict[str, tuple[Given, ...]]:
    """Read the names and texts of a sweep's TOML; `make` reads the texts.

    Raises UsageError with the path to the mistake: `sweep.toml: axes.size[2]: ...`.
    """
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{source} is not TOML: {error}") from error
    except ValueError as error:
        raise UsageError(f"{source}: {_endless_in(text)}: that is no number with an end") from error
    named: dict[str, tuple[Given, ...]] = {}
    tables = [key.table for key in KEYS.values() if key.table]
    for name, value in document.items():
        if name not in tables:
            named |= _entry(None, name, value, source, [*_names_in(None), *dict.fromkeys(tables)])
        elif not isinstance(value, dict):
            raise UsageError(f"{source}: {name} is a table, [{name}], not {_shown(value)}")
        else:
            for key, inner in value.items():
                named |= _entry(name, key, inner, source, _names_in(name))
    return named


def _endless_in(text: str) -> str:
    """Name the key of the first number with more digits than Python reads, or its line."""
    most = sys.get_int_max_str_digits()
    for number, line in enumerate(text.splitlines(), start=1):
        if re.search(rf"[0-9_]{{{most},}}", line):
            key, equals, _ = line.partition("=")
            return key.strip() if equals else f"line {number}"
    return "a number"


def _entry(
    table: str | None, name: str, value: Any, source: str, known: Sequence[str]
) -> dict[str, tuple[Given, ...]]:
    path = f"{source}: {table + '.' if table else ''}{name}"
    if name not in KEYS or KEYS[name].table != table:
        raise UsageError(f"{path} is unknown: {_home(name) or suggestion(name, known)}")
    if not isinstance(value, list):
        return {name: ((path, _text(path, value)),)}
    if not value:
        raise UsageError(f"{path} is an empty list: give a value, or leave it out")
    return {
        name: tuple((f"{path}[{i}]", _text(f"{path}[{i}]", each)) for i, each in enumerate(value))
    }


def _names_in(table: str | None) -> list[str]:
    return [name for name, key in KEYS.items() if key.table == table]


def _home(name: str) -> str | None:
    """Where a name belongs that stands in a wrong table."""
    if name not in KEYS:
        return None
    table = KEYS[name].table
    return f"it belongs into [{table}]" if table else "it belongs before the first table"


def _text(path: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        try:
            return str(value)
        except ValueError as error:  # in another base it has no limit when it is read
            raise UsageError(f"{path}: that is no number with an end") from error
    raise UsageError(f"{path} takes text or a number, not {_shown(value)}")


def _shown(value: Any) -> str:
    return (
        "a table"
        if isinstance(value, dict)
        else "a list"
        if isinstance(value, list)
        else quoted(value)
    )


def to_toml(sweep: Sweep) -> str:
    """Write a sweep as TOML that reads back to the same; what is at its default is left out."""
    import tomli_w

    usual = {field.name: field.default for field in fields(Sweep)}
    document: dict[str, Any] = {}
    for name, key in KEYS.items():
        value = getattr(sweep, _FIELDS.get(name, name))
        if name != "blocks" and value == usual[_FIELDS.get(name, name)]:
            continue
        table = document.setdefault(key.table, {}) if key.table else document
        table[name] = key.written(value)
    return tomli_w.dumps(document)
