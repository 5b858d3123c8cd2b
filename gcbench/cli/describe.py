"""One block in words: what it is, its options with what they may be, and its closed forms."""

import inspect
from typing import Any, Literal, get_args, get_origin

from gcbench.blocks import (
    KIND_WORDS,
    SIDE_NAMES,
    SIZE_NAMES,
    build_at,
    catalogue,
    factory_of,
    formed,
    has_closed_form,
    options_of,
    resolve,
)
from gcbench.errors import worded
from gcbench.spec import parse_block, value_text

_MEANING = {
    "params": "parameters",
    "macs": "MACs",
    "min_elements": "elements that must move",
}
# those of a shape; a block explains its own in LETTERS
_LETTERS = {
    "B": "batch",
    "C": "channels",
    "H": "height",
    "W": "width",
    "N": "positions H*W",
}
# a shape at which any block can be built to be described
_SHAPE = (1, 256, 8, 8)


def describe(text: str) -> str:
    """Describe a block spec: the module's own documentation, its options and its closed forms.

    Raises UsageError where the spec is wrong.
    """
    block = resolve(text)
    spec = parse_block(text)
    factory = factory_of(spec)
    lines = [block.spec]
    if spec.target in catalogue()[0]:
        entry = catalogue()[0][spec.target]
        lines += [f"source: {entry.source}"]
        for step in ("context", "transform", "fusion"):
            lines += [f"{step}: {getattr(entry, step)}"] if getattr(entry, step) else []
    # its own words only: a class without any would inherit those of nn.Module
    own = inspect.getmodule(factory) if "/" not in spec.target else None
    page = getattr(own, "__doc__", None) or factory.__doc__
    if page:
        lines += ["", inspect.cleandoc(page)]
    options = [_option(parameter) for parameter in options_of(factory).values()]
    lines += ["", "Options:", *(options or ["  none"])]
    return "\n".join([*lines, *_forms(text)])


def _option(parameter: inspect.Parameter) -> str:
    hint = parameter.annotation
    if get_origin(hint) is Literal:
        allowed = "|".join(value_text(value) for value in get_args(hint))
    else:
        allowed = "true|false" if hint is bool else KIND_WORDS.get(hint, "a value")
    if parameter.name in (*SIDE_NAMES, *SIZE_NAMES):
        return f"  {parameter.name}={allowed} (default: the size of the map)"
    default = (
        ""
        if parameter.default is parameter.empty
        else f" (default {value_text(parameter.default)})"
    )
    return f"  {parameter.name}={allowed}{default}"


def _forms(text: str) -> list[str]:
    """Write the closed forms, where there are some; where they are no formulas, say why not."""
    module: Any = build_at(text, channels=_SHAPE[1], size=_SHAPE[2:])
    if not has_closed_form(module):
        return []
    try:
        lines = _formulas(module)
    except Exception as error:  # they are the block's own code, which may raise anything
        lines = [f"cannot be shown: {worded(error)}"]
    return ["", "Closed forms:", *(f"  {line}" for line in lines)]


def _formulas(module: Any) -> list[str]:
    """What the functions that compute the numbers make of symbols, and what these mean."""
    import sympy

    meanings = _LETTERS | getattr(module, "LETTERS", {})
    symbols = {
        name: sympy.Symbol(name, positive=True, integer=True) for name in module.letters(_SHAPE)
    }
    forms = {name: sympy.expand(form) for name, form in formed(module, symbols).items()}
    found = [n for n, s in symbols.items() if any(s in f.free_symbols for f in forms.values())]
    told = ", ".join(f"{name} {meanings.get(name, '')}".rstrip() for name in found)
    return [
        *(f"{_MEANING.get(quantity, quantity):<24} {form}" for quantity, form in forms.items()),
        *([f"with {told}"] if told else []),
    ]
