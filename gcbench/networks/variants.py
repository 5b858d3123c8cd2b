"""What a row of `gcbench network` puts into a network: how that is written.

    ROW      PART[+PART]...
    PART     SPEC@PLACES | WHAT=SPEC

The first puts a block behind each of some places, the second one in the place of each module of a
class, or of a module by its path. PLACES are those of `gcbench.networks.places`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gcbench import blocks
from gcbench.errors import UsageError
from gcbench.networks import places
from gcbench.networks.places import Place, Position
from gcbench.spec.cases import Block, BlockSpec, parse_block

# where one part ends and the next begins: what +1 and +all are, and a number's sign, is neither
_JOINT = re.compile(r"(?<=[^@,=:/+])\+(?=[A-Za-z_@])")
_REPLACED = re.compile(r"([\w.]+)=(.+)")


@dataclass(frozen=True, slots=True)
class Written:
    """A part as it is written: a block spec, and its places or what it replaces."""

    spec: str
    places: tuple[Place, ...] = ()
    what: str | None = None

    def __str__(self) -> str:
        """Write the part, its places canonical."""
        return f"{self.what}={self.spec}" if self.what else f"{self.spec}@{_listed(self.places)}"


@dataclass(frozen=True, slots=True)
class Part:
    """A part whose block was looked at as far as that needs no network."""

    block: Block
    places: tuple[Place, ...] = ()
    what: str | None = None


@dataclass(frozen=True, slots=True)
class Insertion:
    """All that a row puts into a network, part by part."""

    parts: tuple[Part, ...]

    @property
    def spec(self) -> str:
        """Write it as it is read, canonical; of one part the ratio is left to the row's own."""
        alone = len(self.parts) == 1
        return "+".join(str(Written(_spec(p, alone), p.places, p.what)) for p in self.parts)

    @property
    def block(self) -> Block:
        """What stands for it among a comparison's blocks."""
        fixed = [part.block.ratio for part in self.parts]
        return Block(
            "+".join(part.block.name for part in self.parts),
            self.spec,
            fixed[0] if len(fixed) == 1 else None,
            any(part.block.takes_ratio for part in self.parts),
        )


def read(text: str, position: Position = "after_1x1") -> list[Written]:
    """Read a row; `position` is that of places without one. Raises UsageError.

    >>> [str(part) for part in read("gc@c3+timm/eca@+1,layer4+SEModule=se")]
    ['gc@c3.all', 'timm/eca@c4.last-1/after_add,layer4', 'SEModule=se']
    """
    return [_read(part, position) for part in _parts(text)]


def resolve(text: str, position: Position = "after_1x1") -> Insertion:
    """Read a row, and look at its blocks. Raises UsageError."""
    return Insertion(
        tuple(Part(blocks.resolve(w.spec), w.places, w.what) for w in read(text, position))
    )


def _parts(text: str) -> Iterator[str]:
    """The parts of a row; a plus before a chunk that is no part itself belongs to its places."""
    kept = ""
    for chunk in _JOINT.split(text):
        if kept and ("@" in chunk.lstrip("@") or _REPLACED.fullmatch(chunk)):
            yield kept
            kept = chunk
        else:
            kept += f"+{chunk}" if kept else chunk
    yield kept


def _read(text: str, position: Position) -> Written:
    if "@" not in text and (replaced := _REPLACED.fullmatch(text)):
        return Written(replaced[2], what=replaced[1])
    return Written(*places.split(text, position))


def require_replacement(text: str) -> None:
    """Raise UsageError where a row is not one of `WHAT=SPEC`."""
    if not all("@" not in part and _REPLACED.fullmatch(part) for part in _parts(text)):
        raise UsageError(
            f"--replace {text!r}: write WHAT=SPEC, the class or the path of what stands there and "
            "the block that comes, as in SqueezeExcitation=timm/eca"
        )


def _listed(where: tuple[Place, ...]) -> str:
    return ",".join(map(str, where))


def _spec(part: Part, alone: bool) -> str:
    if alone or part.block.ratio is None:
        return part.block.spec
    known = parse_block(part.block.spec)
    options = (*known.options, ("ratio", part.block.ratio))
    return str(BlockSpec(known.target, tuple(sorted(options))))
