"""The table of networks, and the way from a network spec to a model with blocks inside.

A network spec has the grammar of a block spec: a name of the table, `timm/NAME`, or a function of
the user's, `my.module:make_model`, each with options. Nothing is ever downloaded: weights come from
a file, or are drawn.
"""

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gcbench import blocks
from gcbench.errors import GcbenchError, UsageError, worded
from gcbench.networks import inputs, variants
from gcbench.networks.places import Position
from gcbench.networks.variants import Insertion
from gcbench.registry import Entry, Registry, imported, nearest, suggestion
from gcbench.spec import cases as spec
from gcbench.spec.cases import Axes, Block, BlockSpec, Case, Comparison, Network, Value
from gcbench.system.forked import ForkError, forked

if TYPE_CHECKING:
    from torch import nn

    from gcbench.networks.inserting import Put
    from gcbench.networks.measured import Measured
    from gcbench.networks.probing import Around

CLASSIFIER = "gcbench.networks.classifiers:make"
MASK_RCNN = "gcbench.networks.detectors:mask_rcnn"
FASTER_RCNN = "gcbench.networks.detectors:faster_rcnn"
RESNEXT101_32X4D = "gcbench.networks.classifiers:resnext101_32x4d"


# of images, where a network does not say
CHANNELS = 3


class _UnmadeError(UsageError):
    """A network's own code raised while it was made."""


@dataclass(frozen=True)
class NetworkEntry(Entry):
    """A line of the table: the target makes the classifier, and `maker` the network of it."""

    maker: str = CLASSIFIER

    def load(self) -> Callable[..., "nn.Module"]:
        """Import what makes the network, from options alone."""
        return partial(Entry("maker", self.maker, "").load(), super().load())


NETWORKS: Registry[NetworkEntry] = Registry(
    "network",
    (
        NetworkEntry("resnet18", "torchvision.models:resnet18", "ResNet-18"),
        NetworkEntry("resnet34", "torchvision.models:resnet34", "ResNet-34"),
        NetworkEntry("resnet50", "torchvision.models:resnet50", "ResNet-50"),
        NetworkEntry("resnet101", "torchvision.models:resnet101", "ResNet-101"),
        NetworkEntry("resnet152", "torchvision.models:resnet152", "ResNet-152"),
        NetworkEntry("resnext50_32x4d", "torchvision.models:resnext50_32x4d", "ResNeXt-50"),
        NetworkEntry("resnext101_32x4d", RESNEXT101_32X4D, "ResNeXt-101, the GCNet paper's"),
        NetworkEntry("resnext101_32x8d", "torchvision.models:resnext101_32x8d", "ResNeXt-101"),
        NetworkEntry("resnext101_64x4d", "torchvision.models:resnext101_64x4d", "ResNeXt-101"),
        NetworkEntry("wide_resnet50_2", "torchvision.models:wide_resnet50_2", "Wide ResNet-50"),
        NetworkEntry("wide_resnet101_2", "torchvision.models:wide_resnet101_2", "Wide ResNet-101"),
        NetworkEntry(
            "maskrcnn_resnet50_fpn", "torchvision.models:resnet50", "Mask R-CNN", MASK_RCNN
        ),
        NetworkEntry(
            "maskrcnn_resnet101_fpn", "torchvision.models:resnet101", "Mask R-CNN", MASK_RCNN
        ),
        NetworkEntry("maskrcnn_resnext101_32x4d_fpn", RESNEXT101_32X4D, "Mask R-CNN", MASK_RCNN),
        NetworkEntry(
            "fasterrcnn_resnet50_fpn", "torchvision.models:resnet50", "Faster R-CNN", FASTER_RCNN
        ),
    ),
)

# what makes a library fetch weights, and the value with which it does not
_NO_DOWNLOAD: dict[str, Value] = {
    "weights": None,
    "weights_backbone": None,
    "pretrained": False,
    "pretrained_backbone": False,
}


def resolve(text: str) -> str:
    """Look at a network spec's target and options; return its canonical form.

    Raises UsageError where the target cannot be imported, or an option is unknown.
    """
    wanted = spec.parse_block(text, "network")
    known = _parameters(_maker_of(wanted))
    open_ended = not known or any(each.kind is each.VAR_KEYWORD for each in known.values())
    for name, _ in wanted.options:
        if name in _NO_DOWNLOAD:
            raise UsageError(
                f"network {text!r}: {name} would have to be downloaded, and nothing is: "
                "give a file of them with --weights"
            )
        if name not in known and not open_ended:
            raise UsageError(
                f"network {text!r}: unknown option {name!r}: {suggestion(name, known)}"
            )
    kept = [
        (name, value)
        for name, value in sorted(wanted.options)
        if name not in known or known[name].default != value
    ]
    return str(BlockSpec(wanted.target, tuple(kept)))


