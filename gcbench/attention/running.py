"""Pictures through a model, and what its attention blocks make of them, one picture at a time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from gcbench import networks
from gcbench.attention.calls import Call, Grid
from gcbench.attention.images import Photo, fitted, normalised
from gcbench.attention.kinds import KINDS, Kind, kind_of, shared_maps
from gcbench.attention.readings import Reading, averaged, read
from gcbench.errors import CountingError, GcbenchError, UsageError, told
from gcbench.measure import environment
from gcbench.measure.counting.meta import meta_pass
from gcbench.networks import places, probing, weights
from gcbench.networks.measured import Measured
from gcbench.networks.variants import Insertion
from gcbench.spec.cases import Axes, Dtype, Network, Shape
from gcbench.tensors import on_meta
from gcbench.units import size_text

# tokens that some transformers put before those of the image: class, distillation, registers
MOST_EXTRA_TOKENS = 8


@dataclass(frozen=True)
class Found:
    """An attention block of a model: its path, as state dicts have it, and its kind."""

    path: str
    kind: Kind
    module: nn.Module


@dataclass(frozen=True)
class Maps:
    """Rows of chosen queries for one picture: (queries, keys), the mean over heads.

    Queries stand at `at`, (row, column) of `query_grid`; what a row weighs are the positions of
    `key_grid`. `left_out` is what the rows give to keys that are no position of the picture;
    `keys` counts those too.
    """

    photo: int
    rows: Tensor
    at: tuple[Grid, ...]
    query_grid: Grid
    key_grid: Grid
    left_out: Tensor
    keys: int


@dataclass
class Seen:
    """What was seen of one block: a reading for each picture, its shape, and maps to draw.

    `shape` begins with how many maps of one picture the block gets at once; `reason` says why
    there is no reading.
    """

    found: Found
    readings: list[Reading] = field(default_factory=list)
    reason: str = "no picture went through it"
    shape: Shape | None = None
    dtype: Dtype = "float32"
    queries: int | None = None
    keys: int | None = None
    heads: int | None = None
    maps: list[Maps] = field(default_factory=list)
    maps_reason: str | None = None


def prepare(
    text: str,
    insertions: Sequence[Insertion],
    ratio: int,
    state: Path | None,
    seed: int,
    size: tuple[int, int],
) -> nn.Module:
    """Make a network, with blocks inside and weights from a file where they are given.

    The file may be of the plain network or of the one with its blocks. Raises UsageError.
    """
    model = networks.make(networks.resolve(text), seed)
    found = None if state is None else weights.read(state)
    with_blocks = found is not None and _has_blocks(found)
    if state is not None and found is not None and not with_blocks:
        weights.put(model, found, state)
    for each in insertions:
        networks.put_in(model, each, ratio, seed, (1, 3, *size))
    if state is not None and found is not None and with_blocks:
        weights.put(model, found, state)
    if any(tensor.is_meta for tensor in model.state_dict().values()):
        raise UsageError(f"network {text!r} is made on the meta device, where there are no weights")
    return model.eval()


def is_untrained(
    model: nn.Module, text: str, inserted: bool, state: Path | None, seed: int
) -> bool:
    """Whether nobody trained a network that was prepared from a seed, or what was put into it.

    One that loads weights of its own has the same ones from every seed.
    """
    if inserted and (state is None or not _has_blocks(weights.read(state))):
        return True
    if state is not None:
        return False
    other = networks.make(text, seed + 1).state_dict()
    return any(
        name in other and not torch.equal(tensor, other[name])
        for name, tensor in model.state_dict().items()
    )


def _has_blocks(state: Mapping[str, Tensor]) -> bool:
    return any(".inserted." in name for name in state)


def find(model: nn.Module) -> list[Found]:
    """Find the attention blocks of a model. Raises UsageError, with what is known, without one."""
    found = [
        Found(places.named(model, path), kind, module)
        for path, module in model.named_modules()
        if (kind := kind_of(module)) is not None
    ]
    if not found:
        known = ", ".join(kind.name for kind in KINDS)
        shared = "".join(f"; {words}" for words in shared_in(model))
        raise UsageError(
            f"{type(model).__name__} has no attention block of the kinds that are known: {known} "
            f"(--insert nl@+1 puts one in){shared}"
        )
    return found


def shared_in(model: nn.Module) -> list[str]:
    """Say of each kind of block in a model whose maps all queries share what those are."""
    told_of = (shared_maps(module) for module in model.modules())
    return list(dict.fromkeys(words for words in told_of if words))


def choose(model: nn.Module, blocks: Sequence[Found], place: str) -> list[Found]:
    """The blocks at a place: a block's path, a module that it is in, or a place of a network.

    Raises UsageError, with the blocks that there are, where there is none.
    """
    wanted = [place]
    # it may be a block's own path and no place
    with suppress(UsageError):
        wanted += places.find(model, places.parse(place, "after_add"))
    wanted = [places.named(model, path) for path in wanted]
    chosen = [
        block
        for block in blocks
        if any(block.path == path or block.path.startswith(f"{path}.") for path in wanted)
    ]
    if not chosen:
        known = ", ".join(block.path or "the model itself" for block in blocks)
        raise UsageError(f"--block {place!r} names no attention block: there are {known}")
    return chosen


def require_memory(model: nn.Module, text: str, size: tuple[int, int], device: str) -> None:
    """Raise UsageError where a pass is predicted to take more memory than is free.

    Predicted on the meta device; of a model that does not run there nothing is said, and each block
    is looked at when it is called.
    """
    axes = Axes(size=size, dtype=_named(probing.dtype_of(model)))
    case = networks.comparison_inside(Network(text), [], [], axes, "cpu").cases[0]
    try:
        passed = meta_pass(on_meta(Measured(model, Network(text), 1, size)), case)
    except (CountingError, UsageError):
        return
    _require(passed.activation_bytes, f"{text} on a {size[0]}x{size[1]} image", device)


def _named(dtype: torch.dtype) -> Dtype:
    return cast(Dtype, str(dtype).removeprefix("torch."))


def _require(needed_bytes: int, what: str, device: str) -> None:
    free_bytes = environment.free_bytes(device)
    if free_bytes is not None and needed_bytes > free_bytes:
        raise UsageError(
            f"{what} is predicted to need {size_text(needed_bytes)}, and {size_text(free_bytes)} "
            "are free: a smaller --size makes the maps smaller"
        )


def measure(
    model: nn.Module,
    text: str,
    blocks: Sequence[Found],
    photos: Sequence[Photo],
    size: tuple[int, int],
    device: str = "cpu",
    seed: int = 0,
    queries: Callable[[Grid], Sequence[Grid]] = lambda grid: (),
    drawn: int = 0,
    on_done: Callable[[str], None] = lambda name: None,
) -> list[Seen]:
    """Send pictures through a model, and measure every call of the blocks on the way.

    Of the first `drawn` pictures the maps of the positions that `queries` chooses of a grid are
    kept. A block that is called more than once for a picture is seen as often, `#2` behind its
    path. Raises UsageError where the model does not take the pictures.
    """
    watch = _Watch(blocks, seed, size, queries, drawn, device)
    part = Measured(model, Network(text), 1, size).to(device).eval()
    with torch.no_grad(), watch.hooked():
        for number, photo in enumerate(photos):
            watch.begin(number)
            pixels = normalised(fitted(photo, size)).to(device, probing.dtype_of(model))
            try:
                part(pixels)
            except GcbenchError:
                raise
            except (Exception, SystemExit) as error:  # a model may raise anything
                raise UsageError(
                    f"{text} does not take a 1x3x{size[0]}x{size[1]} image: {told(error)}"
                ) from error
            on_done(photo.name)
    return watch.seen()


class _Watch:
    """Hooks on attention blocks, which measure while the model runs."""

    def __init__(
        self,
        blocks: Sequence[Found],
        seed: int,
        size: tuple[int, int],
        queries: Callable[[Grid], Sequence[Grid]],
        drawn: int,
        device: str,
    ) -> None:
        self._blocks, self._seed, self._size = blocks, seed, size
        self._queries, self._drawn, self._device = queries, drawn, device
        self._seen: dict[tuple[str, int], Seen] = {}
        self._photo = 0
        self._called: dict[str, int] = {}

    def begin(self, photo: int) -> None:
        """Begin with a picture."""
        self._photo, self._called = photo, {}

    def seen(self) -> list[Seen]:
        """What was seen, in the model's order; a block that was never called has no reading."""
        found = []
        for block in self._blocks:
            calls = [seen for (path, _), seen in self._seen.items() if path == block.path]
            found += calls or [Seen(block)]
        return found

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Watch the blocks inside."""
        with ExitStack() as stack:
            for block in self._blocks:
                module = block.module
                stack.callback(
                    module.register_forward_pre_hook(
                        partial(self._before, block), with_kwargs=True
                    ).remove
                )
                stack.callback(
                    module.register_forward_hook(
                        partial(self._after, block), with_kwargs=True
                    ).remove
                )
            yield

    def _before(self, block: Found, module: nn.Module, given: Any, named: Any) -> None:
        with suppress(TypeError):
            arguments = block.kind.named(given, named)
            needed = block.kind.load().map_bytes(module, arguments)
            _require(needed, f"{block.path or 'the model'} ({block.kind.name})", self._device)

    def _after(self, block: Found, module: nn.Module, given: Any, named: Any, output: Any) -> None:
        adapter = block.kind.load()
        number = self._called[block.path] = self._called.get(block.path, 0) + 1
        mark = f"#{number}" if number > 1 else ""
        seen = self._seen.setdefault(
            (block.path, number), Seen(replace(block, path=block.path + mark))
        )
        try:
            calls = list(adapter.calls(module, block.kind.named(given, named), output))
            why_not = adapter.no_distribution(module)
            reading = averaged(
                [read(call, why_not, self._drawn_from(part)) for part, call in enumerate(calls)]
            )
        except Exception as error:  # a class that was derived from a kind's may do anything
            seen.reason = f"it is called or answers otherwise than its kind: {told(error)}"
            return
        seen.readings.append(reading)
        call = calls[0]
        if seen.shape is None:
            height, width = call.query_grid or (call.queries, 1)
            seen.shape = (len(calls), call.inputs.shape[1], height, width)
            seen.queries, seen.keys, seen.heads = call.queries, call.keys, call.heads
            seen.dtype = _named(call.inputs.dtype)
        if self._photo < self._drawn:
            # where there is no share there are no rows to believe
            seen.maps_reason = reading.reasons.get("query_share") or self._keep(seen, calls)

    def _drawn_from(self, part: int) -> int:
        """A seed of its own for each of the maps of a picture: their errors must not add up."""
        return self._seed + self._photo + 1_000_003 * part

    def _keep(self, seen: Seen, calls: Sequence[Call]) -> str | None:
        """Keep the maps of the chosen queries, or say why there are none over the picture."""
        call = calls[0]
        if len(calls) > 1:
            return f"it gets {len(calls)} maps of a picture at once, none of which is all of it"
        queries, keys = grids(call, self._size)
        if queries is None or keys is None:
            return f"its {call.queries} queries are no grid over the picture"
        at = tuple(self._queries(queries))
        first, extra = call.queries - queries[0] * queries[1], call.keys - keys[0] * keys[1]
        index = torch.tensor([first + row * queries[1] + column for row, column in at])
        rows = call.rows(index).double().mean(0).cpu()
        left_out = rows[:, :extra].sum(1)
        seen.maps.append(Maps(self._photo, rows[:, extra:], at, queries, keys, left_out, call.keys))
        return None


def grids(call: Call, size: tuple[int, int]) -> tuple[Grid | None, Grid | None]:
    """The grids of queries and keys over a picture of height x width.

    Where the block does not know them, tokens are taken for a grid of the picture's proportions
    behind the fewest others, up to MOST_EXTRA_TOKENS.
    """
    return (
        call.query_grid or _token_grid(call.queries, size),
        call.key_grid or _token_grid(call.keys, size),
    )


def _token_grid(tokens: int, size: tuple[int, int]) -> Grid | None:
    height, width = size
    for extra in range(min(MOST_EXTRA_TOKENS, tokens - 1) + 1):
        for rows in range(1, tokens - extra + 1):
            columns, rest = divmod(tokens - extra, rows)
            if not rest and columns * height == rows * width:
                return rows, columns
    return None
