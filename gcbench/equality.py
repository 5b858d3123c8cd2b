"""Are gcbench's blocks what others call by that name? The same weights, and outputs compared.

Each peer gets random weights and statistics, gcbench's block gets the same, and both run in float64
on one input: what is left between the outputs is rounding. Differences that are documented in the
blocks' files are set equal first, and told; what has no equal is in `NO_EQUAL`.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gcbench import blocks
from gcbench.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    State = dict[str, Tensor]

# of an output's largest number: what differently ordered sums may differ by in float64
ROUNDING = 1e-12
CHANNELS, RATIO, SHAPE = 64, 4, (2, 64, 10, 6)

# what cannot be made equal, and why
NO_EQUAL = {
    "snl": "no library has the simplified block by itself: it is held against its equation, and "
    "against itself hoisted and not",
    "nl:subsample=before": "no library here pools before phi and g (Caffe2 and SlowFast do); "
    "mmcv pools after them, so that the place is set to subsample=after",
    "gc:pooling=avg:fusion=scale": "is not se: it normalises its hidden layer, as mmcv's "
    "avg + channel_mul does; timm's gc with use_attn=false likewise",
    "se beside timm/se": "timm rounds the hidden width to a multiple of 8, which no weights undo: "
    "rd_divisor=1",
}


@dataclass(frozen=True)
class Peer:
    """One of gcbench's blocks, and another's that should compute the same.

    `names` leads from the peer's names of weights to gcbench's; `prepare` sets equal what can be
    set in the peer, `convert` in the weights, and `set_equal` says what that was.
    """

    ours: str
    theirs: str
    names: Mapping[str, str]
    set_equal: str = ""
    prepare: "Callable[[nn.Module], None]" = lambda module: None
    convert: "Callable[[State], State]" = lambda state: state


@dataclass(frozen=True)
class Finding:
    """What comparing two blocks gave: the largest difference and output, or why there is none."""

    ours: str
    theirs: str
    set_equal: str
    difference: float = math.nan
    largest: float = math.nan
    missing: str | None = None

    @property
    def equal(self) -> bool:
        """Whether the blocks differ by no more than rounding."""
        return self.difference <= ROUNDING * self.largest


def _same_eps(module: "nn.Module") -> None:
    layers: Any = module.modules()
    for layer in layers:
        if type(layer).__name__ == "LayerNorm2d":
            layer.eps = 1e-5


def _folded(state: "State") -> "State":
    """Fold the ratio of timm's scale of the logits, C^-0.5, to d^-0.5 into theta."""
    inner = state["theta.weight"].shape[0]
    factor = (CHANNELS / inner) ** -0.5
    return {n: v * factor if n.startswith("theta.") else v for n, v in state.items()}


def _unbiased(state: "State") -> "State":
    return state | {"z.bias": state["z.weight"].new_zeros(CHANNELS)}


def _halved(state: "State") -> "State":
    """Part w of [theta, phi] into the half of theta and that of phi."""
    both = state.pop("w.weight")
    half = both.shape[1] // 2
    return state | {"w_theta.weight": both[:, :half], "w_phi.weight": both[:, half:]}


_MLP = {"fc1": "0", "norm": "1", "fc2": "3"}
_GCA = {
    "conv_attn": "conv_mask",
    **{f"mlp_add.{n}": f"channel_add_conv.{i}" for n, i in _MLP.items()},
    **{f"mlp_scale.{n}": f"channel_mul_conv.{i}" for n, i in _MLP.items()},
}
_NONLOCAL = {
    **{f"{name}.conv": name for name in ("theta", "phi", "g")},
    # where a convolution is followed by a pool it is the first of two
    **{f"{name}.0.conv": name for name in ("phi", "g")},
    "conv_out.conv": "z",
    "conv_out.bn": "bn",
    "concat_project.conv": "w",
}
_TIMM_NL = {"t": "theta", "p": "phi", "g": "g", "z": "z", "norm": "bn"}
_EPS = "LayerNorm eps 1e-6 to 1e-5"