def read_insertion(text: str, position: Position = "after_1x1") -> Insertion:
    """Read a row, as `gcbench.networks.variants` has it. Raises UsageError."""
    return variants.resolve(text, position)


def make(text: str, seed: int = 0) -> "nn.Module":
    """Make a network on the CPU, in evaluation mode, its weights drawn from `seed`.

    Raises UsageError, with the network's own reason, where it cannot be made.
    """
    import torch

    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(seed)
        return _made(text)


def make_meta(text: str) -> "nn.Module":
    """Make a network on the meta device; raises as `make` does."""
    import torch

    from gcbench.tensors import on_meta

    try:
        with torch.device("meta"):
            return _made(text)
    except _UnmadeError:
        # a constructor may look at numbers, which there are none of there; refusals come again
        return on_meta(make(text))


def on_images(network: Network, axes: Axes) -> Network:
    """Find what a network of others is called on, where it does not say: images (B, C, H, W).

    Their channels are those of its first convolution, or of the first one with which it can be
    called. Raises UsageError where that takes no images, or the network or its inputs cannot be
    made.
    """
    if network.maker is not None:
        from gcbench.networks.called import shape_made

        return replace(network, inputs=(shape_made(network.maker),))
    if network.inputs or spec.parse_block(network.spec, "network").target in NETWORKS:
        return network

    size = (axes.batch, *axes.size)
    try:
        first = forked(lambda: _first_convolution(make_meta(network.spec), size, "meta"))
    except ForkError:
        first = _first_convolution(make(network.spec), size, "cpu")
    dimensions, channels = first or (2, CHANNELS)
    if dimensions != 2:
        example = "BxCxDxHxW, as in 1x3x16x112x112" if dimensions == 3 else "BxCxL"
        raise UsageError(
            f"network {network.spec!r} begins with a Conv{dimensions}d, which takes no images "
            f"(B, C, H, W): say what it takes with --input {example}"
        )
    if channels == CHANNELS:
        return network
    return replace(network, inputs=((axes.batch, channels, *axes.size),))


def _first_convolution(
    model: "nn.Module", size: tuple[int, int, int], device: str
) -> tuple[int, int] | None:
    """Over how many dimensions a model's first convolution goes, and how many channels it takes.

    Convolutions are in the order in which they were made; where that is not how they are called,
    the first one whose channels the model takes is meant. None where there is none.
    """
    from torch.nn.modules.conv import _ConvNd

    known = [
        # a lazy one takes what comes
        (len(each.kernel_size), each.in_channels or CHANNELS)
        for each in model.modules()
        if isinstance(each, _ConvNd)
    ]
    if not known or known[0] == (2, CHANNELS) or known[0][0] != 2:
        return known[0] if known else None
    batch, *sides = size
    for dimensions, channels in dict.fromkeys(known):
        if dimensions == 2 and _is_taken(model, (batch, channels, *sides), device):
            return dimensions, channels
    return known[0]


def _is_taken(model: "nn.Module", shape: tuple[int, ...], device: str) -> bool:
    import torch

    with suppress(Exception), torch.no_grad():
        model(torch.zeros(shape, device=device))
        return True
    return False


def comparison_inside(
    network: Network,
    insertions: Sequence[Insertion],
    ratios: Sequence[int],
    axes: Axes,
    device: str,
) -> Comparison:
    """Put the plain network beside it with each of the insertions, at each ratio that they take.

    `axes` has the images' batch and size, unless the network has inputs of its own. The plain
    network is the baseline. Raises UsageError where the inputs have no such layout.
    """
    images = network.inputs[0] if network.inputs else (axes.batch, CHANNELS, *axes.size)
    if axes.layout == "channels_last" and len(images) != 4:
        raise UsageError(
            f"--layout channels_last is of (B, C, H, W), and the input is "
            f"{'x'.join(map(str, images))}"
        )
    size = (images[-2] if len(images) > inputs.LEAST_SIDES else 1, images[-1])
    axes = replace(axes, batch=images[0], channels=images[1], size=size)
    rows = [Block(spec.PLAIN, spec.PLAIN, None, False)]
    for insertion in insertions:
        block = insertion.block
        for ratio in ratios if block.takes_ratio else [block.ratio]:
            rows.append(replace(block, ratio=ratio, takes_ratio=False))
    comparison = spec.comparison_of(rows, axes, device)
    cases = tuple(replace(case, network=network) for case in comparison.cases)
    return replace(comparison, cases=cases)


