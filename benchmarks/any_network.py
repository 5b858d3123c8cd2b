"""Which networks of torchvision and timm take a block, and whether what is counted is right.

    python benchmarks/any_network.py [-o docs/any_network.md] [NAME ...]

Of every builder of torchvision and of one network of each of over 40 families of timm: gc (or,
where tensors are (B, C, D, H, W), a gate that takes them) goes behind the last module, no deeper
than three names, that has weights and gives an image. What the row says is added is held against a
hand count at what really goes into each inserted block, seen by hooks, at two heights where the
network takes two. Counts only; nothing is downloaded.
"""

import argparse
import contextlib
import gc
import io
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from gcbench import engines, networks
from gcbench.errors import GcbenchError
from gcbench.networks.with_block import inserted
from gcbench.spec.cases import Axes, Case, Network

RATIO = 16
GATE = "any_network:Gate"
# one of each family: the smallest that is there
FAMILIES = (
    *("bat_resnext26ts", "beit_base_patch16_224", "botnet26t_256", "cait_xxs24_224"),
    *("coat_tiny", "coatnet_nano_rw_224", "convit_tiny", "convmixer_768_32"),
    *("convnext_atto", "crossvit_tiny_240", "cspdarknet53", "davit_tiny"),
    *("deit_tiny_patch16_224", "densenet121", "dla34", "dpn48b"),
    *("edgenext_xx_small", "efficientformer_l1", "efficientnet_b0", "fastvit_t8"),
    *("focalnet_tiny_srf", "gcresnet33ts", "ghostnet_050", "hardcorenas_a"),
    *("hgnet_tiny", "hrnet_w18_small", "inception_next_tiny", "levit_128s"),
    *("maxvit_tiny_rw_224", "mobilenetv3_small_050", "mobilevit_xxs"),
    *("mixer_s32_224", "nfnet_l0", "nf_regnet_b0", "poolformer_s12"),
    *("pvt_v2_b0", "regnetx_002", "repvgg_a0", "rexnet_100"),
    *(
        "sequencer2d_s",
        "swin_tiny_patch4_window7_224",
        "swinv2_tiny_window8_256",
        "tiny_vit_5m_224",
    ),
    *("tnt_s_patch16_224", "twins_pcpvt_small", "vgg11", "visformer_tiny"),
    *("vovnet39a", "xcit_nano_12_p16_224"),
)


class Gate(nn.Module):
    """A block of any number of dimensions: a gate for each channel, by a layer of the means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> (B, C, ...)."""
        gate = self.fc(x.flatten(2).mean(2)).sigmoid()
        return x * gate[(..., *[None] * (x.ndim - 2))]


@dataclass(frozen=True)
class Tried:
    """What came of a network: where the block went, what was counted, or why nothing was."""

    network: str
    given: str
    place: str = ""
    block: str = ""
    seen: str = ""
    params: int | None = None
    macs: int | None = None
    verdict: str = ""


def builders() -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """The group, the spec and the input of every network to be tried."""
    from torchvision import models

    for module, side in (
        (models, 224),
        (models.segmentation, 224),
        (models.detection, 320),
        (models.video, 224),
    ):
        for name in models.list_models(module=module):
            where = module.__name__
            yield where, f"{where}:{name}", torchvision_input(name, side, module is models.video)


def torchvision_input(name: str, side: int, is_video: bool) -> tuple[int, ...]:
    if is_video:
        return (1, 3, 16, side, side)
    return (1, 3, *(2 * [{"inception_v3": 299}.get(name, side)]))


def of_timm() -> Iterator[tuple[str, str, tuple[int, ...]]]:
    import timm

    for name in FAMILIES:
        if timm.is_model(name):
            side = timm.get_pretrained_cfg(name)
            yield "timm", f"timm/{name}", (1, *(side.input_size if side else (3, 224, 224)))


def tried(text: str, shape: tuple[int, ...]) -> Tried:
    given = "x".join(map(str, shape))
    network = Network(networks.resolve(text), inputs=() if shape[1:] == (3, 224, 224) else (shape,))
    if text.partition(":")[0].endswith("detection"):
        network = Network(network.spec)
    axes = Axes(size=(shape[-2], shape[-1]))
    place = last_image(network, axes)
    if place is None:
        return Tried(text, given, verdict="refused: no module gives an image")
    try:
        block = GATE if len(shape) == 5 else "gc"
        return measured(Tried(text, given, place, block), network, axes)
    except GcbenchError as error:
        return Tried(text, given, place, verdict=f"refused: {error}")


def measured(one: Tried, network: Network, axes: Axes) -> Tried:
    """Count as `gcbench network --static` does, and hold that against a hand count."""
    row = networks.read_insertion(f"{one.block}@{one.place}")
    comparison = engines.compare_inside(network, [row], [RATIO], axes)
    plain, case = engines.count_only(comparison).comparisons[0].measurements
    if case.status != "ok" or plain.status != "ok":
        return Tried(**{**vars(one), "verdict": f"refused: {case.reason or plain.reason}"})
    params, macs = (int(case.metrics[m]) - int(plain.metrics[m]) for m in ("params", "macs"))
    inputs, again = seen_by(case.case, 1), seen_by(case.case, 2)
    wrong = differences(inputs, again, params, macs, int(case.metrics["inserted"]))
    said = "measured" + (", channels last" if case.flags.count("channels_last_places") else "")
    shapes = ", ".join(dict.fromkeys("x".join(map(str, each)) for each in inputs))
    return Tried(
        one.network,
        one.given,
        one.place,
        one.block,
        shapes,
        params,
        macs,
        f"WRONG: {wrong}" if wrong else said + ("" if again else ", at one height"),
    )


