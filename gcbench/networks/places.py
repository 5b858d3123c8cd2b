"""Places in a network: how they are written, and which modules they name.

    PLACES   PLACE[,PLACE]...
    PLACE    WHERE[/after_1x1 | /after_add]
    WHERE    STAGES[.WHICH] | MODULE.PATH | +1 | +all
    STAGES   c2 to c5, layer1 to layer4 (the same), or from-to: c3-c5
    WHICH    all (the default of c2 to c5) | first | last | last-N | N

`+1` and `+all` are the GCNet paper's: `c4.last-1/after_add` and `c3-c5.all`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from gcbench.errors import UsageError
from gcbench.registry import suggestion

if TYPE_CHECKING:
    from torch import nn

Position = Literal["after_1x1", "after_add"]

PAPER = {"+1": "c4.last-1/after_add", "+all": "c3-c5.all/after_1x1"}
# torchvision's stages by the papers' names
STAGES = {f"c{number}": f"layer{number - 1}" for number in range(2, 6)}

_STAGED = re.compile(
    r"(?:c([2-5])|layer([1-4]))(?:-(?:c([2-5])|layer([1-4])))?\.(all|first|last(?:-[0-9]{1,3})?|[0-9]{1,3})"
)
# layer3 alone is a module
_STAGES_ALONE = re.compile(r"c[2-5](-c[2-5])?")


@dataclass(frozen=True, slots=True)
class Place:
    """Residual blocks of some stages, or a module by its path.

    `which` picks among the residual blocks of each of `stages`; a module has none. `position` is
    where at a residual block; None is on the output of a module that is taken as it is.
    """

    stages: tuple[str, ...]
    which: str
    position: Position | None

    def __str__(self) -> str:
        """Write the place as it is read, the default position left out."""
        suffix = ""
        if self.position == "after_add" or (self.position and not self.stages):
            suffix = f"/{self.position}"
        if not self.stages:
            return self.which + suffix
        ends = dict.fromkeys((self.stages[0], self.stages[-1]))
        return f"{'-'.join(ends)}.{self.which}{suffix}"


def split(text: str, position: Position = "after_1x1") -> tuple[str, tuple[Place, ...]]:
    """Split `SPEC@PLACES` at the last `@`. Raises UsageError.

    >>> split("gc:ratio=8@c4.last-1")
    ('gc:ratio=8', (Place(stages=('c4',), which='last-1', position='after_1x1'),))
    """
    spec, at, places = text.rpartition("@")
    if not at or not spec or not places:
        raise UsageError(
            f"{text!r} does not say where: write SPEC@PLACES, as in gc@c3-c5.all or nl@c4.last-1"
        )
    return spec, parse(places, position)


def parse(text: str, position: Position = "after_1x1") -> tuple[Place, ...]:
    """Read places; `position` stands where a residual block's own is not given. Raises UsageError.

    >>> [str(place) for place in parse("+1,+all,layer3.5,features.4")]
    ['c4.last-1/after_add', 'c3-c5.all', 'c4.5', 'features.4']
    """
    if position not in get_args(Position):
        raise UsageError(f"position {position!r} is unknown: {suggestion(position, _positions())}")
    return tuple(_place(one.strip(), position) for one in text.split(","))


def _positions() -> tuple[str, ...]:
    return get_args(Position)


def _place(text: str, default: Position) -> Place:
    for short, long in PAPER.items():
        if text == short or text.startswith(f"{short}/"):
            text = long if text == short else long.partition("/")[0] + text[len(short) :]
    where, slash, given = text.partition("/")
    if slash and given not in _positions():
        raise UsageError(f"place {text!r}: /{given} is unknown: {suggestion(given, _positions())}")
    position: Position | None = "after_add" if given == "after_add" else None
    position = "after_1x1" if given == "after_1x1" else position
    where += ".all" if _STAGES_ALONE.fullmatch(where) else ""
    staged = _STAGED.fullmatch(where)
    if staged:
        return Place(_stages(text, staged), staged[5], position or default)
    if not re.fullmatch(r"\w+(\.\w+)*", where) or re.fullmatch(r"c[0-9]+(\..*)?", where):
        raise UsageError(
            f"place {text!r}: write stages and a residual block (c4.last-1, c3-c5.all, layer3.5), "
            "the path of a module, +1 or +all; stages are c2 to c5"
        )
    return Place((), where, position)


def _stages(text: str, staged: re.Match[str]) -> tuple[str, ...]:
    first = int(staged[1] or int(staged[2]) + 1)
    last = int(staged[3] or int(staged[4] or first - 1) + 1)
    if last < first:
        raise UsageError(f"place {text!r}: from the lower stage up, c{last}-c{first}")
    return tuple(f"c{number}" for number in range(first, last + 1))


def find(model: "nn.Module", places: tuple[Place, ...]) -> list[str]:
    """The paths of the modules behind which a block goes, each once, in the order of the places.

    Raises UsageError where the model has no such place.
    """
    return list(dict.fromkeys(path for place in places for path in _paths(model, place)))


def _paths(model: "nn.Module", place: Place) -> Iterator[str]:
    if not place.stages:
        yield _at(model, place.which, place.position)
        return
    trunk = _trunk(model, place)
    for stage in place.stages:
        path = through(model, trunk + STAGES[stage])
        for name in _chosen(model, path, stage, place):
            yield _at(model, f"{path}.{name}", place.position)


def _trunk(model: "nn.Module", place: Place) -> str:
    """The path, with its dot, of the module nearest to the top that has the four stages."""
    wanted = set(STAGES.values())
    having = [
        name for name, each in model.named_modules() if wanted <= dict(each.named_children()).keys()
    ]
    if not having:
        known = ", ".join(name for name, _ in model.named_children())
        raise UsageError(
            f"place {str(place)!r}: {type(model).__name__} has no stages layer1 to layer4: name a "
            f"module by its path, below {known or 'none'}"
        )
    top = min(having, key=lambda name: name.count(".") + bool(name))
    return f"{top}." if top else ""


def _chosen(model: "nn.Module", path: str, stage: str, place: Place) -> list[str]:
    """The names of the residual blocks of a stage that a place picks."""
    from torch import nn

    found = model.get_submodule(path)
    if not isinstance(found, nn.Sequential | nn.ModuleList):
        raise UsageError(
            f"place {str(place)!r}: {path} is a {type(found).__name__}, no sequence of residual "
            "blocks: name a module by its path"
        )
    names = [name for name, _ in found.named_children()]
    if place.which == "all":
        return names
    back = re.fullmatch(r"last(?:-([0-9]+))?", place.which)
    index = len(names) - 1 - int(back[1] or 0) if back else int(place.which.replace("first", "0"))
    if not 0 <= index < len(names):
        raise UsageError(
            f"place {str(place)!r}: {stage} has {len(names)} residual block"
            f"{'' if len(names) == 1 else 's'}, 0 to {len(names) - 1}"
        )
    return [names[index]]


def _at(model: "nn.Module", path: str, position: Position | None) -> str:
    """The path of what a block goes behind, at a module that may be a residual block."""
    path = actual(model, path)
    require_module(model, path)
    if position != "after_1x1":
        return path
    inner = through(model, path)
    return f"{inner}.{_branch_end(model.get_submodule(inner), path)}"


def require_module(model: "nn.Module", path: str) -> None:
    """Raise UsageError, with the nearest name, where a model has no module of this path."""
    known = [name for name, _ in model.named_modules(remove_duplicate=False) if name]
    if path not in known:
        above = path
        while above and above not in known:
            above = above.rpartition(".")[0]
        below = [name for name, _ in model.get_submodule(above).named_children()]
        missing = path[len(above) :].strip(".").partition(".")[0]
        raise UsageError(
            f"place {path!r}: {above or type(model).__name__} has no module {missing!r}: "
            f"{suggestion(missing, below)}"
        )


def actual(model: "nn.Module", path: str) -> str:
    """Where a module is now that had this path before blocks were put behind what holds it."""
    from gcbench.networks.with_block import WithBlock

    found: list[str] = []
    module: nn.Module | None = model
    for name in path.split("."):
        while isinstance(module, WithBlock) and name not in ("place", "inserted"):
            found, module = [*found, "place"], module.place
        found.append(name)
        module = dict(module.named_children()).get(name) if module is not None else None
    return ".".join(found)


def named(model: "nn.Module", path: str) -> str:
    """The path that a module had before blocks were put behind what holds it, as in state dicts."""
    from gcbench.networks.with_block import WithBlock

    kept: list[str] = []
    module: nn.Module | None = model
    for name in path.split("."):
        if not (name == "place" and isinstance(module, WithBlock)):
            kept.append(name)
        module = dict(module.named_children()).get(name) if module is not None else None
    return ".".join(kept)


def through(model: "nn.Module", path: str) -> str:
    """The path of what stood at a path before blocks were put behind it."""
    from gcbench.networks.with_block import WithBlock

    while isinstance(model.get_submodule(path), WithBlock):
        path = f"{path}.place"
    return path


def _branch_end(block: "nn.Module", path: str) -> str:
    """The name of a residual block's last norm, behind which nothing convolves before the addition.

    Raises UsageError where there is none, as in networks that normalise first.
    """
    from torch.nn.modules.conv import _ConvNd

    from gcbench.networks.with_block import WithBlock

    end = None
    for name, child in block.named_children():
        inner = child.place if isinstance(child, WithBlock) else child
        if "Norm" in type(inner).__name__:
            end = name
        elif isinstance(inner, _ConvNd):
            end = None
    if end is None:
        raise UsageError(
            f"place {path!r}: {type(block).__name__} has no norm that ends its branch: take "
            "/after_add, or name a module by its path"
        )
    return end
