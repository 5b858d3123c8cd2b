"""One block in words: what it is, its options with what they may be, and its closed forms."""

import inspect
from typing import Any, Literal, get_args, get_origin

from gcbench.blocks import (
    KIND_WORDS,
    SIDE_NAMES,
    SIZE_NAMES,
    build_at,
    catalogue,
    closed_form,
    factory_of,
    options_of,
    resolve,
)
from gcbench.spec import parse_block, value_text

_MEANING = {
    "params": "parameters",
    "macs": "MACs",
    "min_elements": "elements that must move",
}
_LETTERS = {
    "B": "batch",
    "C": "channels",
    "H": "height",
    "W": "width",
    "N": "positions H*W",
    "K": "keys",
    "M": "positions at which phi and g act",
    "p": "hidden width C // ratio",
    "d": "inner width C // reduction",
    "k": "kernel size",
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
    """Write the closed forms: the functions that compute the numbers, given symbols."""
    import sympy

    module: Any = build_at(text, channels=_SHAPE[1], size=_SHAPE[2:])
    if closed_form(module, _SHAPE) is None:
        return []
    names = module.letters(_SHAPE)
    meanings = _LETTERS | getattr(module, "LETTERS", {})
    symbols = {name: sympy.Symbol(name, positive=True, integer=True) for name in names}
    lines = ["", "Closed forms:"]
    forms = {name: sympy.expand(form) for name, form in module.closed_form(**symbols).items()}
    for quantity, form in forms.items():
        lines.append(f"  {_MEANING[quantity]:<24} {form}")
    found = [n for n in names if any(symbols[n] in form.free_symbols for form in forms.values())]
    lines.append("  with " + ", ".join(f"{name} {meanings[name]}" for name in found))
    return lines
