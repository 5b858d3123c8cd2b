"""How a plan is spelled in TOML: texts under the names of options, read by their table.

A run keeps the TOML, so that it can be gone on with.
"""

import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from gcbench.errors import UsageError, quoted
from gcbench.options import Option
from gcbench.options.readers import Given
from gcbench.options.table import KEYS
from gcbench.registry import suggestion
from gcbench.runtime import known
from gcbench.spec import cases
from gcbench.spec.cases import Axes
from gcbench.spec.grid import Sweep, first_axes, pairs_heaps, runtimes


def make(named: Mapping[str, Sequence[Given]], options: Mapping[str, Option] = KEYS) -> Sweep:
    """Make a sweep of the texts given to names of options. Raises UsageError with the place."""
    values = {
        str(options[name].field): _read(options[name], given) for name, given in named.items()
    }
    sweep = Sweep(**values)
    _require_one_way(named)
    if sweep.baseline and sweep.pair:
        raise UsageError(
            "--baseline and --pair ask for different things: a pair divides every block by itself"
        )
    _require_keys_differ(sweep)
    _require_engine(sweep, named)
    return sweep


def _read(option: Option, given: Sequence[Given]) -> Any:
    assert option.read
    return option.read(given)


def _require_engine(sweep: Sweep, named: Mapping[str, Sequence[Given]]) -> None:
    """What only a cluster, or another process, can do goes with the engine that has one."""
    if sweep.engine == "inline" and pairs_heaps(sweep):
        raise UsageError("--pair heap takes a process for each heap, and --engine inline has one")
    foreign = [name for name in runtimes(sweep) if known(name).foreign]
    if sweep.engine == "inline" and foreign:
        raise UsageError(
            f"--runtime {foreign[0]} takes processes of its own, and --engine inline has one"
        )
    for name in ("per_device", "cpus_per_comparison"):
        if sweep.engine != "ray" and name in named:
            raise UsageError(f"{named[name][0][0]} goes with --engine ray")


def _require_one_way(named: Mapping[str, Sequence[Given]]) -> None:
    """A shape is given in one way: whole, by a backbone, or by batch, channels and size."""
    # stages stand at each batch, also beside whole shapes
    whole = next((name for name in ("stages", "shape") if name in named), None)
    for name in KEYS[whole].excludes if whole else ():
        if name in named and whole:
            raise UsageError(
                f"{named[name][0][0]} and {named[whole][0][0]} both say what shape the input has: "
                "give one of them"
            )


def _require_keys_differ(sweep: Sweep) -> None:
    if sweep.pair is not None:
        pair = cases.parse_pair("--pair", sweep.pair, Axes())
        axis = pair.axis
        cases.require_beside(pair, sweep.heap, sweep.regime)
        if len(getattr(sweep, axis) or ()) > 1:
            raise UsageError(
                f"--pair {axis} compares values of that axis, and the axis has several too: "
                f"name them in the pair, as in --pair {axis}=V,V"
            )
        cases.parse_pair("--pair", sweep.pair, first_axes(sweep))


def from_toml(text: str, source: str) -> dict[str, tuple[Given, ...]]:
    """Read the names and texts of a sweep's TOML; `make` reads the texts.

    Raises UsageError with the path to the mistake: `sweep.toml: axes.size[2]: ...`.
    """
    return from_document(decoded(text, source), f"{source}: ")


def decoded(text: str, source: str) -> dict[str, Any]:
    """Decode TOML. Raises UsageError."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{source} is not TOML: {error}") from error
    except ValueError as error:
        raise UsageError(f"{source}: {_endless_in(text)}: that is no number with an end") from error


def from_document(document: Mapping[str, Any], source: str) -> dict[str, tuple[Given, ...]]:
    """Read the names and texts of decoded TOML, whose paths begin with `source`.

    Raises UsageError with the path to the mistake.
    """
    named: dict[str, tuple[Given, ...]] = {}
    tables = [key.table for key in KEYS.values() if key.table]
    for name, value in document.items():
        if name not in tables:
            named |= _entry(None, name, value, source, [*_names_in(None), *dict.fromkeys(tables)])
        elif not isinstance(value, dict):
            raise UsageError(f"{source}{name} is a table, [{name}], not {_shown(value)}")
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
    path = f"{source}{table + '.' if table else ''}{name}"
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
        value = getattr(sweep, str(key.field))
        if name != "blocks" and value == usual[str(key.field)]:
            continue
        table = document.setdefault(key.table, {}) if key.table else document
        table[name] = key.written(value)
    return tomli_w.dumps(document)
