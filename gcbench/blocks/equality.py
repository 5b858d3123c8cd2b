"""Are gcbench's blocks what others call by that name? The same weights, and outputs compared.

Each peer gets random weights and statistics, gcbench's block gets the same, and both run in float64
on one input: what is left between the outputs is rounding. Differences that are documented in the
blocks' files are set equal first, and told; a block that no library has is held against its
equation as a slow loop; what has no equal is in `NO_EQUAL`, and what was found to be wrong in a
library in `DEFECTS`.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from gcbench import blocks
from gcbench.blocks import loops
from gcbench.errors import UsageError
from gcbench.spec.cases import parse_block

if TYPE_CHECKING:
    from torch import Tensor, nn

    State = dict[str, Tensor]

# of an output's largest number: what differently ordered sums may differ by in float64
ROUNDING = 1e-12
CHANNELS, RATIO, SHAPE = 64, 4, (2, 64, 10, 6)
# loops over numbers are slow
LOOP_SHAPE = (1, 32, 6, 4)

# what cannot be made equal, and why
NO_EQUAL = {
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

    `names` leads from the peer's names of weights, or of the layers that have them, to gcbench's;
    `prepare` sets equal what can be set in the peer, `convert` in the weights, and `set_equal` says
    what that was. `call` calls the peer where it takes something else than x alone.
    """

    ours: str
    theirs: str
    names: Mapping[str, str]
    set_equal: str = ""
    prepare: "Callable[[nn.Module], None]" = lambda module: None
    convert: "Callable[[State], State]" = lambda state: state
    call: "Callable[[nn.Module, nn.Module, Tensor], Tensor]" = lambda ours, theirs, x: theirs(x)


@dataclass(frozen=True)
class Loop:
    """One of gcbench's blocks that no library has, and its equation as a slow loop."""

    ours: str
    loop: "Callable[[Tensor, loops.Weights, loops.Options], Tensor]"
    theirs: str = "its equation, as a loop"


@dataclass(frozen=True)
class Defect:
    """What is wrong in a library's block, in which version it was found, and how to see it.

    `seen` tells whether it is in the version that is here.
    """

    library: str
    package: str
    version: str
    words: str
    seen: Callable[[], bool]

    @property
    def here(self) -> str:
        """Say which version is here, and whether the defect is in it."""
        try:
            return f"{version(self.package)} here: {'the same' if self.seen() else 'mended'}"
        except (PackageNotFoundError, ImportError, UsageError):
            return "not installed here"


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


def _unrepeated(state: "State") -> "State":
    """Fold what mmcv's GeneralizedAttention lacks: a scale of the logits, and biases of q, k, v."""
    state.pop("gamma")
    query, key, value = (state.pop(f"{name}_conv.weight") for name in ("query", "key", "value"))
    factor = (CHANNELS / 8) ** 0.5
    weight = query.new_empty(3 * CHANNELS, CHANNELS, 1, 1)
    for part, given in enumerate((query * factor, key, value)):
        weight[part * CHANNELS : (part + 1) * CHANNELS] = given
    return state | {"qkv.weight": weight, "qkv.bias": weight.new_zeros(3 * CHANNELS)}


def _at_one(module: "nn.Module") -> None:
    gamma: Any = module.gamma
    gamma.data.fill_(1)


def _over_tokens(ours: "nn.Module", theirs: "nn.Module", x: "Tensor") -> "Tensor":
    """(B, C, H, W) through attention over tokens, and back."""
    tokens = x.flatten(2).transpose(1, 2)
    given: Tensor = theirs(tokens, tokens, tokens, need_weights=False)[0]
    return given.transpose(1, 2).reshape(x.shape)


def _with_mask(state: "State") -> "State":
    """Give the shared map weights, which the peer has not: some of those that it has."""
    return state | {"mask.weight": state["phi.weight"][:1], "mask.bias": state["phi.bias"][:1]}


