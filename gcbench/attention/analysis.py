"""`gcbench attention` as a function: a model and pictures in, rows and panels of maps out."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcbench import environment, networks
from gcbench.attention import rows, running, verdict
from gcbench.attention.asked import Asked
from gcbench.attention.images import Photo, fitted
from gcbench.records import Manifest
from gcbench.units import percent_text

if TYPE_CHECKING:
    from PIL.Image import Image

    from gcbench.attention.maps import Panel

# the state of a network whose weights nobody trained, so that nothing follows from its maps
UNTRAINED = "untrained"
# pictures whose maps are drawn, and pictures that a row names
DRAWN, NAMED = 3, 100

Bar = Callable[[str, int], AbstractContextManager[Callable[[str], None]]]


@dataclass(frozen=True)
class Report:
    """What was found: rows, where that was, and maps to draw.

    `untold` says what is not drawn and why, `shared` what the maps of blocks are that have none for
    each query. Where the person `stopped` it, readings are all there and some latencies are not.
    """

    rows: list[rows.Row]
    manifest: Manifest
    panels: "list[Panel]"
    untold: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    stopped: bool = False


def analyse(asked: Asked, measure: verdict.Measure, bar: Bar) -> Report:
    """Measure a model's attention blocks on pictures, and price them. Raises UsageError."""
    device = environment.resolve_device(asked.axes.device)
    with environment.threads(asked.axes.threads):
        text = networks.resolve(asked.model)
        inserts = [networks.read_insertion(each) for each in asked.inserts]
        model = running.prepare(
            text, inserts, asked.axes.ratio, asked.weights, asked.seed, asked.size
        )
        blocks = running.find(model)
        if asked.block is not None:
            blocks = running.choose(model, blocks, asked.block)
        running.require_memory(model, text, asked.size, device)
        untrained = running.is_untrained(model, text, bool(inserts), asked.weights, asked.seed)
        with bar("measuring", len(asked.photos)) as done:
            seen = running.measure(
                model,
                text,
                blocks,
                asked.photos,
                asked.size,
                device,
                asked.seed,
                asked.queries or (lambda grid: ()),
                DRAWN if asked.queries else 0,
                done,
            )
        manifest = environment.manifest("attention", asked.seed)
    until = verdict.UntilStopped(measure)
    prices = verdict.prices(seen, asked.axes, until)
    shared = {
        "network": " ".join([text, *(each.spec for each in inserts)]),
        **_given(asked, untrained),
        **where(manifest, device),
    }
    return Report(
        rows.rows(seen, prices, shared),
        manifest,
        _panels(seen, asked, untrained) if asked.queries else [],
        tuple(f"{each.found.path}: {each.maps_reason}" for each in seen if each.maps_reason),
        tuple(running.shared_in(model)),
        until.stopped,
    )


def _given(asked: Asked, untrained: bool) -> rows.Row:
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


def where(manifest: Manifest, device: str) -> rows.Row:
    """The cells that say on what, and with what, something was measured."""
    return {
        "device": device,
        "device_name": manifest.device_name(device),
        "threads": manifest.threads,
        "seed": manifest.seed,
        "gcbench_version": manifest.gcbench_version,
        "torch_version": manifest.versions["torch"],
    }


def _panels(seen: Sequence[running.Seen], asked: Asked, untrained: bool) -> "list[Panel]":
    photos = [(each.name, fitted(each, asked.size)) for each in asked.photos[:DRAWN]]
    state = ", untrained weights" if untrained else ""
    return [panel(each, photos, f"{each.found.path}{state}") for each in seen if each.maps]


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
