"""One block in words: what it is, its options with what they may be, and its closed forms."""

import importlib
import inspect
from typing import Any, Literal, get_args, get_origin

from gcbench.blocks import build_at, factory_of, resolve
from gcbench.blocks.catalog import BLOCKS, catalogue
from gcbench.blocks.constructors import KIND_WORDS, SIDE_NAMES, SIZE_NAMES, options_of
from gcbench.blocks.forms import formed, has_closed_form
from gcbench.errors import worded
from gcbench.report.document import Document, Lines
from gcbench.spec.cases import parse_block, value_text

_MEANING = {
    "params": "parameters",
    "macs": "MACs",
    "min_elements": "elements that must move",
}
_PLACES = ("source", "context", "transform", "fusion")
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
    if spec.target in BLOCKS and dict(spec.options).get("impl") == "fast":
        fast = importlib.import_module(f"gcbench.blocks.fast.{spec.target}")
        page += f"\n\n{inspect.cleandoc(fast.__doc__ or '')}"
    options = {name: _option(each) for name, each in options_of(factory).items()}
    forms, below = _forms(text)
    lines = [block.spec, *(f"{name}: {words}" for name, words in places.items())]
    lines += ["", *page.splitlines()] if page else []
    lines += ["", "Options:", *(f"  {name}={words}" for name, words in options.items())]
    lines += [] if options else ["  none"]
    if forms or below:
        lines += ["", "Closed forms:"]
        lines += [f"  {_MEANING.get(name, name):<24} {form}" for name, form in forms.items()]
        lines += [f"  {below}"] if below else []
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


def _forms(text: str) -> tuple[dict[str, str], str]:
    """The closed forms, and what their letters mean; where they are no formulas, why not."""
    module: Any = build_at(text, channels=_SHAPE[1], size=_SHAPE[2:])
    if not has_closed_form(module):
        return {}, ""
    try:
        return _formulas(module)
    except Exception as error:  # they are the block's own code, which may raise anything
        return {}, f"cannot be shown: {worded(error)}"


def _formulas(module: Any) -> tuple[dict[str, str], str]:
    """What the functions that compute the numbers make of symbols, and what these mean."""
    import sympy

    meanings = _LETTERS | getattr(module, "LETTERS", {})
    symbols = {
        name: sympy.Symbol(name, positive=True, integer=True) for name in module.letters(_SHAPE)
    }
    forms = {name: sympy.expand(form) for name, form in formed(module, symbols).items()}
    found = [n for n, s in symbols.items() if any(s in f.free_symbols for f in forms.values())]
    told = ", ".join(f"{name} {meanings.get(name, '')}".rstrip() for name in found)
    return {name: str(form) for name, form in forms.items()}, f"with {told}" if told else ""
