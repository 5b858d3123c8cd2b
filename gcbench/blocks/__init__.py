"""The way from a block spec to a module; `catalog` has the table of blocks.

Beside the table's own blocks there are those that installed packages announce, `LIBRARY/NAME` of
the libraries in `gcbench.blocks.peers`, `module:Class` for whatever else can be imported, and,
while `given` says so, modules that exist already.

A block is an `nn.Module` that maps (B, C, H, W) to (B, C, H, W). Its constructor takes the
channels, and keyword options with defaults; where one of them is `ratio`, the ratio axis varies it.
One that takes `height` and `width`, `feat_size` or `input_resolution` is given the size of the map.
A block may carry closed forms: `letters(shape)` names quantities, `LETTERS` explains its own, and
`closed_form(**letters)` gives what `forms.FORMS` names; `alive_bytes(**letters, e)`, the memory,
may be left out. A block of the table has these, any other module needs nothing.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gcbench.blocks import constructors, peers
from gcbench.blocks.catalog import BLOCKS, BlockEntry, catalogue
from gcbench.blocks.constructors import Factory
from gcbench.errors import UsageError, at, quoted, worded
from gcbench.registry import imported, is_file, nearest
from gcbench.spec.cases import Block, BlockSpec, Case, parse_block, value_text

if TYPE_CHECKING:
    from torch import nn
    from torch.overrides import TorchFunctionMode

# modules that exist already, by the names under which this process knows them for now
_GIVEN: "ContextVar[Mapping[str, nn.Module]]" = ContextVar("given", default=MappingProxyType({}))


@contextmanager
def given(modules: "Mapping[str, nn.Module]") -> Iterator[None]:
    """Let names stand for modules that exist already, before all other blocks of these names.

    To build one is to copy it: what is given is never called or changed. Only this process knows
    the names.
    """
    token = _GIVEN.set(modules)
    try:
        yield
    finally:
        _GIVEN.reset(token)


def is_given(spec: str) -> bool:
    """Whether a spec names a module that exists already, which no other process can build."""
    return spec in _GIVEN.get()


def is_foreign(text: str) -> bool:
    """Tell whether a block spec names code that is neither ours nor a library's that we know.

    Raises UsageError where it follows no grammar.
    """
    target = parse_block(text).target
    return ":" in target or (target not in BLOCKS and target in catalogue()[0])


def is_ours(text: str) -> bool:
    """Tell whether a block spec names a block of gcbench's own, whose code is known."""
    return text not in _GIVEN.get() and parse_block(text).target in BLOCKS


def is_known(text: str) -> bool:
    """Tell whether a name stands for a module that exists, all of torch's or gcbench's classes."""
    from gcbench.system.forked import is_known

    return text in _GIVEN.get() and is_known(_GIVEN.get()[text])


def resolve(text: str) -> Block:
    """Look at a block spec's target and options without building it.

    Raises UsageError where the target cannot be imported, or an option is unknown or of a wrong
    type.
    """
    if text in _GIVEN.get():
        return Block(name=text, spec=text, ratio=None, takes_ratio=False)
    spec = parse_block(text)
    factory = factory_of(spec)
    try:
        parameters = constructors.options_of(factory)
    except UsageError as error:
        raise UsageError(f"block {quoted(text)}: {error}") from error
    options = constructors.checked(spec, factory, parameters)
    missing = constructors.missing(factory, parameters, options)
    if missing:
        added = "".join(f":{name}=VALUE" for name in missing)
        raise UsageError(
            f"block {quoted(text)} needs {' and '.join(missing)}: add it, as in {text}{added}"
            f"{constructors.made_at(factory)}"
        )
    takes_ratio = constructors.takes_ratio(factory, parameters, options)
    if "ratio" in options and type(options["ratio"]) is not int:
        raise UsageError(
            f"block {quoted(text)}: ratio takes a whole number, the divisor of the channels"
        )
    if "ratio" in options and "ratio" in parameters and not takes_ratio:
        key, value = factory.without_ratio
        raise UsageError(f"block {quoted(text)}: with {key}={value_text(value)} there is no ratio")
    ratio = options.pop("ratio", None)
    kept = {
        key: value
        for key, value in options.items()
        if key not in parameters or value != parameters[key].default
    }
    return Block(
        name=spec.target,
        spec=str(BlockSpec(spec.target, tuple(sorted(kept.items())))),
        ratio=ratio,
        takes_ratio=takes_ratio and ratio is None,
    )


def build(
    spec: str,
    channels: int,
    ratio: int | None = None,
    seed: int = 0,
    size: tuple[int, int] | None = None,
) -> "nn.Module":
    """Build a block on the CPU in float32, its weights drawn from `seed`.

    `ratio` goes in where the block takes one and the spec does not fix it, `size`, height and
    width of the map, where the block is bound to one. The global random state is left as it was.
    Raises UsageError with the block's own reason where it refuses its options.
    """
    import torch

    from gcbench.tensors import brought

    if spec in _GIVEN.get():
        return brought(_copied(spec), "cpu", torch.float32)
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(seed)
        return _construct(spec, channels, ratio, size)


def build_case(case: Case, seed: int) -> "nn.Module":
    """Build the block of a case, as `build` does."""
    return build(case.spec, case.channels, case.ratio, seed, (case.height, case.width))


def build_meta(case: Case) -> "nn.Module":
    """Build the block of a case on the meta device: shapes without numbers or memory."""
    return build_at(case.spec, case.channels, case.ratio, (case.height, case.width))