def is_ours(case: Case) -> bool:
    """Tell whether a case's network is of the table, and what is put in of gcbench's blocks."""
    put = [] if case.spec == spec.PLAIN else variants.read(case.spec)
    network = _network_of(case)
    is_known = spec.parse_block(network.spec, "network").target in NETWORKS and not network.maker
    return is_known and all(blocks.is_ours(part.spec) for part in put)


def build_case(case: Case, seed: int) -> "Measured":
    """Build the network of a case with its blocks inside, on the CPU in float32."""
    return _with_blocks(case, make(_network_of(case).spec, seed), seed)


def build_meta(case: Case) -> "Measured":
    """Build the network of a case with its blocks inside, on the meta device."""
    return _with_blocks(case, make_meta(_network_of(case).spec))


def _network_of(case: Case) -> Network:
    assert case.network is not None
    return case.network


def _with_blocks(case: Case, model: "nn.Module", seed: int = 0) -> "Measured":
    from gcbench.networks import weights
    from gcbench.networks.measured import Measured

    network = _network_of(case)
    if network.weights is not None:
        weights.load(model, Path(network.weights))

    def measured(model: "nn.Module", put: "Sequence[Put]" = ()) -> Measured:
        return Measured(model, network, case.batch, (case.height, case.width), put)

    put: list[Put] = []
    if case.spec != spec.PLAIN:
        training = case.mode != "infer"
        row = variants.resolve(case.spec)
        put = put_in(model, row, case.ratio, seed, case.input_shape, measured, training)
    return measured(model, put)


def put_in(
    model: "nn.Module",
    row: Insertion,
    ratio: int | None,
    seed: int,
    shape: tuple[int, ...],
    around: "Around | None" = None,
    training: bool = False,
) -> "list[Put]":
    """Put all that a row names into a network, part by part.

    `ratio` goes into blocks that take one and fix none. The rest, and what is raised, is as in
    `gcbench.networks.inserting.insert`.
    """
    from gcbench.networks import inserting

    done: list[Put] = []
    for part in row.parts:
        block = part.block
        of = ratio if block.takes_ratio else block.ratio
        more = (of, seed + len(done), shape, around, training)
        if part.what is None:
            done += inserting.insert(model, block.spec, part.places, *more)
        else:
            done += inserting.replace(model, block.spec, part.what, *more)
    return done


def _made(text: str) -> "nn.Module":
    from torch import nn

    wanted = spec.parse_block(text, "network")
    maker = _maker_of(wanted)
    try:
        with _nothing_downloaded():
            model = maker(**dict(wanted.options))
    except GcbenchError:
        raise
    except (Exception, SystemExit) as error:
        raise _UnmadeError(f"network {text!r} cannot be made: {worded(error)}") from error
    if not isinstance(model, nn.Module):
        raise UsageError(f"network {text!r} makes {type(model).__name__}, not a torch.nn.Module")
    return model.eval()


def _maker_of(wanted: BlockSpec) -> Callable[..., Any]:
    """What makes a network from its options. Raises UsageError where there is no such thing."""
    if ":" in wanted.target:
        factory = imported(f"network {str(wanted)!r}", wanted.target)
        return partial(factory, **_without_weights(factory))
    if wanted.target.startswith("timm/"):
        return _from_timm(wanted)
    return NETWORKS[wanted.target].load()


def _from_timm(wanted: BlockSpec) -> Callable[..., Any]:
    try:
        timm = importlib.import_module("timm")
    except ImportError as error:
        raise UsageError(
            f"network {str(wanted)!r} needs timm, which is not installed: pip install timm"
        ) from error
    name = wanted.target.removeprefix("timm/")
    if not timm.is_model(name):
        # it has over a thousand: the nearest must do
        near = nearest(name, timm.list_models())
        hint = f": did you mean {near!r}?" if near else ""
        raise UsageError(f"network {str(wanted)!r}: timm has no such network{hint}")
    return partial(timm.create_model, name, pretrained=False)


def _without_weights(factory: Callable[..., Any]) -> Mapping[str, Value]:
    """The arguments with which a function makes a network and downloads nothing for it."""
    known = _parameters(factory)
    return {name: value for name, value in _NO_DOWNLOAD.items() if name in known}


def _parameters(factory: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(factory).parameters
    except (TypeError, ValueError):  # a callable that does not say what it takes
        return {}


@contextmanager
def _nothing_downloaded() -> Iterator[None]:
    """Refuse what a network's own code asks torch.hub to fetch."""
    import torch.hub

    def refuse(url: str, *args: Any, **kwargs: Any) -> None:
        raise UsageError(
            f"the network wants to download {url}, and nothing is: give --weights FILE"
        )

    fetch = torch.hub.download_url_to_file
    torch.hub.download_url_to_file = refuse
    try:
        yield
    finally:
        torch.hub.download_url_to_file = fetch
