"""How a library's class becomes a factory: the channels first, then the options of a block spec."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

# what a block spec can write
_SCALARS = (bool, int, float, str, type(None))


def option(name: str, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    """One option of a factory, of the type of its default; without one it has to be given."""
    hint = type(default) if type(default) in (bool, int, float) else inspect.Parameter.empty
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


# the axis gives it, or the spec
RATIO = option("ratio").replace(annotation=int)


def scalar_options(target: Any, without: Iterable[str]) -> list[inspect.Parameter]:
    """The options of a class that a block spec can write, but for some."""
    return [
        option(name, parameter.default)
        for name, parameter in inspect.signature(target).parameters.items()
        if name not in without and isinstance(parameter.default, _SCALARS)
    ]


def factory(
    make: Callable[..., Any], options: Iterable[inspect.Parameter], page: str
) -> Callable[..., Any]:
    """Give `make(channels, **options)` the signature that says what it takes, and its page."""

    def build(channels: int, **given: Any) -> Any:
        return make(channels, **given)

    channels = inspect.Parameter("channels", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    signature = inspect.Signature([channels, *options])
    build.__signature__ = signature  # type: ignore[attr-defined]
    build.__annotations__ = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if parameter.annotation is not inspect.Parameter.empty
    }
    build.__doc__ = page
    return build