PEERS = (
    Peer("gc", "mmcv/ContextBlock", {}),
    Peer("gc:fusion=scale", "mmcv/ContextBlock:fusion=scale", {}),
    Peer("gc:fusion=both", "mmcv/ContextBlock:fusion=both", {}),
    Peer("gc:pooling=avg", "mmcv/ContextBlock:pooling_type=avg", {}),
    Peer("gc", "timm/gca", _GCA, _EPS, _same_eps),
    Peer("gc:fusion=scale", "timm/gc", _GCA, _EPS, _same_eps),
    Peer("se", "torchvision/SqueezeExcitation", {}),
    Peer("se", "timm/se:rd_divisor=1", {}, "hidden width by rd_divisor=1"),
    Peer("nl", "mmcv/NonLocal2d", _NONLOCAL),
    Peer("nl:scale=false", "mmcv/NonLocal2d:use_scale=false", _NONLOCAL),
    Peer("nl:similarity=gaussian", "mmcv/NonLocal2d:mode=gaussian", _NONLOCAL),
    Peer("nl:similarity=dot_product", "mmcv/NonLocal2d:mode=dot_product", _NONLOCAL),
    Peer(
        "nl:similarity=concatenation",
        "mmcv/NonLocal2d:mode=concatenation",
        _NONLOCAL,
        "w in two halves",
        convert=_halved,
    ),
    Peer(
        "nl:subsample=after", "mmcv/NonLocal2d:sub_sample=true", _NONLOCAL, "pooled after phi and g"
    ),
    Peer(
        "nl:norm=batch",
        "mmcv/NonLocal2d:norm=batch",
        _NONLOCAL,
        "z without bias, as mmcv has it",
        convert=_unbiased,
    ),
    Peer(
        "nl:norm=batch:reduction=4",
        "timm/nl:ratio=4",
        _TIMM_NL,
        "logits' scale C^-0.5 to d^-0.5, folded into theta",
        convert=_folded,
    ),
)


def verify() -> Iterator[Finding]:
    """Compare every block with its peers, one after another; a missing library is a finding."""
    for peer in PEERS:
        try:
            yield compared(peer)
        except UsageError as missing:
            yield Finding(peer.ours, peer.theirs, peer.set_equal, missing=str(missing))


def compared(peer: Peer, seed: int = 0) -> Finding:
    """Give a block and its peer the same weights and compare what they make of one input.

    Raises UsageError where the peer's library is missing.
    """
    import torch

    theirs = _built(peer.theirs)
    ours = _built(peer.ours)
    generator = torch.Generator().manual_seed(seed)
    _fill(theirs, generator)
    peer.prepare(theirs)
    state = {_renamed(name, peer.names): value for name, value in theirs.state_dict().items()}
    state = peer.convert(state)
    shapes = {name: value.shape for name, value in ours.state_dict().items()}
    ours.load_state_dict({n: v.reshape(shapes.get(n, v.shape)) for n, v in state.items()})
    x = torch.randn(SHAPE, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        here, there = ours(x), theirs(x)
    return Finding(
        peer.ours,
        peer.theirs,
        peer.set_equal,
        (here - there).abs().max().item(),
        there.abs().max().item(),
    )


def _built(spec: str) -> "nn.Module":
    block = blocks.resolve(spec)
    ratio = RATIO if block.takes_ratio else block.ratio
    return blocks.build(block.spec, CHANNELS, ratio).double().eval()


def _fill(module: "nn.Module", generator: Any) -> None:
    """Give every weight and statistic a number of its own, so that none hides behind 0 or 1."""
    import torch

    for name, value in module.state_dict().items():
        if value.is_floating_point():
            drawn = torch.randn(value.shape, generator=generator, dtype=value.dtype) / 4
            value.copy_(drawn.abs() + 0.5 if name.endswith("running_var") else drawn)


def _renamed(name: str, names: Mapping[str, str]) -> str:
    stem, _, last = name.rpartition(".")
    return f"{names.get(stem, stem)}.{last}"
