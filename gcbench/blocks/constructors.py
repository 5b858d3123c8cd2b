"""What makes a block: under which names it takes channels, ratio and size, and which options."""

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, get_args

from gcbench.errors import UsageError, at_code, quoted, told
from gcbench.registry import suggestion
from gcbench.spec.cases import BlockSpec, Value, value_text

# a class or a function that makes a module from the channels and options
Factory = Any

CHANNEL_NAMES = ("channels", "in_channels", "num_channels", "dim", "in_dim", "planes", "inplanes")
# the same, of an argument without a default
REQUIRED_NAMES = ("channel", "in_channel", "in_planes", "in_chs", "in_chans", "num_features", "c")
_EMPTY = inspect.Parameter.empty
_POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
)
# how a constructor says that it is bound to one size of map: both sides apart, or as (H, W)
SIDE_NAMES = ("height", "width")
SIZE_NAMES = ("feat_size", "input_resolution")


def sized(factory: Factory, size: tuple[int, int] | None) -> dict[str, Any]:
    """The size under the names by which a factory asks for it; nothing where it does not."""
    if size is None:
        return {}
    parameters = _parameters(factory)
    found: dict[str, Any] = {name: size for name in SIZE_NAMES if name in parameters}
    if all(name in parameters for name in SIDE_NAMES):
        found |= zip(SIDE_NAMES, size, strict=True)
    return found


def made_at(factory: Factory) -> str:
    """Say where a factory's own code begins: what takes its arguments, else a class's forward."""
    if isinstance(factory, functools.partial):
        return made_at(factory.func)
    if inspect.isclass(factory):
        others = [factory.forward] if hasattr(factory, "forward") else []
        return written_at(factory.__new__, factory.__init__, *others)
    return written_at(factory, type(factory).__call__)


def written_at(*functions: Callable[..., object]) -> str:
    """Say where the first of these functions that is a user's own begins: ` (mine.py:12)`."""
    for function in functions:
        code = getattr(inspect.unwrap(function), "__code__", None)
        where = at_code(code, function.__module__) if code else ""
        if where:
            return where
    return ""


def _parameters(factory: Factory) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(factory).parameters)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{factory!r} does not say what it takes: {told(error)}") from error


def channels_name(factory: Factory) -> str | None:
    """The name under which a factory takes the channels; None where it is to be its first argument.

    Raises UsageError where there is neither.
    """
    parameters = _parameters(factory)
    named = [name for name in CHANNEL_NAMES if name in parameters]
    # these may mean something else where they have a default
    named += [n for n in REQUIRED_NAMES if n in parameters and parameters[n].default is _EMPTY]
    if named or any(p.kind in _POSITIONAL for p in parameters.values()):
        return named[0] if named else None
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return CHANNEL_NAMES[0]
    takes = f"only {', '.join(parameters)}, by name" if parameters else "no argument"
    names = ", ".join((*CHANNEL_NAMES, *REQUIRED_NAMES))
    raise UsageError(
        f"it takes {takes}, and gcbench passes the channels as one of {names}{made_at(factory)}"
    )


def options_of(factory: Factory) -> dict[str, inspect.Parameter]:
    """The options that a block spec may give, by name: every parameter but the channels."""
    parameters = _parameters(factory)
    channels = channels_name(factory)
    if channels is None:
        channels = next(name for name, p in parameters.items() if p.kind in _POSITIONAL)
    return {name: p for name, p in parameters.items() if name != channels}


def missing(
    factory: Factory, parameters: Mapping[str, inspect.Parameter], given: Mapping[str, Value]
) -> list[str]:
    """The arguments that a factory needs and that nobody gives it."""
    ours = ("ratio", *sized(factory, (1, 1)), *given)
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    needed = (n for n, p in parameters.items() if p.default is _EMPTY and p.kind in by_name)
    return [name for name in needed if name not in ours]


def takes_ratio(
    factory: Factory,
    parameters: Mapping[str, inspect.Parameter],
    options: Mapping[str, Value],
) -> bool:
    """Whether the ratio axis varies a block: it takes a ratio, and has one with these options."""
    if "ratio" not in parameters:
        return False
    if not hasattr(factory, "without_ratio"):
        return True
    key, value = factory.without_ratio
    return bool(options.get(key, parameters[key].default) != value)


def checked(
    spec: BlockSpec, factory: Factory, parameters: Mapping[str, inspect.Parameter]
) -> dict[str, Any]:
    """The options of a block spec. Raises UsageError where one is unknown or of a wrong type."""
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    kinds = _scalar_kinds(factory)
    for name, value in spec.options:
        if name not in parameters and not open_ended:
            raise UsageError(
                f"block {str(spec)!r}: unknown option {quoted(name)}: "
                f"{suggestion(name, parameters)}"
            )
        kind = kinds.get(name)
        if kind and not (type(value) in (*get_args(kind), kind) or _is_number(kind, value)):
            raise UsageError(
                f"block {str(spec)!r}: {name} takes {KIND_WORDS[kind]}, not {value_text(value)!r}"
            )
    return dict(spec.options)


def _is_number(kind: Any, value: Value) -> bool:
    return kind is float and type(value) is int


# what the options of a constructor may be, by the types that it declares
KIND_WORDS: dict[Any, str] = {
    int: "a whole number",
    bool: "true or false",
    float: "a number",
    int | None: "a whole number or none",
}


def _scalar_kinds(factory: Factory) -> dict[str, Any]:
    target = factory.__init__ if inspect.isclass(factory) else factory
    try:
        hints = typing.get_type_hints(target)
    except Exception:  # a user's annotation that cannot be evaluated leaves the option unchecked
        return {}
    return {name: hint for name, hint in hints.items() if hint in KIND_WORDS}