def seen_by(case: Case, times: int) -> list[tuple[int, ...]]:
    """The shape of all that goes into the inserted blocks, at so many times the height.

    Empty where the network does not take it.
    """
    shapes: list[tuple[int, ...]] = []
    sides = [*case.input_shape]
    sides[-2] *= times
    for build, device in (
        (networks.build_meta, "meta"),
        (lambda c: networks.build_case(c, 0), "cpu"),
    ):
        shapes.clear()
        with contextlib.suppress(Exception), torch.no_grad():
            module = build(case).eval()
            for _, block in inserted(module):
                block.register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape)))
            module(torch.zeros(sides, device=device))
            return shapes
    return []


def differences(
    inputs: list[tuple[int, ...]], again: list[tuple[int, ...]], params: int, macs: int, blocks: int
) -> str:
    """What of a row is not as a hand count has it; nothing where all is."""
    if not inputs:
        return "nothing went into a block"
    found = []
    own = {shape[1] for shape in inputs}
    if len(own) > 1:
        found.append(f"channels {own}")
    if params != blocks * parameters(inputs[0]):
        found.append(f"{params} parameters, not {blocks * parameters(inputs[0])}")
    if macs != sum(map(multiplications, inputs)):
        found.append(f"{macs} MACs, not {sum(map(multiplications, inputs))}")
    if again and {shape[1] for shape in again} != own:
        found.append("the block's channels follow the images' height")
    return "; ".join(found)


def parameters(shape: tuple[int, ...]) -> int:
    """Of gc at ratio 16: the mask, two layers with a norm between. Of the gate: one layer."""
    C, p = shape[1], shape[1] // RATIO
    if len(shape) == 5:
        return C * C + C
    return (C + 1) + (C * p + p) + 2 * p + (p * C + C)


def multiplications(shape: tuple[int, ...]) -> int:
    """Of gc: the mask and the sum at every position, two layers. Of the gate: one layer."""
    B, C, *sides = shape
    if len(sides) == 3:
        return B * C * C
    N, p = sides[0] * sides[1], C // RATIO
    return B * (2 * C * N + 2 * C * p)


def last_image(network: Network, axes: Axes) -> str | None:
    """The last module with weights, no deeper than three names, that gives an image."""
    from gcbench.networks.measured import Measured

    case = networks.comparison_inside(network, [], [], axes, "cpu").cases[0]
    for make, device in ((networks.make_meta, "meta"), (networks.make, "cpu")):
        found: list[str] = []
        with contextlib.suppress(Exception), torch.no_grad():
            model = make(network.spec)
            for path, module in model.named_modules():
                if path and path.count(".") < 3 and any(True for _ in module.parameters()):
                    module.register_forward_hook(
                        lambda _, __, output, path=path, found=found: (
                            found.append(path) if is_image(output) else None
                        )
                    )
            part = Measured(model, network, case.batch, (case.height, case.width)).to(device).eval()
            part(torch.zeros(case.input_shape, device=device))
        if found:
            # of those that end with the last one, the outermost
            return min((each for each in found[-4:] if found[-1].startswith(each)), key=len)
    return None


def is_image(output: object) -> bool:
    is_tensor = isinstance(output, Tensor) and output.ndim in (4, 5)
    return is_tensor and min(output.shape[2:]) > 1


HEADER = ("network", "input", "block", "behind", "its input", "+params", "+MACs", "")


def table(rows: list[Tried]) -> Iterator[str]:
    yield "| " + " | ".join(HEADER) + " |\n|" + "---|" * len(HEADER) + "\n"
    for row in rows:
        name = row.network.rpartition(":")[2].removeprefix("timm/")
        block = row.block.rpartition(":")[2]
        cells = (name, row.given, block, row.place, row.seen, number(row.params), number(row.macs))
        yield "| " + " | ".join((*cells, row.verdict.replace("|", "/"))) + " |\n"


def number(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def page(groups: dict[str, list[Tried]]) -> Iterator[str]:
    everything = [each for group in groups.values() for each in group]
    wrong = [each for each in everything if each.verdict.startswith("WRONG")]
    refused = [each for each in everything if each.verdict.startswith("refused")]
    yield "# Networks that were tried\n\n"
    yield "Made by `benchmarks/any_network.py`: " + (__doc__ or "").split("\n\n")[2].replace(
        "\n", " "
    )
    yield "\n\n"
    yield (
        f"{len(everything)} networks: {len(everything) - len(refused) - len(wrong)} measured, "
        f"{len(refused)} refused with the reason, {len(wrong)} with a wrong count.\n"
    )
    for name, group in groups.items():
        yield f"\n## {name}\n\n"
        yield from table(group)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("names", nargs="*", help="a part of a name: those alone")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    groups: dict[str, list[Tried]] = {}
    for group, text, shape in (*builders(), *of_timm()):
        if asked.names and not any(each in text for each in asked.names):
            continue
        start = time.monotonic()
        with contextlib.redirect_stdout(io.StringIO()):
            found = tried(text, shape)
        print(f"{time.monotonic() - start:5.1f} s {text}: {found.verdict}", file=sys.stderr)
        groups.setdefault(group, []).append(found)
        gc.collect()
    text = "".join(page(groups))
    if asked.output:
        asked.output.write_text(text)
    else:
        print(text)
    return any(e.verdict.startswith("WRONG") for group in groups.values() for e in group)


if __name__ == "__main__":
    sys.exit(main())
