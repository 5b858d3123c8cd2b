"""The table of blocks, and the way from a block spec to a module.

Beside the table's own blocks there are those that installed packages announce, `LIBRARY/NAME` of
the libraries in `gcbench.peers`, `module:Class` for whatever else can be imported, and, while
`given` says so, modules that exist already.

A block is an `nn.Module` that maps (B, C, H, W) to (B, C, H, W). Its constructor takes the
channels, and keyword options with defaults; where one of them is `ratio`, the ratio axis varies it.
One that takes `height` and `width`, `feat_size` or `input_resolution` is given the size of the map.
A block may carry closed forms: `letters(shape)` names quantities, `LETTERS` explains its own, and
`closed_form(**letters)` gives what `FORMS` names; `alive_bytes(**letters, e)`, the memory, may be
left out. A block of the table has these, any other module needs nothing.
"""

import copy
import functools
import inspect
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from gcbench import peers
from gcbench.errors import CountingError, UsageError, at, at_code, quoted, told, worded
from gcbench.registry import Entry, Registry, imported, is_file, nearest, suggestion
from gcbench.spec import (
    ELEMENT_BYTES,
    Block,
    BlockSpec,
    Case,
    Shape,
    Value,
    parse_block,
    value_text,
)

if TYPE_CHECKING:
    from torch import nn
    from torch.overrides import TorchFunctionMode

T = TypeVar("T")
# what a closed form says: parameters, MACs of a forward pass, elements that must move
FORMS = ("params", "macs", "min_elements")
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


@dataclass(frozen=True)
class BlockEntry(Entry):
    """A line of the table: the entry, the paper that the block comes from, its place in the family.

    `context`, `transform` and `fusion` are the three steps of arXiv 1904.11492 as the block takes
    them by default. `order` has the terms of its MACs for an image that grow with N or C, without
    factors, for H = W: `C N + C^2`. Announced blocks have no place.
    """

    source: str
    context: str = ""
    transform: str = ""
    fusion: str = ""
    order: str = ""

    @property
    def tier(self) -> str:
        """What the block's cost grows like: quadratic in N, linear with C^2, or neither."""
        terms = self.order.split(" + ")
        if "C N^2" in terms:
            return "quadratic"
        return "linear" if "C^2 N" in terms else "light"


_HERE = "gcbench.blocks"

