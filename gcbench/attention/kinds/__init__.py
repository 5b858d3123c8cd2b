"""The kinds of attention block that are known: one file and one line in the table for each.

A kind's file knows a class of somebody's library, and how its attention rows follow from its
weights and its input. The library is not imported: where nobody imported it there is no block of
it. The file has the functions of `Adapter`.
"""

import importlib
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from gcbench.registry import Entry, Registry

if TYPE_CHECKING:
    from torch import nn

    from gcbench.attention.calls import Call


# what a block of anybody's calls the method that returns its map
METHOD = "attention_map"


class Adapter(Protocol):
    """What the file of a kind has."""

    def calls(self, module: Any, arguments: dict[str, Any], output: Any) -> "Iterator[Call]":
        """Take what forward was given by name, and what it returned: a call for each image."""

    def map_bytes(self, module: Any, arguments: dict[str, Any]) -> int:
        """Predict what the maps of such a call take in memory."""

    def detail(self, module: Any) -> str:
        """Say in a word or two which of the kind's variants this is."""

    def no_distribution(self, module: Any) -> str | None:
        """Say why rows are no distributions, where they are none."""

    def as_block(self, module: Any) -> "nn.Module":
        """Make it take and give (B, C, H, W). Raises ValueError where it cannot."""


@dataclass(frozen=True)
class Kind(Entry):
    """A line of the table: `made` is the class of the blocks, `target` the file that knows it.

    Without a class it is whatever has the method `attention_map`.
    """

    made: str

    def load(self) -> Adapter:
        """Import the kind's file."""
        return cast(Adapter, importlib.import_module(self.target))

    def has(self, module: "nn.Module") -> bool:
        """Tell whether a module is of this kind."""
        if not self.made:
            return callable(getattr(type(module), METHOD, None))
        known = self._class()
        return known is not None and isinstance(module, known)

    def named(self, given: tuple[Any, ...], by_name: dict[str, Any]) -> dict[str, Any]:
        """Name what a block was given as the forward of this kind does; a subclass may do other.

        Raises TypeError where that forward does not take it.
        """
        if not self.made:
            return {"given": given, "by_name": by_name}
        bound = inspect.signature(self._class().forward).bind(None, *given, **by_name)
        bound.apply_defaults()
        return bound.arguments

    def _class(self) -> Any:
        library, _, name = self.made.partition(":")
        return getattr(sys.modules.get(library), name, None)


KINDS: Registry[Kind] = Registry(
    "kind of attention block",
    (
        Kind(
            "nl",
            "gcbench.attention.kinds.ours",
            "gcbench's Non-local block, with all its options",
            "gcbench.blocks.nl:NonLocal",
        ),
        Kind(
            "dnl",
            "gcbench.attention.kinds.disentangled",
            "gcbench's Disentangled Non-local block: its pairwise term",
            "gcbench.blocks.dnl:DisentangledNonLocal",
        ),
        Kind(
            "cc",
            "gcbench.attention.kinds.crossed",
            "gcbench's Criss-Cross block: its last application",
            "gcbench.blocks.cc:CrissCrossAttention",
        ),
        Kind(
            "apnb",
            "gcbench.attention.kinds.pyramid",
            "gcbench's Asymmetric Pyramid Non-local block, over the cells of its pyramid",
            "gcbench.blocks.apnb:AsymmetricPyramidNonLocal",
        ),
        Kind(
            "mhsa",
            "gcbench.attention.kinds.heads",
            "gcbench's multi-head self-attention, fused or not",
            "gcbench.blocks.mhsa:MultiHeadSelfAttention",
        ),
        Kind(
            "bot",
            "gcbench.attention.kinds.heads",
            "gcbench's attention of the Bottleneck Transformer, positions included",
            "gcbench.blocks.bot:BottleneckAttention",
        ),
        Kind(
            "mmcv/NonLocal2d",
            "gcbench.attention.kinds.mmcv",
            "mmcv's Non-local block, in its four modes",
            "mmcv.cnn.bricks.non_local:NonLocal2d",
        ),
        Kind(
            "timm/nl",
            "gcbench.attention.kinds.timm",
            "timm's Non-local block",
            "timm.layers.non_local_attn:NonLocalAttn",
        ),
        Kind(
            "timm/Attention",
            "gcbench.attention.kinds.vit",
            "timm's Attention, as its vision transformers have it, fused or not",
            "timm.layers.attention:Attention",
        ),
        Kind(
            "torch/MultiheadAttention",
            "gcbench.attention.kinds.multihead",
            "torch's nn.MultiheadAttention, as torchvision's vision transformers have it",
            "torch.nn.modules.activation:MultiheadAttention",
        ),
        Kind(
            "own",
            "gcbench.attention.kinds.own",
            "whatever has a method attention_map that returns the map for what forward is given",
            "",
        ),
    ),
)


# blocks whose maps are shared by all queries, so that no row belongs to one: what they are
SHARED = {
    "gcbench.blocks.a2:DoubleAttention": "a2 has n maps that all queries share; what differs by "
    "query are the n weights with which it mixes what they gathered",
    "gcbench.blocks.efficient:EfficientAttention": "efficient has d maps that all queries share; "
    "what differs by query are the d weights with which it mixes what they gathered",
    "gcbench.blocks.ema:ExpectationMaximisationAttention": "ema has K maps that all queries share, "
    "one for each basis; what differs by query are its K shares in the bases",
}


def shared_maps(module: "nn.Module") -> str | None:
    """Say what the maps of a block are, where all queries share them; None of any other."""
    known = f"{type(module).__module__}:{type(module).__qualname__}"
    return SHARED.get(known)


def kind_of(module: "nn.Module") -> Kind | None:
    """Find the kind of a module; None where it is no attention block that is known."""
    return next((kind for kind in KINDS if kind.has(module)), None)
