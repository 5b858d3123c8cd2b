"""`gcbench attention` as a function: a model and pictures in, rows and panels of maps out."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gcbench import networks
from gcbench.attention import rows, running, verdict
from gcbench.attention.images import Photo, fitted
from gcbench.attention.request import Report, Request
from gcbench.measure import environment
from gcbench.records import Manifest
from gcbench.units import percent_text

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import nn

    from gcbench.attention.maps import Panel

# the state of a network whose weights nobody trained, so that nothing follows from its maps
UNTRAINED = "untrained"
# pictures whose maps are drawn, and pictures that a row names
DRAWN, NAMED = 3, 100

Bar = Callable[[str, int], AbstractContextManager[Callable[[str], None]]]


def analyse(
    asked: Request,
    measure: verdict.Measure,
    bar: Bar,
    keep: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Measure a model's attention blocks on pictures, and price them. Raises UsageError.

    What there is of the report is left to `keep` when the blocks are found, when the pictures went
    through, and when a block is priced.
    """
    device = environment.resolve_device(asked.axes.device)
    with environment.threads(asked.axes.threads):
        model = _Model.of(asked, device)
        keep(model.report([running.Seen(each) for each in model.blocks]))
        seen = model.seen(bar)
    found = replace(model.report(seen), panels=model.panels(seen))
    keep(found)
    until = verdict.UntilStopped(measure)
    prices = verdict.prices(
        seen, asked.axes, until, lambda prices: keep(model.report(seen, prices))
    )
    return replace(found, rows=model.report(seen, prices).rows, stopped=until.stopped)


@dataclass(frozen=True)
class _Model:
    """A model that was asked for, its blocks, and what all rows of it share."""

    asked: Request
    device: str
    text: str
    module: "nn.Module"
    blocks: Sequence[running.Found]
    shared: rows.AttentionRow
    manifest: Manifest

    @classmethod
    def of(cls, asked: Request, device: str) -> "_Model":
        """Make it and find its blocks. Raises UsageError where there are none."""
        text = networks.resolve(asked.model)
        inserts = [networks.read_insertion(each) for each in asked.inserts]
        ratio, weights, seed = asked.axes.ratio, asked.weights, asked.seed
        model = running.prepare(text, inserts, ratio, weights, seed, asked.size)
        blocks = running.find(model)
        if asked.block is not None:
            blocks = running.choose(model, blocks, asked.block)
        running.require_memory(model, text, asked.size, device)
        untrained = running.is_untrained(model, text, bool(inserts), weights, seed)
        manifest = environment.manifest("attention", seed)
        shared = {
            "network": " ".join([text, *(each.spec for each in inserts)]),
            **_given(asked, untrained),
            **where(manifest, device),
        }
        return cls(asked, device, text, model, blocks, shared, manifest)

    def seen(self, bar: Bar) -> list[running.Seen]:
        """Send the pictures through it."""
        asked = self.asked
        with bar("measuring", len(asked.photos)) as done:
            return running.measure(
                self.module,
                self.text,
                self.blocks,
                asked.photos,
                asked.size,
                self.device,
                asked.seed,
                asked.queries or (lambda grid: ()),
                DRAWN if asked.queries else 0,
                done,
            )

    def report(self, seen: Sequence[running.Seen], prices: Sequence[verdict.Price] = ()) -> Report:
        """What was found by now, of which some has no price yet."""
        unpriced = [verdict.Price()] * (len(seen) - len(prices))
        return Report(
            rows.rows(seen, [*prices, *unpriced], self.shared),
            self.manifest,
            untold=tuple(f"{s.found.path}: {s.maps_reason}" for s in seen if s.maps_reason),
            shared=tuple(running.shared_in(self.module)),
        )

    def panels(self, seen: Sequence[running.Seen]) -> "list[Panel]":
        """The maps that are to be drawn."""
        if not self.asked.queries:
            return []
        photos = [(each.name, fitted(each, self.asked.size)) for each in self.asked.photos[:DRAWN]]
        state = ", untrained weights" if self.shared["state"] == UNTRAINED else ""
        return [panel(each, photos, f"{each.found.path}{state}") for each in seen if each.maps]


def _given(asked: Request, untrained: bool) -> rows.AttentionRow:
    """The cells that say what went through the network."""
    made = "untrained, drawn from" if untrained else "as the network makes them,"
    return {
        "state": UNTRAINED if untrained else None,
        "weights": f"{made} seed {asked.seed}" if asked.weights is None else asked.weights.name,
        "image_names": _names(asked.photos),
        "image_height": asked.size[0],
        "image_width": asked.size[1],
    }


def _names(photos: Sequence[Photo]) -> str:
    """The names of the first pictures, and how many more there are."""
    more = len(photos) - NAMED
    names = [each.name for each in photos[:NAMED]]
    return "; ".join([*names, *([f"and {more} more"] if more > 0 else [])])


def where(manifest: Manifest, device: str) -> rows.AttentionRow:
    """The cells that say on what, and with what, something was measured."""
    return {
        "device": device,
        "device_name": manifest.device_name(device),
        "threads": manifest.threads,
        "seed": manifest.seed,
        "gcbench_version": manifest.gcbench_version,
        "torch_version": manifest.versions["torch"],
    }


def panel(seen: running.Seen, photos: Sequence[tuple[str, "Image"]], title: str) -> "Panel":
    """Make a panel of the maps that were kept of a block."""
    from gcbench.attention.maps import Panel

    adapter, module = seen.found.kind.load(), seen.found.module
    left_out = max(float(each.left_out.max()) for each in seen.maps)
    elsewhere = f"; up to {percent_text(left_out)} go to other tokens" if left_out else ""
    averaged = f", mean of {seen.heads} heads" if (seen.heads or 1) > 1 else ""
    return Panel(
        title,
        f"{seen.found.kind.name} {adapter.detail(module)}: {seen.queries} queries, "
        f"{seen.keys} keys{averaged}{elsewhere}",
        photos,
        seen.maps,
        adapter.no_distribution(module) is None,
    )