BLOCKS: Registry[BlockEntry] = Registry(
    "block",
    (
        BlockEntry(
            "gc",
            f"{_HERE}.gc:GlobalContext",
            "Global Context: attention pooling, bottleneck, addition; options span the framework",
            "arXiv 1904.11492, eq. 5",
            context="one map for all queries",
            transform="bottleneck with LN",
            fusion="add",
            order="C N + C^2",
        ),
        BlockEntry(
            "se",
            f"{_HERE}.se:SqueezeExcitation",
            "Squeeze-Excitation: average pooling, bottleneck, scaling",
            "arXiv 1709.01507, eq. 2-4",
            context="average",
            transform="bottleneck",
            fusion="scale",
            order="C^2",
        ),
        BlockEntry(
            "snl",
            f"{_HERE}.snl:SimplifiedNonLocal",
            "simplified Non-local: one attention map for every query",
            "arXiv 1904.11492, eq. 2-3",
            context="one map for all queries",
            transform="C x C",
            fusion="add",
            order="C N + C^2",
        ),
        BlockEntry(
            "nl",
            f"{_HERE}.nl:NonLocal",
            "Non-local: an attention map of its own for every query, O(N^2)",
            "arXiv 1711.07971, eq. 1-6",
            context="a map per query",
            transform="values and output",
            fusion="add",
            order="C^2 N + C N^2",
        ),
        BlockEntry(
            "eca",
            f"{_HERE}.eca:EfficientChannelAttention",
            "Efficient Channel Attention: average pooling, a short convolution along the channels",
            "arXiv 1910.03151, eq. 9",
            context="average",
            transform="k taps along the channels",
            fusion="scale",
            order="C log(C)",
        ),
        BlockEntry(
            "cbam",
            f"{_HERE}.cbam:ConvolutionalBlockAttention",
            "Convolutional Block Attention Module: channels gated, then positions",
            "arXiv 1807.06521, eq. 1-3",
            context="mean and maximum, of positions, then channels",
            transform="shared bottleneck, then k x k",
            fusion="scale, twice",
            order="N + C^2",
        ),
        BlockEntry(
            "ge",
            f"{_HERE}.ge:GatherExcite",
            "Gather-Excite: contexts of all positions or of windows; options have the variants",
            "arXiv 1810.12348",
            context="average; or windows, or depthwise",
            transform="none; or bottleneck",
            fusion="scale",
            order="0",
        ),
        BlockEntry(
            "coord",
            f"{_HERE}.coord:CoordinateAttention",
            "Coordinate Attention: averages of rows and columns, a gate for each",
            "arXiv 2103.02907",
            context="averages of rows and columns",
            transform="bottleneck with BN",
            fusion="scale, twice",
            order="C^2 N^0.5",
        ),
        BlockEntry(
            "simam",
            f"{_HERE}.simam:SimpleAttention",
            "SimAM: a gate from each element's distance to its channel's mean, no parameters",
            "PMLR 139:11863-11874 (ICML 2021)",
            context="mean and variance of a channel",
            transform="none",
            fusion="scale",
            order="0",
        ),
        BlockEntry(
            "triplet",
            f"{_HERE}.triplet:TripletAttention",
            "Triplet Attention: mean and maximum over each axis, gates of three planes",
            "arXiv 2010.03045",
            context="mean and maximum over each axis",
            transform="k x k on three planes",
            fusion="scale, averaged",
            order="N + C N^0.5",
        ),
        BlockEntry(
            "a2",
            f"{_HERE}.a2:DoubleAttention",
            "Double Attention: n shared maps gather, each position mixes what they gathered",
            "arXiv 1810.11579",
            context="n maps for all queries",
            transform="none on n descriptors",
            fusion="mixed by position, add",
            order="C^2 N",
        ),
        BlockEntry(
            "efficient",
            f"{_HERE}.efficient:EfficientAttention",
            "Efficient Attention: softmax of keys and of queries apart, d shared maps",
            "arXiv 1812.01243",
            context="d maps for all queries",
            transform="values and output",
            fusion="mixed by position, add",
            order="C^2 N",
        ),
        BlockEntry(
            "external",
            f"{_HERE}.external:ExternalAttention",
            "External Attention: S learnt memories as keys and values",
            "arXiv 2105.02358",
            context="S learnt memories",
            transform="C x C before and after",
            fusion="mixed by position, add, ReLU",
            order="C^2 N",
        ),
        BlockEntry(
            "ema",
            f"{_HERE}.ema:ExpectationMaximisationAttention",
            "Expectation-Maximisation Attention: K bases fitted to the image in T steps",
            "arXiv 1907.13426",
            context="K maps for all queries, by EM",
            transform="C x C before and after",
            fusion="mixed by position, add, ReLU",
            order="C^2 N",
        ),
        BlockEntry(
            "glore",
            f"{_HERE}.glore:GlobalReasoning",
            "Global Reasoning: projection to n nodes, a graph convolution, projection back",
            "arXiv 1811.12814",
            context="n projections, no softmax",
            transform="graph convolution",
            fusion="projected back, add",
            order="C^2 N + C^3",
        ),
        BlockEntry(
            "apnb",
            f"{_HERE}.apnb:AsymmetricPyramidNonLocal",
            "Asymmetric Pyramid Non-local: a map for every query over 110 pooled keys",
            "arXiv 1908.07678",
            context="a map per query over pooled keys",
            transform="values and output",
            fusion="concatenate, C x 2C",
            order="C^2 N",
        ),
        BlockEntry(
            "cc",
            f"{_HERE}.cc:CrissCrossAttention",
            "Criss-Cross Attention: a map for every query over its row and column, twice",
            "arXiv 1811.11721",
            context="a map per query over row and column",
            transform="values",
            fusion="add, twice",
            order="C^2 N + C N^1.5",
        ),
        BlockEntry(
            "dnl",
            f"{_HERE}.dnl:DisentangledNonLocal",
            "Disentangled Non-local: a whitened map for every query, and one for all",
            "arXiv 2006.06668",
            context="a map per query, and one for all",
            transform="values and output",
            fusion="add",
            order="C^2 N + C N^2",
        ),
        BlockEntry(
            "mhsa",
            f"{_HERE}.mhsa:MultiHeadSelfAttention",
            "Multi-head self-attention: a map for every query and head, fused where it can be",
            "arXiv 1706.03762",
            context="a map per query and head",
            transform="values and output",
            fusion="add",
            order="C^2 N + C N^2",
        ),
        BlockEntry(
            "bot",
            f"{_HERE}.bot:BottleneckAttention",
            "Bottleneck Transformer's attention: relative positions, for one size of map",
            "arXiv 2101.11605",
            context="a map per query and head, with positions",
            transform="values",
            fusion="replaces x",
            order="C^2 N + C N^2",
        ),
    ),
)


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


