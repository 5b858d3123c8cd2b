"""What each part of a module costs in a forward pass: its modules as a tree, or its operators."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

By = Literal["module", "operator"]

# one row of a table: every column of its kind, in order
PartRow = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """A module and all below it: `calls` of it, and what they cost together.

    `path` is its name in the whole, empty for that; `activation_bytes` are of the tensors that its
    operators make, alive at once or not; `output` is the shape of the first tensor that the last
    call gave. `unknown` are operators that may multiply matrices and have no formula.
    """

    path: str
    kind: str
    calls: int
    params: int
    macs: int
    activation_bytes: int
    output: tuple[int, ...] | None
    unknown: tuple[str, ...]

    @property
    def depth(self) -> int:
        """How far below the whole it is."""
        return self.path.count(".") + 1 if self.path else 0


@dataclass(frozen=True)
class Operator:
    """An operator of torch's, and what all its calls cost together."""

    name: str
    calls: int
    macs: int
    activation_bytes: int
    unknown: bool


@dataclass(frozen=True)
class Anatomy:
    """A module at an input shape, part by part. The first of `parts` is the whole.

    `counted_on` is `meta` where shapes alone were enough, else `cpu`. `peak_bytes` is the most
    alive at once: weights, buffers, input, and what the call makes.
    """

    target: str
    shape: tuple[int, ...]
    dtype: str
    counted_on: Literal["meta", "cpu"]
    value_dependent: bool
    peak_bytes: int
    parts: tuple[Part, ...]
    operators: tuple[Operator, ...]

    @property
    def whole(self) -> Part:
        """The module itself."""
        return self.parts[0]


def rows(anatomy: Anatomy, by: By, depth: int | None) -> list[PartRow]:
    """The rows of a table: modules down to a depth, or operators by their MACs.

    An operator that neither multiplies nor makes a tensor is no row.
    """
    return list(_by_module(anatomy, depth) if by == "module" else _by_operator(anatomy))


def _by_module(anatomy: Anatomy, depth: int | None) -> Iterator[PartRow]:
    for part in anatomy.parts:
        if depth is None or part.depth <= depth:
            yield {
                "module": part.path,
                "kind": part.kind,
                "depth": part.depth,
                "calls": part.calls,
                "params": part.params,
                "macs": part.macs,
                "share": _share(part.macs, anatomy),
                "activation_bytes": part.activation_bytes,
                "output": "x".join(map(str, part.output)) if part.output is not None else None,
                "uncounted_products": " ".join(part.unknown),
            }


def _by_operator(anatomy: Anatomy) -> Iterator[PartRow]:
    for each in sorted(anatomy.operators, key=lambda each: (-each.macs, each.name)):
        if each.macs or each.activation_bytes or each.unknown:
            yield {
                "operator": each.name,
                "calls": each.calls,
                "macs": None if each.unknown else each.macs,
                "share": _share(each.macs, anatomy),
                "activation_bytes": each.activation_bytes,
            }


def _share(macs: int, anatomy: Anatomy) -> float:
    return macs / anatomy.whole.macs if anatomy.whole.macs else 0.0