def build_at(
    spec: str, channels: int, ratio: int | None = None, size: tuple[int, int] | None = None
) -> "nn.Module":
    """Build a block on the meta device; raises as `build` does."""
    import torch

    from gcbench.tensors import on_meta

    if spec in _GIVEN.get():
        return on_meta(_GIVEN.get()[spec])
    try:
        with torch.device("meta"), _undrawn():
            return _construct(spec, channels, ratio, size)
    except UsageError:
        # a constructor may look at numbers, which there are none of there; refusals come again
        return on_meta(build(spec, channels, ratio, size=size))


def _undrawn() -> "TorchFunctionMode":
    """Spare drawing weights that have no numbers: it would load much of torch's compiler."""
    from torch import Tensor
    from torch.overrides import TorchFunctionMode

    class Undrawn(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
        ) -> Any:
            if func in (Tensor.normal_, Tensor.uniform_) and args[0].is_meta:
                return args[0]
            return func(*args, **(kwargs or {}))

    return Undrawn()


def _copied(name: str) -> "nn.Module":
    try:
        return copy.deepcopy(_GIVEN.get()[name])
    except Exception as error:  # the module may raise anything
        raise UsageError(f"block {quoted(name)} cannot be copied: {worded(error)}") from error


def is_bound(text: str) -> bool:
    """Tell whether a block is built for one size of map, by what its constructor declares."""
    return text not in _GIVEN.get() and bool(
        constructors.sized(factory_of(parse_block(text)), (1, 1))
    )


def _construct(
    text: str, channels: int, ratio: int | None, size: tuple[int, int] | None
) -> "nn.Module":
    from torch import nn

    spec = parse_block(text)
    factory = factory_of(spec)
    arguments: dict[str, Any] = {**constructors.sized(factory, size), **dict(spec.options)}
    if ratio is not None:
        arguments.setdefault("ratio", ratio)
    name = constructors.channels_name(factory)
    try:
        module = (
            factory(channels, **arguments)
            if name is None
            else factory(**{name: channels}, **arguments)
        )
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a constructor may raise anything
        # arguments that do not fit are refused where the call is, which is here
        where = "" if at(error) else constructors.made_at(factory)
        raise UsageError(
            f"block {quoted(text)} cannot be built at {channels} channels: "
            f"{worded(error)}{where}{remark(text)}"
        ) from error
    if not isinstance(module, nn.Module):
        where = constructors.made_at(factory)
        raise UsageError(
            f"block {quoted(text)} makes {type(module).__name__}, not a torch.nn.Module{where}"
        )
    return module


def factory_of(spec: BlockSpec) -> Factory:
    """Import what a block spec names: a class or a function that makes the module.

    Modules are looked for in the working directory too. Raises UsageError where there is none.
    """
    require_known(str(spec))
    if "/" in spec.target and ":" not in spec.target:
        return peers.factory(spec.target)
    target = spec.target
    if ":" not in target and target not in BLOCKS:
        target = catalogue()[0][target].target
    if ":" in target:
        return imported(f"block {str(spec)!r}", target)
    listed: Factory = BLOCKS[target].load()
    return listed


def require_known(text: str) -> None:
    """Make sure that a block spec's target has a name that is known, as far as that is told fast.

    Nothing is imported for it. Raises UsageError with the nearest of all that there are.
    """
    target = parse_block(text).target
    module, colon, _ = target.partition(":")
    if text in _GIVEN.get() or target in BLOCKS:
        return
    if colon:
        if is_file(module) and not Path(module).expanduser().is_file():
            raise UsageError(f"block {quoted(text)}: there is no file {module}")
        return
    if is_file(target):
        raise UsageError(f"block {quoted(text)}: name a class in that file, as in {target}:MyBlock")
    known, clashes = catalogue()
    if "/" in target:
        peers.require_known(target)
    elif target not in known:
        told = [clash for clash in clashes if clash.startswith(f"{target!r} ")]
        if told:
            raise UsageError("; ".join(["block " + told[0], *told[1:]]))
        raise UsageError(f"unknown block {quoted(target)}: {_meant(target, known)}")


def _meant(target: str, known: Iterable[BlockEntry]) -> str:
    """Say what an unknown name may have meant, among all blocks that there are."""
    module, dot, name = target.rpartition(".")
    if dot and module and name.isidentifier():
        return f"did you mean {module}:{name}? (a class of your own is MODULE:CLASS)"
    others = [f"{library.name}/{name}" for library in peers.LIBRARIES for name in library.names]
    ours = [entry.name for entry in known]
    near = nearest(target, [*ours, *others])
    hint = f"did you mean {near!r}? " if near else ""
    return f"{hint}known: {', '.join(ours)}; gcbench blocks lists those of libraries"


def remark(text: str) -> str:
    """Say behind a failure of a library's block what is known of it; nothing of other blocks."""
    if text in _GIVEN.get():
        return ""
    target = parse_block(text).target
    words = peers.remark(target) if "/" in target and ":" not in target else ""
    return f"; {words}" if words else ""


def source_of(module: "nn.Module", text: str) -> str:
    """Say where the code that a block runs is a user's own, else the code that made it."""
    where = constructors.written_at(type(module).forward)
    return (
        where
        if where or text in _GIVEN.get()
        else constructors.made_at(factory_of(parse_block(text)))
    )


def made_at(text: str) -> str:
    """Say where the code that makes a block begins; nothing where that is nobody's own."""
    if text in _GIVEN.get():
        return constructors.written_at(type(_GIVEN.get()[text]).__init__)
    return constructors.made_at(factory_of(parse_block(text)))


def options_at(text: str) -> dict[str, Any]:
    """The value of every option of a block spec, as it is given or by default."""
    spec = parse_block(text)
    parameters = constructors.options_of(factory_of(spec))
    default = {n: p.default for n, p in parameters.items() if p.default is not p.empty}
    return default | dict(spec.options)