def catalogue() -> tuple[Registry[BlockEntry], list[str]]:
    """The blocks that have a name: the table's, and those that installed packages announce.

    Returns beside them a sentence for each announced one whose name cannot be used. Imports none.
    """
    points, clashes = peers.announced([entry.name for entry in BLOCKS])
    found = (
        BlockEntry(p.name, f"{p.module}:{p.attr}", f"{p.module}:{p.attr}", peers.origin(p))
        for p in points
    )
    return Registry("block", (*BLOCKS, *found)), clashes


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
    from gcbench.forked import is_known

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
        parameters = options_of(factory)
    except UsageError as error:
        raise UsageError(f"block {quoted(text)}: {error}") from error
    options = _checked(spec, factory, parameters)
    missing = _missing(factory, parameters, options)
    if missing:
        added = "".join(f":{name}=VALUE" for name in missing)
        raise UsageError(
            f"block {quoted(text)} needs {' and '.join(missing)}: add it, as in {text}{added}"
            f"{_made_at(factory)}"
        )
    takes_ratio = _takes_ratio(factory, parameters, options)
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


def closed_form(module: "nn.Module", shape: Shape) -> dict[str, int] | None:
    """Evaluate the block's closed forms at (B, C, H, W); None where it has none.

    Raises CountingError where they lack one, and whatever the block's own functions raise.
    """
    block: Any = module
    return formed(block, block.letters(shape)) if has_closed_form(block) else None


def formed(block: Any, letters: Mapping[str, T]) -> dict[str, T]:
    """Evaluate closed forms with these letters, numbers or symbols; raises as `closed_form`."""
    forms: dict[str, T] = block.closed_form(**letters)
    missing = [name for name in FORMS if name not in forms]
    if missing:
        raise CountingError(f"closed_form of {type(block).__name__} lacks {', '.join(missing)}")
    return forms


def alive_bytes(module: "nn.Module", case: Case) -> int | None:
    """Evaluate the closed form of the peak of bytes that a forward pass makes; None without one."""
    block: Any = module
    if not has_closed_forms(block):
        return None
    return max(block.alive_bytes(**block.letters(case.shape), e=ELEMENT_BYTES[case.dtype]))


def flags(module: "nn.Module") -> tuple[str, ...]:
    """What the block itself finds special about its configuration."""
    block: Any = module
    return tuple(block.flags()) if has_closed_form(block) and hasattr(block, "flags") else ()


def has_closed_forms(block: object) -> bool:
    """Tell whether a block has closed forms of everything, memory included."""
    return has_closed_form(block) and callable(getattr(block, "alive_bytes", None))


def has_closed_form(block: object) -> bool:
    """Tell whether a block has closed forms of parameters, MACs and elements that must move."""
    # both, so that an attribute of a user's module that happens to have one name is left alone
    return all(callable(getattr(block, name, None)) for name in ("letters", "closed_form"))