def _disentangled(ours: Any, theirs: Any, x: "Tensor") -> "Tensor":
    """Make a Non-local block whiten, one image after another, and add the shared map beside it.

    Centring the queries of one image is a bias of theta, the temperature a factor of it.
    """
    import torch

    zs = []
    for image in x.split(1):
        block, temperature = deepcopy(theirs), 0.05
        theta = block.theta.conv
        mean = theta.weight.flatten(1) @ image.mean((0, 2, 3))
        theta.weight.data /= temperature
        theta.bias.data = -mean / temperature
        shared = ours.g(image).flatten(2) @ ours.mask(image).flatten(2).softmax(2).transpose(1, 2)
        added = ours.z.weight.flatten(1) @ shared  # (1, C, 1)
        zs.append(block(image) + added.unsqueeze(3))
    return torch.cat(zs)


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
_CBAM = {
    **{f"channel.{name}": name for name in ("fc1", "fc2")},
    "spatial.conv.conv": "conv",
    "spatial.conv.bn": "bn",
}
_CC = {**{f"{n}_conv": n for n in ("query", "key", "value")}, "gamma.scale": "gamma"}
_BOT = {f"pos_embed.{side}_rel": f"{side}_rel" for side in ("height", "width")}
_MULTIHEAD = {
    "in_proj_weight": "qkv.weight",
    "in_proj_bias": "qkv.bias",
    "out_proj": "proj",
    "proj_conv": "proj",
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
    Peer("eca", "timm/eca", {}),
    Peer("cbam", "timm/cbam:mlp_bias=true", _CBAM, "biases by mlp_bias=true"),
    Peer("cbam:bias=false", "timm/cbam", _CBAM),
    *(
        Peer(f"ge:extent={e}" if e else "ge", f"timm/ge:use_mlp=false:extent={e}", {})
        for e in (0, 2, 4, 8)
    ),
    Peer("ge:excite=mlp", "torchvision/SqueezeExcitation", {}),
    Peer("coord", "timm/coord:bias=true:rd_channels=8", {}, "biases, and m by rd_channels"),
    Peer("cc:recurrence=1", "mmcv/CrissCrossAttention", _CC),
    Peer(
        "dnl",
        "mmcv/NonLocal2d",
        _NONLOCAL,
        "whitening and temperature folded into theta, the shared map added",
        convert=_with_mask,
        call=_disentangled,
    ),
    Peer("mhsa:residual=false", "timm.layers:Attention2d:num_heads=8", {}),
    Peer(
        "mhsa:residual=false",
        "torch.nn:MultiheadAttention:num_heads=8:batch_first=true",
        _MULTIHEAD,
        "positions as tokens",
        call=_over_tokens,
    ),
    Peer(
        "mhsa:sdpa=false",
        "mmcv/GeneralizedAttention",
        _MULTIHEAD,
        "gamma 1, scale folded into q, no biases of q, k, v",
        _at_one,
        _unrepeated,
    ),
    Peer("bot", "timm/bottleneck", _BOT),
    Peer("bot:scale_position=true", "timm/bottleneck:scale_pos_embed=true", _BOT),
)

LOOPS = (
    *(Loop(name, loop) for name, loop in loops.LOOPS.items()),
    *(
        Loop(spec, loops.LOOPS[parse_block(spec).target])
        for spec in (
            "snl:hoist=false",
            "simam:unbiased=false",
            "triplet:spatial=false",
            "a2:residual=false",
            "efficient:heads=8",
            "external:tied=true",
            "external:project=false",
            "glore:normalize=false",
            "apnb:fusion=add",
        )
    ),
    Loop("a2", loops.double_attention_by_pairs, "its other association, as a loop"),
)


def _timms_ge_fails(**options: Any) -> bool:
    """Whether timm's ge cannot be built with some options."""
    from timm.layers import create_attn

    try:
        create_attn("ge", CHANNELS, **options)
    except TypeError:
        return True
    return False


