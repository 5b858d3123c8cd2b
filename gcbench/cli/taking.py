"""Commands take options as their tables declare them: a function becomes a command of typer."""

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from gcbench.cli import faults
from gcbench.options import PANELS, Option, defaults, named
from gcbench.options.readers import Given
from gcbench.options.table import of

# what typer makes of an option's text
_KINDS: dict[str, Any] = {
    "text": str | None,
    "texts": list[str] | None,
    "flag": bool,
    "path": Path | None,
    "paths": list[Path] | None,
}


def takes(command: str, *own: Option) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command of a function: it takes its own options, and those of the table for it.

    The function names the options whose values it wants, each read; `said` is all that was said.
    """
    options = sorted([*own, *of(command)], key=_rank)

    def made(function: Callable[..., None]) -> Callable[..., None]:
        wanted = inspect.signature(function).parameters

        def run(**values: Any) -> None:
            faults.show_tracebacks(bool(values.get("traceback")))
            said = defaults.said(options, _line(options, values), os.environ, Path.cwd())
            faults.show_tracebacks(said.value("traceback"))
            faults.warn(defaults.unknown_variables(os.environ))
            function(**{name: said if name == "said" else said.value(name) for name in wanted})

        functools.update_wrapper(run, function)
        signature = inspect.Signature([_parameter(option) for option in options])
        run.__annotations__ = {each.name: each.annotation for each in signature.parameters.values()}
        vars(run).update(__signature__=signature, options=named(options))
        return run

    return made


def _rank(option: Option) -> int:
    return 0 if option.panel is None else 1 + PANELS.index(option.panel)


def _parameter(option: Option) -> inspect.Parameter:
    """One option as typer reads it off a signature."""
    kind = _KINDS[option.kind]
    shown: dict[str, Any] = {
        "help": _help(option),
        "metavar": option.metavar,
        "rich_help_panel": option.panel,
        "show_default": False,
    }
    if option.argument:
        declared = typer.Argument(**shown, autocompletion=option.completed)
    else:
        names = [option.short] if option.short else []
        declared = typer.Option(*names, option.place, *option.also, **shown)
    default: Any = False if option.kind == "flag" else None
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if option.required else default,
        annotation=Annotated[kind, declared],
    )


def _help(option: Option) -> str:
    usual = option.usual_text()
    return option.help if usual is None else f"{option.help} Default: {usual}."


def _line(options: list[Option], values: Mapping[str, Any]) -> dict[str, tuple[Given, ...]]:
    """Say with which option and texts each name was given."""
    line: dict[str, tuple[Given, ...]] = {}
    for option in options:
        value = values[option.name]
        if value is None or value is False or value == []:
            continue
        texts = ["true"] if value is True else value if isinstance(value, list) else [value]
        line[option.name] = tuple((option.place, str(text)) for text in texts)
    return line