def _copied(name: str) -> "nn.Module":
    try:
        return copy.deepcopy(_GIVEN.get()[name])
    except Exception as error:  # the module may raise anything
        raise UsageError(f"block {quoted(name)} cannot be copied: {worded(error)}") from error


def is_bound(text: str) -> bool:
    """Tell whether a block is built for one size of map, by what its constructor declares."""
    return text not in _GIVEN.get() and bool(_sized(factory_of(parse_block(text)), (1, 1)))


def _sized(factory: Factory, size: tuple[int, int] | None) -> dict[str, Any]:
    """The size under the names by which a factory asks for it; nothing where it does not."""
    if size is None:
        return {}
    parameters = _parameters(factory)
    found: dict[str, Any] = {name: size for name in SIZE_NAMES if name in parameters}
    if all(name in parameters for name in SIDE_NAMES):
        found |= zip(SIDE_NAMES, size, strict=True)
    return found


def _construct(
    text: str, channels: int, ratio: int | None, size: tuple[int, int] | None
) -> "nn.Module":
    from torch import nn

    spec = parse_block(text)
    factory = factory_of(spec)
    arguments: dict[str, Any] = {**_sized(factory, size), **dict(spec.options)}
    if ratio is not None:
        arguments.setdefault("ratio", ratio)
    name = _channels_name(factory)
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
        where = "" if at(error) else _made_at(factory)
        raise UsageError(
            f"block {quoted(text)} cannot be built at {channels} channels: "
            f"{worded(error)}{where}{remark(text)}"
        ) from error
    if not isinstance(module, nn.Module):
        where = _made_at(factory)
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
    where = written_at(type(module).forward)
    return where if where or text in _GIVEN.get() else _made_at(factory_of(parse_block(text)))


def made_at(text: str) -> str:
    """Say where the code that makes a block begins; nothing where that is nobody's own."""
    if text in _GIVEN.get():
        return written_at(type(_GIVEN.get()[text]).__init__)
    return _made_at(factory_of(parse_block(text)))


def _made_at(factory: Factory) -> str:
    """Say where a factory's own code begins: what takes its arguments, else a class's forward."""
    if isinstance(factory, functools.partial):
        return _made_at(factory.func)
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


def _channels_name(factory: Factory) -> str | None:
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
        f"it takes {takes}, and gcbench passes the channels as one of {names}{_made_at(factory)}"
    )


def options_of(factory: Factory) -> dict[str, inspect.Parameter]:
    """The options that a block spec may give, by name: every parameter but the channels."""
    parameters = _parameters(factory)
    channels = _channels_name(factory)
    if channels is None:
        channels = next(name for name, p in parameters.items() if p.kind in _POSITIONAL)
    return {name: p for name, p in parameters.items() if name != channels}


def _missing(
    factory: Factory, parameters: Mapping[str, inspect.Parameter], given: Mapping[str, Value]
) -> list[str]:
    """The arguments that a factory needs and that nobody gives it."""
    ours = ("ratio", *_sized(factory, (1, 1)), *given)
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    needed = (n for n, p in parameters.items() if p.default is _EMPTY and p.kind in by_name)
    return [name for name in needed if name not in ours]


def options_at(text: str) -> dict[str, Any]:
    """The value of every option of a block spec, as it is given or by default."""
    spec = parse_block(text)
    parameters = options_of(factory_of(spec))
    default = {n: p.default for n, p in parameters.items() if p.default is not p.empty}
    return default | dict(spec.options)


def _takes_ratio(
    factory: Factory,
    parameters: Mapping[str, inspect.Parameter],
    options: Mapping[str, Value],
) -> bool:
    if "ratio" not in parameters:
        return False
    if not hasattr(factory, "without_ratio"):
        return True
    key, value = factory.without_ratio
    return bool(options.get(key, parameters[key].default) != value)


def _checked(
    spec: BlockSpec, factory: Factory, parameters: Mapping[str, inspect.Parameter]
) -> dict[str, Any]:
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
