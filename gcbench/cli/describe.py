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
from gcbench.formats.document import Document, Lines
from gcbench.spec import parse_block, value_text

_MEANING = {
    "params": "parameters",
    "macs": "MACs",
    "min_elements": "elements that must move",
}
_PLACES = ("source", "context", "transform", "fusion")
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


def describe(text: str) -> Document:
    """Describe a block spec: the module's own documentation, its options and its closed forms.

    A row is a place, an option or a closed form. Raises UsageError where the spec is wrong.
    """
    block = resolve(text)
    spec = parse_block(text)
    factory = factory_of(spec)
    places = {}
    if spec.target in catalogue()[0]:
        entry = catalogue()[0][spec.target]
        places = {name: getattr(entry, name) for name in _PLACES if getattr(entry, name)}
    # its own words only: a class without any would inherit those of nn.Module
    own = inspect.getmodule(factory) if "/" not in spec.target else None
    page = inspect.cleandoc(getattr(own, "__doc__", None) or factory.__doc__ or "")
    options = {name: _option(each) for name, each in options_of(factory).items()}
    forms, letters = _forms(text)
    lines = [block.spec, *(f"{name}: {words}" for name, words in places.items())]
    lines += ["", *page.splitlines()] if page else []
    lines += ["", "Options:", *(f"  {name}={words}" for name, words in options.items())]
    lines += [] if options else ["  none"]
    if forms:
        lines += ["", "Closed forms:"]
        lines += [f"  {_MEANING[name]:<24} {form}" for name, form in forms.items()]
        lines += [f"  with {', '.join(letters)}"]
    rows = [
        {"block": block.spec, "kind": kind, "name": name, "words": words}
        for kind, found in (("place", places), ("option", options), ("closed form", forms))
        for name, words in found.items()
    ]
    return Document(
        title=block.spec,
        sections=lambda detail: [Lines(lines, verbatim=True)],
        rows=lambda: rows,
        columns=("block", "kind", "name", "words"),
        about={"documentation": page},
    )


def _option(parameter: inspect.Parameter) -> str:
    hint = parameter.annotation
    if get_origin(hint) is Literal:
        allowed = "|".join(value_text(value) for value in get_args(hint))
    else:
        allowed = "true|false" if hint is bool else KIND_WORDS.get(hint, "a value")
    if parameter.name in (*SIDE_NAMES, *SIZE_NAMES):
        return f"{allowed} (default: the size of the map)"
    default = (
        ""
        if parameter.default is parameter.empty
        else f" (default {value_text(parameter.default)})"
    )
    return f"{allowed}{default}"


def _forms(text: str) -> tuple[dict[str, str], list[str]]:
    """The closed forms, by the functions that compute the numbers, and what their letters mean."""
    import sympy

    module: Any = build_at(text, channels=_SHAPE[1], size=_SHAPE[2:])
    if closed_form(module, _SHAPE) is None:
        return {}, []
    names = module.letters(_SHAPE)
    meanings = _LETTERS | getattr(module, "LETTERS", {})
    symbols = {name: sympy.Symbol(name, positive=True, integer=True) for name in names}
    forms = {name: sympy.expand(form) for name, form in module.closed_form(**symbols).items()}
    found = [n for n in names if any(symbols[n] in form.free_symbols for form in forms.values())]
    told = {quantity: str(form) for quantity, form in forms.items()}
    return told, [f"{name} {meanings[name]}" for name in found]
