"""What was said of a command, and where: on its line, in the environment, in a file, in a project.

What is said with more weight goes before the rest, name by name: the line, then the variables
`GCBENCH_*`, then `--file`, then the table `[tool.gcbench]` of the nearest `pyproject.toml`.
"""

import difflib
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gcbench.errors import UsageError, cause
from gcbench.options import VARIABLES, Option, config, named
from gcbench.options.readers import Given
from gcbench.options.table import KEYS, OPTIONS
from gcbench.spec.grid import Sweep
from gcbench.units import size_text

PROJECT, TABLE = "pyproject.toml", "gcbench"
# a plan in TOML is some hundred bytes; a device may have no end
LARGEST_FILE = 2**20
# how like a known variable's an unknown one's name is, to be taken for it
LIKE = 0.75

Level = Mapping[str, Sequence[Given]]


@dataclass(frozen=True)
class Said:
    """What was said of a command's options: on its `line`, and `all` that holds, by name."""

    options: Mapping[str, Option]
    line: Level
    all: Level

    def __contains__(self, name: object) -> bool:
        """Whether anybody says this."""
        return name in self.all

    def value(self, name: str) -> Any:
        """Read what holds of one option; None, or False, where nobody says it.

        Raises UsageError, which names the place.
        """
        option = self.options[name]
        given = self.all.get(name) or ([(option.place, option.usual)] if option.usual else None)
        if option.kind == "flag":
            return _holds(option, self.all)
        if given is None:
            return None
        if option.read is not None:
            return option.read(given)
        made = [Path(text) if option.kind.startswith("path") else text for _, text in given]
        return made if option.kind.endswith("s") else made[0]

    def plan(self) -> Sweep:
        """Read what holds of a plan. Raises UsageError, which names the place."""
        usual = {
            name: ((option.place, option.usual),)
            for name, option in self.options.items()
            if option.field is not None and option.usual is not None
        }
        said = {name: given for name, given in self.all.items() if self.options[name].field}
        made = config.make(usual | said, {name: self.options[name] for name in usual | said})
        return replace(made, origins=origins(said))


def said(
    options: Sequence[Option],
    line: Level,
    environment: Mapping[str, str],
    folder: Path,
) -> Said:
    """Gather what is said of some options, by the line of a command and by what stands around it.

    Where the line goes on with a run nothing around it says what is measured. Raises UsageError
    where a file cannot be read, or one place says two things of which there can be one.
    """
    known = named(options)
    levels = [line, of_environment(options, environment)]
    if "resume" in line:
        levels[1] = {name: each for name, each in levels[1].items() if not known[name].field}
    elif keys := {option.name for option in options if option.has_key}:
        if "file" in line:
            levels.append(_of_file(Path(line["file"][0][1]), keys))
        project = of_project(folder)
        levels.append({name: each for name, each in project.items() if name in keys})
    return Said(known, line, _merged(levels, known))


def of_environment(options: Sequence[Option], environment: Mapping[str, str]) -> Level:
    """What variables say of options; an empty one says nothing."""
    return {
        option.name: ((option.variable_name, environment[option.variable_name]),)
        for option in options
        if option.variable and environment.get(option.variable_name)
    }


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """What variables were probably meant to say, in sentences."""
    known = [option.name.upper() for option in OPTIONS if option.variable]
    found = []
    for variable in sorted(environment):
        name = variable.removeprefix(VARIABLES)
        if name == variable or name in known:
            continue
        if near := difflib.get_close_matches(name.upper(), known, n=1, cutoff=LIKE):
            found.append(f"{variable} is unknown: did you mean {VARIABLES}{near[0]}?")
    return found


def of_project(folder: Path) -> Level:
    """What the nearest project says, in this folder or above; nothing where none does.

    Raises UsageError with the path to a mistake.
    """
    for above in (folder, *folder.parents):
        path = above / PROJECT
        try:
            # a pipe or a device may have no end
            content = path.read_bytes() if path.is_file() else b""
        except OSError:
            continue
        if TABLE.encode() not in content:
            continue
        source = os.path.relpath(path, folder)
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UsageError(f"{source} is no text: {error.reason}") from error
        tool = config.decoded(text, source).get("tool")
        table = tool.get(TABLE) if isinstance(tool, dict) else None
        if table is not None:
            if not isinstance(table, dict):
                raise UsageError(f"{source}: tool.{TABLE} is a table, [tool.{TABLE}]")
            return config.from_document(table, f"{source}: tool.{TABLE}.")
    return {}


def origins(said: Level) -> dict[str, str]:
    """Where each value came from, by the names of options."""
    return {name: re.sub(r"\[\d+\]$", "", given[0][0]) for name, given in said.items() if given}


def _merged(levels: Sequence[Level], known: Mapping[str, Option]) -> Level:
    merged: dict[str, Sequence[Given]] = {}
    for level in levels:
        _require_one_way(level, known)
        weightier = dict(merged)
        for name, given in {**level, **_implied(level, known)}.items():
            if name not in weightier and not _excluded(name, weightier, known):
                merged[name] = given
    return merged


def _excluded(name: str, others: Level, known: Mapping[str, Option]) -> bool:
    return any(other in known[name].excludes or name in known[other].excludes for other in others)


def _implied(level: Level, known: Mapping[str, Option]) -> dict[str, Sequence[Given]]:
    """What is said of others by naming a preset, where they are not named beside it."""
    return {
        name: ((level[preset][0][0], text),)
        for preset, option in known.items()
        if _holds(option, level)
        for name, text in option.implies
        if name in known and name not in level
    }


def _require_one_way(level: Level, known: Mapping[str, Option]) -> None:
    """One place does not say two flags that exclude each other. Raises UsageError."""
    flags = [option for option in known.values() if _holds(option, level)]
    for option in flags:
        for other in flags:
            if other.name in option.excludes:
                first, second = (level[each.name][0][0] for each in (option, other))
                raise UsageError(f"{first} and {second} ask for different things: give one of them")


def _holds(option: Option, level: Level) -> bool:
    """Whether a flag is said, and to be so."""
    given = level.get(option.name)
    return bool(option.kind == "flag" and given and option.read and option.read(given))


def _of_file(file: Path, keys: Collection[str]) -> Level:
    """Read a plan from TOML. Raises UsageError, also where it says what a command cannot do."""
    level = config.from_toml(_text_of(file), str(file))
    for name, given in level.items():
        if name not in keys:
            commands = " and ".join(f"gcbench {each}" for each in KEYS[name].commands)
            raise UsageError(f"{given[0][0]} is for {commands}: leave it out")
    return level


def _text_of(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            text = opened.read(LARGEST_FILE + 1)
        if len(text) > LARGEST_FILE:
            raise UsageError(f"--file {file} is no sweep: it is over {size_text(LARGEST_FILE)}")
        return text.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"--file {file}: cannot read it: {cause(error)}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--file {file} is no text: {error.reason}") from error
