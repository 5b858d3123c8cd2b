"""What the user asks for: axes, block specs, cases and their keys, comparisons.

Everything here is text and numbers; nothing imports torch, so that a mistake in a command is told
at once.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, Literal, get_args

from gcbench.errors import UsageError, quoted
from gcbench.registry import suggestion
from gcbench.runtime import NAMES as RUNTIMES

Dtype = Literal["float32", "float16", "bfloat16", "float64"]
# what others call them
DTYPE_ALIASES = {
    **dict.fromkeys(("fp32", "f32", "float"), "float32"),
    **dict.fromkeys(("fp16", "f16", "half"), "float16"),
    **dict.fromkeys(("bf16",), "bfloat16"),
    **dict.fromkeys(("fp64", "f64", "double"), "float64"),
}
Layout = Literal["contiguous", "channels_last"]
Mode = Literal["infer", "train", "backward"]
Cache = Literal["warm", "cold"]
Regime = Literal["burst", "sustained"]
CounterName = Literal["auto", "gcbench", "fvcore", "torch", "formula"]
Switch = Literal["on", "off"]
Heap = Literal["steady", "default"]

CHOICES: dict[str, Any] = {
    "dtype": Dtype,
    "layout": Layout,
    "mode": Mode,
    "runtime": RUNTIMES,
    "cache": Cache,
    "regime": Regime,
    "heap": Heap,
}

Value = bool | int | float | str | None
Shape = tuple[int, int, int, int]

# what `--pair AXIS` puts side by side where no values are named; None is the machine's default
PAIRS: dict[str, tuple[Any, ...]] = {
    "runtime": ("eager", "compile"),
    "dtype": ("float32", "bfloat16"),
    "layout": ("contiguous", "channels_last"),
    "mode": ("infer", "train"),
    "cache": ("warm", "cold"),
    "threads": (1, None),
    "heap": ("steady", "default"),
}

DEFAULT_BLOCKS = ("gc", "se", "snl", "nl")
# what has one map for all queries, and may stand where a block has one for each
REPLACEMENTS = ("snl", "gc")
EXAMPLES = {
    "block": "gc, or my.module:MyBlock",
    "network": "resnet50, timm/NAME, or my.module:make_model",
}
# the spec of a network's case in which nothing was put
PLAIN = "plain"
ELEMENT_BYTES: dict[Dtype, int] = {"float32": 4, "float16": 2, "bfloat16": 2, "float64": 8}
LARGEST = 2**31 - 1
# more than machines have, and fewer than libraries crash at
MOST_THREADS = 1024

# a name, or a file of Python
_TARGET = re.compile(r"[\w./-]+|[\w./~+ -]+\.py")

_WORDS: dict[str, Value] = {"true": True, "false": False, "none": None}


@dataclass(frozen=True, slots=True)
class BlockSpec:
    """A block as the user wrote it: `TARGET[:key=value]...`."""

    target: str
    options: tuple[tuple[str, Value], ...]

    def __str__(self) -> str:
        """Write the spec back, options in the order that they have here."""
        return ":".join(
            [self.target, *(f"{key}={value_text(value)}" for key, value in self.options)]
        )


@dataclass(frozen=True, slots=True)
class Block:
    """A block spec after its target was looked at.

    `spec` is canonical: the registry's name, then the options that differ from their defaults,
    sorted, without ratio. `ratio` is the one that the spec fixes; `takes_ratio` tells whether the
    ratio axis varies this block.
    """

    name: str
    spec: str
    ratio: int | None
    takes_ratio: bool


@dataclass(frozen=True, slots=True)
class Network:
    """A network that blocks are put into and that is measured with them.

    `spec` is canonical; `weights` is a file of its state dict; `whole` asks for all of a detector
    instead of its backbone and FPN. `inputs` are the shapes of what it is called on, the images
    first; empty where that is one (B, C, H, W). `maker` is the function that makes them.
    """

    spec: str
    weights: str | None = None
    whole: bool = False
    inputs: tuple[tuple[int, ...], ...] = ()
    maker: str | None = None

    @property
    def label(self) -> str:
        """The spec, whether all of it is meant, and what it is called on beside usual images."""
        parts = [self.spec, *(["whole"] if self.whole else [])]
        if self.maker:
            parts.append(f"input={self.maker}")
        elif len(self.inputs) > 1 or any(len(each) != 4 for each in self.inputs):
            parts.append(f"input={','.join('x'.join(map(str, each)) for each in self.inputs)}")
        return "/".join(parts)


@dataclass(frozen=True, slots=True)
class Case:
    """One block spec at one value of every axis. `copy` counts repetitions of the same case.

    A `heap` of None is that of the process which measures it, whichever that has.
    Inside a `network` the spec is `SPEC@PLACES` or `WHAT=SPEC`, several joined by `+`, or `plain`
    where nothing was put in, and the shape is that of the images.
    """

    block: str
    spec: str
    batch: int
    channels: int
    height: int
    width: int
    ratio: int | None
    dtype: Dtype
    device: str
    layout: Layout
    mode: Mode
    runtime: str
    cache: Cache
    threads: int | None
    copy: int = 1
    network: Network | None = None
    regime: Regime = "burst"
    heap: Heap | None = None

    @property
    def shape(self) -> Shape:
        """The input's shape (B, C, H, W)."""
        return self.batch, self.channels, self.height, self.width

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape that it is called on: that of a network's own input, where it has one."""
        own = self.network.inputs if self.network else ()
        return own[0] if own else self.shape

    @property
    def input(self) -> tuple[object, ...]:
        """What one plain copy of the input depends on: cases alike in it share a copy arm."""
        how = self.layout, self.cache, self.threads, self.heap
        return self.input_shape, self.dtype, self.device, *how

    @property
    def key(self) -> str:
        """The text that identifies this case for ever, whatever the machine, seed or version.

        A regime is named where it is not the usual one, a heap where the case has one of its own.
        """
        parts = [
            *([] if self.network is None else [self.network.label]),
            self.spec,
            *([] if self.ratio is None else [f"ratio={self.ratio}"]),
            "x".join(map(str, self.shape)),
            self.dtype,
            kind_of(self.device),
            self.layout,
            self.mode,
            self.runtime,
            self.cache,
            f"threads={self.threads or 'auto'}",
            *([] if self.regime == "burst" else [self.regime]),
            *([] if self.heap is None else [f"heap={self.heap}"]),
        ]
        return "|".join(parts) + self._copy_mark

    @property
    def label(self) -> str:
        """A short name among the cases of one comparison."""
        return self.spec + ("" if self.ratio is None else f" r{self.ratio}") + self._copy_mark

    @property
    def _copy_mark(self) -> str:
        return f"#{self.copy}" if self.copy > 1 else ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The cases that are timed together, and for each the position of the one it is divided by.

    A case that is its own baseline is divided by nothing. `pair` is the axis whose values stand
    side by side, where one was asked for: each block is then divided by itself at the first value.
    `place` is its number in a grid, from 0 on; `kind` is its device where others of the same kind
    measure the same, since keys name the kind alone.
    """

    cases: tuple[Case, ...]
    baselines: tuple[int, ...]
    pair: str | None = None
    place: int = 0
    kind: str | None = None

    @property
    def device(self) -> str:
        """Where its cases run."""
        return self.cases[0].device


@dataclass(frozen=True, slots=True)
class Axes:
    """One value for each axis but the block. A device or cache of None is the machine's default.

    A heap of None is that of the process which measures; only a pair names one.
    """

    batch: int = 1
    channels: int = 256
    size: tuple[int, int] = (56, 56)
    ratio: int = 16
    dtype: Dtype = "float32"
    device: str | None = None
    layout: Layout = "contiguous"
    mode: Mode = "infer"
    runtime: str = "eager"
    cache: Cache | None = None
    threads: int | None = None
    regime: Regime = "burst"
    heap: Heap | None = None


def most_threads(comparisons: Iterable[Comparison], usual: int) -> int:
    """The most CPU threads that a case on the CPU has; `usual` are those of one that names none."""
    cases = (case for comparison in comparisons for case in comparison.cases)
    return max((case.threads or usual for case in cases if case.device == "cpu"), default=usual)


def parse_shape(name: str, shape: Sequence[int]) -> Shape:
    """Check a shape (B, C, H, W). Raises UsageError, which says what came."""
    if len(shape) != 4:
        raise UsageError(f"{name} takes four sizes (B, C, H, W), not {tuple(shape)!r}")
    batch, channels, height, width = (parse_count(name, str(side)) for side in shape)
    return batch, channels, height, width


def axes_at(shape: Shape, named: Mapping[str, Any]) -> Axes:
    """Make axes from a shape (B, C, H, W) and named values. Raises UsageError."""
    known = [
        field.name
        for field in fields(Axes)
        if field.name not in ("batch", "channels", "size", "heap")
    ]
    read = dict(named)
    for name, value in named.items():
        if name not in known:
            raise UsageError(f"unknown axis {quoted(name)}: {suggestion(name, known)}")
        if name in CHOICES and (value is not None or name != "cache"):
            read[name] = parse_choice(name, str(value), CHOICES[name])
        elif name == "device" and value is not None:
            parse_device(name, str(value))
        elif name == "threads" and value is not None:
            parse_threads(name, str(value))
        elif name == "ratio" and value is not None:
            parse_count(name, str(value))
    batch, channels, height, width = parse_shape("shape", shape)
    return Axes(batch=batch, channels=channels, size=(height, width), **read)


@dataclass(frozen=True, slots=True)
class Pair:
    """An axis whose values are put side by side in one comparison."""

    axis: str
    values: tuple[Any, ...]


def comparison_of(
    blocks: Sequence[Block],
    axes: Axes,
    device: str,
    baseline: Block | None = None,
    pair: Pair | None = None,
) -> Comparison:
    """Put blocks side by side at one value of every axis, or at each of a pair's values.

    `device` stands in where the axes leave it open, and decides the cache where they leave that
    open: cold on CUDA, as the field's GPU tools have it, and warm on a CPU. The same case twice is
    told apart by `copy`. Raises UsageError where the baseline is not among the blocks.
    """
    if not blocks:
        raise UsageError("name at least one block")
    if pair is None:
        cases = _cases(blocks, axes, device)
        return Comparison(cases, (_baseline(cases, baseline),) * len(cases))
    if baseline is not None:
        raise UsageError(
            "--baseline and --pair ask for different things: a pair divides every block by itself"
        )
    columns = [_cases(blocks, replace(axes, **{pair.axis: v}), device) for v in pair.values]
    wide = len(pair.values)
    return Comparison(
        # each block's values stand together, the first of them its baseline
        tuple(case for row in zip(*columns, strict=True) for case in row),
        tuple(position // wide * wide for position in range(wide * len(blocks))),
        pair.axis,
    )


def _cases(blocks: Sequence[Block], axes: Axes, device: str) -> tuple[Case, ...]:
    device = axes.device or device
    height, width = axes.size
    cases: list[Case] = []
    seen: Counter[Case] = Counter()
    for block in blocks:
        case = Case(
            block=block.name,
            spec=block.spec,
            batch=axes.batch,
            channels=axes.channels,
            height=height,
            width=width,
            ratio=axes.ratio if block.takes_ratio else block.ratio,
            dtype=axes.dtype,
            device=device,
            layout=axes.layout,
            mode=axes.mode,
            runtime=axes.runtime,
            cache=axes.cache or default_cache(device),
            threads=axes.threads,
            regime=axes.regime,
            heap=axes.heap,
        )
        seen[case] += 1
        cases.append(replace(case, copy=seen[case]))
    return tuple(cases)


def kind_of(device: str) -> str:
    """The kind of a device, by which keys name it: cpu or cuda."""
    return device.partition(":")[0]


def kind_among(device: str, devices: Sequence[str]) -> str | None:
    """What tells a device from others in a run: its name, where others are of its kind.

    >>> [kind_among(each, ("cpu", "cuda:0", "cuda:1")) for each in ("cpu", "cuda:1")]
    [None, 'cuda:1']
    """
    alike = [other for other in devices if kind_of(other) == kind_of(device)]
    return device if len(alike) > 1 else None


def default_cache(device: str) -> Cache:
    """The cache of a case that asks for none: cold on CUDA, as GPU tools have it, else warm."""
    return "warm" if device == "cpu" else "cold"


def _baseline(cases: Sequence[Case], wanted: Block | None) -> int:
    if wanted is None:
        return 0
    for index, case in enumerate(cases):
        if case.spec == wanted.spec and (wanted.takes_ratio or case.ratio == wanted.ratio):
            return index
    known = ", ".join(dict.fromkeys(case.label for case in cases))
    raise UsageError(f"--baseline {wanted.spec!r} is not among the blocks: {known}")


def parse_pair(option: str, text: str, axes: Axes) -> Pair:
    """Read a pair: `runtime`, or `dtype=float16,float32` with values of one's own.

    Raises UsageError, which names the option, where the axis cannot be paired, a value is none of
    the axis's, or the axis's own option asks for a value that is not among them.

    >>> parse_pair("--pair", "runtime", Axes())
    Pair(axis='runtime', values=('eager', 'compile'))
    >>> parse_pair("--pair", "threads=1,2", Axes()).values
    (1, 2)
    """
    axis, equals, listed = text.strip().partition("=")
    if axis not in PAIRS:
        raise UsageError(f"{option} {axis!r} cannot be paired: {suggestion(axis, PAIRS)}")
    values = PAIRS[axis]
    if equals:
        values = tuple(_pair_value(f"{option} {axis}", axis, one) for one in listed.split(","))
    if len(values) < 2 or len(set(values)) < len(values):
        raise UsageError(f"{option} {axis} takes at least two different values, not {listed!r}")
    asked = getattr(axes, axis)
    if asked != getattr(Axes(), axis) and asked not in values:
        told = ",".join(str(value) for value in values if value is not None)
        raise UsageError(
            f"{option} {axis} compares {told}, and --{axis} {asked} is none of them: "
            f"name the values, as in {option} {axis}={asked},..."
        )
    return Pair(axis, values)


def require_beside(pair: Pair, heap: Heap | None, regimes: Iterable[Regime]) -> None:
    """Make sure that a pair goes with a heap and regimes. Raises UsageError."""
    if pair.axis != "heap":
        return
    if heap:
        raise UsageError(
            "--heap and --pair heap ask for different things: a pair has a process for each heap"
        )
    if "sustained" in regimes:
        raise UsageError(
            "--pair heap goes with --regime burst: processes that take turns pause in between"
        )


def _pair_value(option: str, axis: str, text: str) -> Any:
    if axis == "threads":
        return parse_threads(option, text)
    return parse_choice(option, text, CHOICES[axis])


@lru_cache(4096)
def parse_block(text: str, what: str = "block") -> BlockSpec:
    """Read a block spec, or what else is named in its grammar and called `what` in errors.

    Raises UsageError, which quotes the spec, where it does not follow the grammar.

    >>> parse_block("gc:pooling=avg:ratio=8")
    BlockSpec(target='gc', options=(('pooling', 'avg'), ('ratio', 8)))
    >>> parse_block("my.module:MyBlock:width=3").target
    'my.module:MyBlock'
    """

    def refuse(why: str) -> UsageError:
        return UsageError(f"{what} {quoted(text)}: {why} (a {what} is TARGET[:key=value]...)")

    try:
        text.encode()
    except UnicodeEncodeError:  # bytes of a shell that are no text, which no record could hold
        raise refuse("it is no text in UTF-8") from None
    parts = text.split(":")
    first = next((i for i, part in enumerate(parts) if "=" in part), len(parts))
    target = parts[:first]
    if not 1 <= len(target) <= 2 or not all(_TARGET.fullmatch(part) for part in target):
        raise refuse(f"the target is a name such as {EXAMPLES[what]}")
    options: dict[str, Value] = {}
    for part in parts[first:]:
        key, equals, value = part.partition("=")
        if not equals:
            raise refuse(f"{quoted(part)} stands behind the options but is no key=value")
        if not key.isidentifier() or not value or re.search(r"[,@=\s]", value):
            raise refuse(f"{quoted(part)} is no key=value (a value has no comma, space, = or @)")
        if key in options:
            raise refuse(f"option {key!r} is given twice")
        options[key] = parse_value(value)
    return BlockSpec(":".join(target), tuple(options.items()))


def parse_value(text: str) -> Value:
    """Read an option's value: int, float, true, false, none, else text.

    >>> [parse_value(text) for text in ("8", "0.5", "true", "none", "avg")]
    [8, 0.5, True, None, 'avg']
    """
    if text in _WORDS:
        return _WORDS[text]
    if re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        return int(text)
    if re.fullmatch(r"[+-]?([0-9]{1,18}\.[0-9]{0,18}|\.?[0-9]{1,18})(e[+-]?[0-9]{1,2})?", text):
        return float(text)
    return text


def value_text(value: Value) -> str:
    """Write a value as `parse_value` reads it.

    >>> [value_text(value) for value in (8, 0.5, True, None, "avg")]
    ['8', '0.5', 'true', 'none', 'avg']
    """
    return next((text for text, word in _WORDS.items() if value is word), str(value))


def parse_count(option: str, text: str, least: int = 1, most: int = LARGEST) -> int:
    """Read a whole number from `least` to `most`. Raises UsageError, which names the option.

    >>> parse_count("--batch", "8")
    8
    """
    if re.fullmatch(r"[0-9]{1,10}", text.strip()) and least <= int(text) <= most:
        return int(text)
    raise _refused(option, text, f"a whole number from {least} to {most}")


def parse_threads(option: str, text: str) -> int:
    """Read a number of CPU threads. Raises UsageError, which names the option."""
    return parse_count(option, text, most=MOST_THREADS)


def parse_size(option: str, text: str) -> tuple[int, int]:
    """Read a size: `56` is 56 x 56, `50x80` is height x width. Raises UsageError.

    >>> parse_size("--size", "56"), parse_size("--size", "50x80")
    ((56, 56), (50, 80))
    """
    sides = text.strip().split("x")
    if len(sides) <= 2 and all(
        re.fullmatch(r"[0-9]{1,10}", side) and 1 <= int(side) <= LARGEST for side in sides
    ):
        return int(sides[0]), int(sides[-1])
    raise _refused(option, text, "a size such as 56 (56x56) or 50x80 (height x width)")


def parse_device(option: str, text: str) -> str:
    """Read a device's name, whether this machine has it or not. Raises UsageError.

    >>> parse_device("--device", "cuda:1")
    'cuda:1'
    """
    if re.fullmatch(r"cpu|cuda(:[0-9]{1,3})?", text.strip()):
        return text.strip()
    raise UsageError(f"{option} takes cpu, cuda or cuda:INDEX, not {quoted(text)}")


def values_of(choices: Any) -> tuple[str, ...]:
    """The values of a Literal, or of a tuple of them."""
    return get_args(choices) or tuple(choices)


def parse_choice(option: str, text: str, choices: Any) -> Any:
    """Read one of a Literal's values, or of some. Raises UsageError with the nearest and all.

    >>> parse_choice("--mode", "infer", Mode), parse_choice("--dtype", "bf16", Dtype)
    ('infer', 'bfloat16')
    """
    known = values_of(choices)
    word = text.strip()
    if choices is Dtype:
        word = DTYPE_ALIASES.get(word.removeprefix("torch."), word)
    if word in known:
        return word
    raise UsageError(f"{option} {quoted(text)} is unknown: {suggestion(text, known)}")


def _refused(option: str, text: str, allowed: str) -> UsageError:
    return UsageError(f"{option} takes {allowed}, not {quoted(text)}")


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure: until every interval's half-width is `precision`, or `max_time_s`.

    With more than one of `processes` the time is shared among as many fresh ones.
    """

    precision: float
    max_time_s: float
    processes: int = 1


DEFAULT_EFFORT = {"cpu": Effort(0.02, 10.0), "cuda": Effort(0.01, 5.0)}