def _timms_eca_ignores_its_kernel() -> bool:
    """Whether timm's eca takes another kernel than it is given."""
    from timm.layers import create_attn

    kernel: int = create_attn("eca", CHANNELS, kernel_size=9).conv.kernel_size[0]
    return kernel != 9


def _mmcvs_criss_cross_fails_in_half() -> bool:
    """Whether mmcv's criss-cross attention cannot run in bfloat16."""
    import torch

    block = _built("mmcv/CrissCrossAttention").to(torch.bfloat16)
    try:
        with torch.no_grad():
            block(torch.zeros(1, CHANNELS, 4, 4, dtype=torch.bfloat16))
    except RuntimeError:
        return True
    return False


DEFECTS = (
    Defect(
        "timm/ge",
        "timm",
        "1.0.31",
        "its mlp is given the activation twice: the default raises TypeError, use_mlp=false works",
        _timms_ge_fails,
    ),
    Defect(
        "timm/ge:extra_params=true",
        "timm",
        "1.0.31",
        "raises TypeError; once mended, its global convolution is padded and gathers a map, which "
        "is about N times the MACs, and another function",
        partial(_timms_ge_fails, extra_params=True, use_mlp=False, feat_size=(7, 9)),
    ),
    Defect(
        "timm/eca",
        "timm",
        "1.0.31",
        "kernel_size is passed over where channels are given: always equation 9",
        _timms_eca_ignores_its_kernel,
    ),
    Defect(
        "mmcv/CrissCrossAttention",
        "mmcv-lite",
        "2.2.0",
        "its mask is float32: it fails in float16 and bfloat16",
        _mmcvs_criss_cross_fails_in_half,
    ),
)


def verify() -> Iterator[Finding]:
    """Compare every block with its peers, or its loop; a missing library is a finding."""
    for peer in PEERS:
        try:
            yield compared(peer)
        except UsageError as missing:
            yield Finding(peer.ours, peer.theirs, peer.set_equal, missing=str(missing))
    yield from map(looped, LOOPS)


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
        here, there = ours(x), peer.call(ours, theirs, x)
    return _found(peer, peer.set_equal, here, there)


def looped(one: Loop, seed: int = 0) -> Finding:
    """Give a block random weights and compare what it and its loop make of one input."""
    import torch

    ours = _built(one.ours, LOOP_SHAPE)
    generator = torch.Generator().manual_seed(seed)
    _fill(ours, generator)
    weights = {name: value.detach() for name, value in ours.state_dict().items()}
    x = torch.randn(LOOP_SHAPE, generator=generator, dtype=torch.float64)
    options = blocks.options_at(one.ours)
    with torch.no_grad():
        here = ours(x)
    return _found(one, "", here, torch.stack([one.loop(image, weights, options) for image in x]))


def _found(pair: Peer | Loop, set_equal: str, here: "Tensor", there: "Tensor") -> Finding:
    difference, largest = (here - there).abs().max().item(), there.abs().max().item()
    return Finding(pair.ours, pair.theirs, set_equal, difference, largest)


def _built(spec: str, shape: tuple[int, int, int, int] = SHAPE) -> "nn.Module":
    block = blocks.resolve(spec)
    ratio = RATIO if block.takes_ratio else block.ratio
    return blocks.build(block.spec, shape[1], ratio, size=shape[2:]).double().eval()


def _fill(module: "nn.Module", generator: Any) -> None:
    """Give every weight and statistic a number of its own, so that none hides behind 0 or 1."""
    import torch

    for name, value in module.state_dict().items():
        if value.is_floating_point():
            drawn = torch.randn(value.shape, generator=generator, dtype=value.dtype) / 4
            value.copy_(drawn.abs() + 0.5 if name.endswith("running_var") else drawn)


def _renamed(name: str, names: Mapping[str, str]) -> str:
    if name in names:
        return names[name]
    stem, _, last = name.rpartition(".")
    return f"{names.get(stem, stem)}.{last}" if stem else name
