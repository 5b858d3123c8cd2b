"""A demonstration that downloads nothing: small ResNets trained on scikit-learn's digits.

The plain network, one with each similarity of the Non-local block, and twins with snl, se and gc in
its place learn the same images in the same order from the same first weights. The Non-local ones
are measured before and after, on digits that they were not trained on and on two photographs. On
one number of threads the same seed gives the same numbers to the bit.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock

from gcbench import engines, networks
from gcbench.attention import analysis, images, rows, running, verdict
from gcbench.attention.images import Photo
from gcbench.attention.request import Report, parse
from gcbench.measure import environment
from gcbench.results import tables
from gcbench.spec.cases import Axes, Network

if TYPE_CHECKING:
    from gcbench.attention.maps import Panel

NETWORK = "gcbench.attention.demo:digit_resnet"
PLACE = "c3.last/after_add"
SIMILARITIES = ("embedded_gaussian", "gaussian", "dot_product", "concatenation")
ATTENDING = ("nl", *(f"nl:similarity={each}" for each in SIMILARITIES[1:]))
# at 32 channels the default ratio would leave two
TWINS = ("snl", "se:ratio=4", "gc:ratio=4")


@dataclass(frozen=True)
class Plan:
    """How much is done: what a test makes small."""

    epochs: int = 15
    train: int = 1347
    test: int = 450
    batch: int = 64
    learning_rate: float = 0.05
    size: tuple[int, int] = (16, 16)
    photo_size: tuple[int, int] = (32, 48)
    # test digits and photographs whose attention is measured
    digits: int = 50
    photos: int = 2
    # digits, and photographs, whose maps are drawn
    drawn: int = 1
    # whose maps
    queries: str = "3"


PLAN = Plan()


class DigitResNet(nn.Module):
    """A ResNet of four residual blocks: 16, 32, 64, 64 channels; the map is halved after c3."""

    def __init__(self, classes: int = 10) -> None:
        """Make it, with weights as PyTorch draws them."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, 1)
        self.layer2 = _stage(16, 32, 1)
        self.layer3 = _stage(32, 64, 2)
        self.layer4 = _stage(64, 64, 2)
        self.fc = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, classes)."""
        x = self.bn1(self.conv1(x)).relu()
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


def _stage(inner: int, outer: int, stride: int) -> nn.Sequential:
    skip = None
    if stride != 1 or inner != outer:
        skip = nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))
    return nn.Sequential(BasicBlock(inner, outer, stride, skip))


def digit_resnet(classes: int = 10) -> nn.Module:
    """Make the demonstration's network; a name for `gcbench attention` and `gcbench network`."""
    return DigitResNet(classes)


@dataclass(frozen=True)
class Digits:
    """Images (n, 3, H, W) with their labels, to learn and to be tested on."""

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    photos: Sequence[Photo] = field(default=())


def load(plan: Plan, seed: int) -> Digits:
    """Part scikit-learn's 1797 digits by the seed; made ready as every picture is."""
    data = images.shipped("--demo needs").load_digits()
    order = torch.randperm(len(data.images), generator=torch.Generator().manual_seed(seed))
    chosen = order[: plan.train + plan.test].tolist()
    photos = [
        Photo(f"digit {data.target[i]}", partial(_picture, torch.tensor(data.images[i])))
        for i in chosen
    ]
    pixels = torch.cat([images.normalised(images.fitted(p, plan.size)) for p in photos])
    labels = torch.tensor(data.target[chosen]).long()
    cut = plan.train
    return Digits(pixels[:cut], labels[:cut], pixels[cut:], labels[cut:], photos[cut:])


def _picture(values: Tensor) -> Any:
    """Draw a digit's 8 x 8 values of 0 to 16 as a picture."""
    from PIL import Image

    grey = (values * (255 / 16)).round().to(torch.uint8)
    return Image.fromarray(grey.numpy()).convert("RGB")


@contextmanager
def repeatable(threads: int) -> Iterator[None]:
    """Let torch compute the same numbers every time inside."""
    before = torch.are_deterministic_algorithms_enabled()
    with environment.threads(threads):
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before)


def train(
    model: nn.Module, digits: Digits, plan: Plan, seed: int, done: Callable[[str], None]
) -> None:
    """Teach a network the digits: SGD with momentum, a cosine of learning rates, in place."""
    optimiser = torch.optim.SGD(
        model.parameters(), plan.learning_rate, momentum=0.9, weight_decay=5e-4
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, plan.epochs)
    drawn = torch.Generator().manual_seed(seed)
    model.train()
    for epoch in range(plan.epochs):
        for chosen in torch.randperm(len(digits.labels), generator=drawn).split(plan.batch):
            optimiser.zero_grad()
            F.cross_entropy(model(digits.images[chosen]), digits.labels[chosen]).backward()
            optimiser.step()
        schedule.step()
        done(f"epoch {epoch + 1} of {plan.epochs}")
    model.eval()


def accuracy(model: nn.Module, digits: Digits) -> float:
    """The share of test images that a network names rightly."""
    with torch.no_grad():
        named = torch.cat([model(each).argmax(1) for each in digits.test_images.split(100)])
    return float((named == digits.test_labels).double().mean())


def demonstrate(
    plan: Plan,
    axes: Axes,
    seed: int,
    measure: verdict.Measure,
    bar: analysis.Bar,
    tell: Callable[[str], None],
) -> Report:
    """Train, measure and compare. `axes` has the threads: one, where none are given."""
    threads = axes.threads or 1
    axes = replace(axes, threads=threads, device="cpu", channels=32, size=plan.size)
    specs = [None, *ATTENDING, *TWINS]
    found: list[rows.AttentionRow] = []
    panels: list[Panel] = []
    with repeatable(threads):
        stage = _Stage(plan, seed, load(plan, seed), images.samples()[: plan.photos])
        with bar("training", len(specs) * plan.epochs) as done:
            for number, spec in enumerate(specs, 1):
                tell(f"training {spec or 'plain'}, {number} of {len(specs)}")
                of_net, drawn = stage.play(spec, done)
                found += of_net
                panels += drawn
        manifest = environment.manifest("attention-demo", seed)
    until = verdict.UntilStopped(measure)
    costs = until.priced(partial(_costs, axes))
    for cost in costs.values():
        cost["price_reason"] = until.reason(cost["price_reason"])
    where = analysis.where(manifest, "cpu")
    return Report(
        [rows.row({**each, **where, **costs.get(each["network"], {})}) for each in found],
        manifest,
        panels,
        stopped=until.stopped,
    )


@dataclass(frozen=True)
class _Stage:
    """What all networks of the demonstration share."""

    plan: Plan
    seed: int
    digits: Digits
    photos: Sequence[Photo]

    def play(
        self, spec: str | None, done: Callable[[str], None]
    ) -> "tuple[list[rows.AttentionRow], list[Panel]]":
        """Train one network, and measure it before and after where it attends."""
        inserts = [networks.read_insertion(f"{spec}@{PLACE}")] if spec else []
        model = running.prepare(NETWORK, inserts, 16, None, self.seed, self.plan.size)
        name, attends = spec or "plain", spec in ATTENDING
        before = self._seen(model, "digits") if attends else []
        shared: rows.AttentionRow = {"network": name, "weights": f"from seed {self.seed}"}
        found = _rows(before, shared | {"state": "before"} | self._of("digits"))
        train(model, self.digits, self.plan, self.seed, lambda epoch: done(f"{name}, {epoch}"))
        shared |= {"state": "after"}
        named = {
            "accuracy": accuracy(model, self.digits),
            "tested": len(self.digits.test_labels),
            "status": "ok",
        }
        if not attends:
            return [*found, shared | named], []
        after, of_photos = self._seen(model, "digits"), self._seen(model, "photographs")
        found += _rows(after, shared | named | self._of("digits"))
        found += _rows(of_photos, shared | self._of("photographs"))
        return found, self._panels(str(spec), before[0], after[0], of_photos[0])

    def _of(self, which: str) -> rows.AttentionRow:
        size, _ = self._pictures(which)
        return {
            "image_names": which,
            "image_height": size[0],
            "image_width": size[1],
        }

    def _pictures(self, which: str) -> tuple[tuple[int, int], Sequence[Photo]]:
        if which == "digits":
            return self.plan.size, self.digits.photos[: self.plan.digits]
        return self.plan.photo_size, self.photos

    def _seen(self, model: nn.Module, which: str) -> list[running.Seen]:
        size, photos = self._pictures(which)
        return running.measure(
            model,
            NETWORK,
            running.find(model),
            photos,
            size,
            seed=self.seed,
            queries=parse(self.plan.queries),
            drawn=self.plan.drawn,
        )

    def _panels(
        self, spec: str, before: running.Seen, after: running.Seen, of_photos: running.Seen
    ) -> "list[Panel]":
        """One panel of digits before and after, and one of photographs after."""
        drawn = range(self.plan.drawn)
        _, digits = self._pictures("digits")
        pictures = [
            (f"{digits[i].name}, {when}", images.fitted(digits[i], self.plan.size))
            for when in ("before training", "after training")
            for i in drawn
        ]
        later = [replace(each, photo=each.photo + len(drawn)) for each in after.maps]
        both = replace(before, maps=[*before.maps, *later])
        size, photos = self._pictures("photographs")
        large = [
            (f"{each.name}, after training", images.fitted(each, size))
            for each in photos[: self.plan.drawn]
        ]
        return [
            analysis.panel(both, pictures, spec),
            *([analysis.panel(of_photos, large, spec)] if spec == "nl" else []),
        ]


def _rows(seen: Sequence[running.Seen], shared: rows.AttentionRow) -> list[rows.AttentionRow]:
    return rows.rows(seen, [{}] * len(seen), shared)


def _costs(axes: Axes, measure: verdict.Measure) -> dict[str, rows.AttentionRow]:
    """What each block costs by itself, side by side at its place, and adds to the network."""
    names = [*ATTENDING, *TWINS]
    by_itself = list(tables.rows(measure(engines.compare(names, axes))))
    insertions = [networks.read_insertion(f"{name}@{PLACE}") for name in names]
    network = Network(NETWORK)
    inside = list(
        tables.rows(
            engines.count_only(engines.compare_inside(network, insertions, [axes.ratio], axes))
        )
    )
    return {
        name: {
            **{column: block[column] for column in (*verdict.OF_BLOCK, *verdict.BESIDE)},
            "price_flags": block["flags"],
            "price_reason": block["reason"],
            **{column: within[column] for column in ("params_added", "macs_added")},
        }
        for name, block, within in zip(names, by_itself, inside[1:], strict=True)
    }
