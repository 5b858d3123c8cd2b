"""`gcbench attention`: how much a model's attention depends on the query."""

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from gcbench import spec
from gcbench.attention import images as pictures
from gcbench.attention.asked import Asked
from gcbench.attention.queries import Chooser, parse
from gcbench.cli import faults, options, plans
from gcbench.cli import network_options as inside
from gcbench.cli.output import leave, require_apart, require_writable, rows_of, write_and_say
from gcbench.cli.progress import counting_bar, timing_bar
from gcbench.cli.taking import takes
from gcbench.defaults import Said
from gcbench.errors import StoppedError, UsageError
from gcbench.formats import GENERAL, Format
from gcbench.formats.detail import Detail
from gcbench.options import EFFORT, PICTURES, Option
from gcbench.options.readers import one, whether
from gcbench.options.table import format_of
from gcbench.units import counted

if TYPE_CHECKING:
    from gcbench.attention.analysis import Bar, Report
    from gcbench.attention.rows import Row
    from gcbench.attention.verdict import Measure
    from gcbench.records import Run

QUERIES = "3"

MODEL = Option(
    "model",
    "A network as `gcbench network` names it: resnet50, timm/NAME, my.module:make_model.",
    metavar="MODEL",
    argument=True,
)
INSERT = Option(
    "insert",
    "Put a block in first: nl@+1, nl:similarity=gaussian@c4.last. Repeatable.",
    kind="texts",
    metavar="SPEC@PLACES",
)
BLOCK = Option(
    "block",
    "Only the blocks at this place: a module's path, or c4.last-1. Default: all.",
    metavar="PLACE",
)
IMAGES = Option(
    "images",
    "A folder of pictures, or a file. Repeatable. Default: the two photographs that "
    "scikit-learn ships.",
    kind="paths",
    metavar="DIR|FILE",
)
WEIGHTS = Option(
    "weights",
    "A state dict of the network, with what was inserted or without. Nothing is "
    "downloaded: else they are as the network makes them.",
    kind="path",
    metavar="FILE",
)
SIDE = Option(
    "size",
    "What the middle of a picture is cut to, after its shorter side was scaled to 256/224 "
    "of that, as torchvision does.",
    short="-s",
    metavar="H[xW]",
    read=one(spec.parse_size),
    usual="224",
)
NO_LATENCY = Option(
    "no_latency",
    "Count what snl and gc would save, and time nothing.",
    kind="flag",
    read=one(whether),
    panel=EFFORT,
)
DEMO = Option(
    "demo",
    "Train small ResNets on scikit-learn's digits and measure them, before and after. "
    "Some minutes.",
    kind="flag",
    read=one(whether),
)
WHOSE = Option(
    "queries",
    "Whose maps are drawn: how many, or positions of the block's input, row x column: 3x4,7x7.",
    metavar="N|HxW,...",
    panel=PICTURES,
    usual=QUERIES,
)
PICTURE = Option(
    "output",
    "Draw the maps of the first pictures here.",
    short="-o",
    kind="path",
    metavar="FILE.png",
    panel=PICTURES,
)


@takes(
    "attention",
    *(MODEL, INSERT, BLOCK, IMAGES, WEIGHTS, SIDE, DEMO, NO_LATENCY, WHOSE, PICTURE),
    format_of([entry.name for entry in GENERAL]),
)
def attention(
    said: Said,
    model: str | None,
    insert: list[str] | None,
    block: str | None,
    images: list[Path] | None,
    weights: Path | None,
    size: tuple[int, int],
    demo: bool,
    no_latency: bool,
    no_wait: bool,
    queries: str,
    output: Path | None,
    csv: Path | None,
    write: Path | None,
    format: str,
    verbose: bool,
    quiet: bool,
) -> None:
    """Measure how much attention depends on the query, and what a block of one map would save."""
    shown = GENERAL[format]
    detail = options.read_detail(verbose, quiet)
    plan = said.plan()
    places = plans.places(plan)
    chosen = _read_queries(queries, output)
    require_writable("--csv", csv)
    _require_picture(output)
    require_writable("--write", write)
    require_apart({"--csv": csv, "--output": output, "--write": write})
    if demo:
        _require_alone(said)
        reports = [_demonstrated(queries, axes, plan.seed, no_latency, no_wait) for axes in places]
    else:
        net = _read_model(model, insert)
        state = inside.read_weights(weights)
        asked = Asked(
            model=net,
            inserts=tuple(insert or ()),
            block=block,
            photos=pictures.gather(images) if images else pictures.samples(),
            weights=None if state is None else Path(state),
            size=size,
            axes=places[0],
            seed=plan.seed,
            queries=chosen,
        )
        _require_inputs_kept(asked, {"--csv": csv, "--output": output, "--write": write})
        reports = []
        for axes in places:
            reports.append(_analysed(replace(asked, axes=axes), no_latency, no_wait))
            if reports[-1].stopped:
                break
    _leave(reports, shown, write, csv, output, detail)
    _end(reports, timed=not no_latency)


def _read_queries(text: str, output: Path | None) -> Chooser | None:
    """Read whose maps are drawn: nobody's without a picture. Raises UsageError."""
    chosen = parse(text)
    if text != QUERIES and not output:
        raise UsageError(f"--queries {text} chooses whose maps are drawn: -o FILE.png draws them")
    return chosen if output else None


def _read_model(model: str | None, insert: list[str] | None) -> str:
    """Read MODEL and what goes into it, as far as that needs no torch. Raises UsageError."""
    if model is None:
        raise UsageError(
            "attention takes a MODEL, such as resnet50 --insert nl@+1 or my.module:make_model; "
            "--demo needs none"
        )
    inside.require_readable(model, [(each, "after_1x1") for each in insert or ()])
    return model


def _require_alone(said: Said) -> None:
    """Raise UsageError where what is given beside --demo would have no meaning."""
    others = ("model", "insert", "block", "images", "weights", "device", "size")
    named = [said.options[name].place for name in others if name in said.line]
    if named:
        raise UsageError(f"--demo brings its own models and pictures: leave out {', '.join(named)}")


def _require_picture(path: Path | None) -> None:
    if path is not None and path.suffix.lower() != ".png":
        raise UsageError(f"--output {path}: maps are drawn as a PNG: name a file that ends in .png")
    require_writable("--output", path)


def _require_inputs_kept(asked: Asked, written: dict[str, Path | None]) -> None:
    """Raise UsageError where a result would be written over what is read."""
    inputs = [("--weights", asked.weights), *(("--images", each.path) for each in asked.photos)]
    for name, path in inputs:
        require_apart({name: path, **written})


def _analysed(asked: Asked, no_latency: bool, no_wait: bool) -> "Report":
    through = f"{counted(len(asked.photos), 'picture')} through {asked.model}"
    faults.say(f"sending {through}; loading torch")

    from gcbench.attention.analysis import analyse

    # stdout is the result alone, whatever a network of the user's own prints
    with redirect_stdout(sys.stderr):
        return analyse(asked, *_doors(no_latency, no_wait))


def _demonstrated(
    queries: str, axes: spec.Axes, seed: int, no_latency: bool, no_wait: bool
) -> "Report":
    faults.say("training on scikit-learn's digits; loading torch")

    from gcbench.attention import demo

    plan = replace(demo.PLAN, queries=queries)
    return demo.demonstrate(plan, axes, seed, *_doors(no_latency, no_wait), faults.say)


def _doors(no_latency: bool, no_wait: bool) -> "tuple[Measure, Bar]":
    """How blocks are priced, and what shows how far it is."""
    from gcbench import engines
    from gcbench.attention import verdict

    def timed(comparison: spec.Comparison) -> "Run":
        faults.say(f"timing {verdict.titled(comparison)}")
        with timing_bar() as move:
            return verdict.timed(move, not no_wait, faults.say)(comparison)

    return engines.count_only if no_latency else timed, counting_bar


def _leave(
    reports: "Sequence[Report]",
    shown: Format,
    write: Path | None,
    csv: Path | None,
    output: Path | None,
    detail: Detail | None,
) -> None:
    """Write the CSV and the pictures, and leave the result whatever becomes of those."""
    from gcbench.attention.rows import COLUMNS
    from gcbench.formats.attention import document
    from gcbench.formats.document import joined

    for words in dict.fromkeys(words for report in reports for words in report.shared):
        faults.say(f"not measured: {words}")
    # rows say on which device they were priced, at how many threads
    told = joined([({}, document(each.rows, COLUMNS, each.manifest)) for each in reports])
    files = [(csv, rows_of(told)), (output, lambda path: _draw(reports[0], path))]
    leave(told, shown, write, files, detail=detail)


def _draw(report: "Report", output: Path) -> None:
    from gcbench.attention import maps

    for words in report.untold:
        faults.say(f"not drawn: {words}")
    if report.panels:
        write_and_say(output, maps.png(report.panels))
    else:
        faults.say(f"--output {output}: there are no maps to draw")


def _end(reports: "Sequence[Report]", *, timed: bool) -> NoReturn:
    """End as it went: with what may spoil the latencies, and an exit code."""
    if timed:
        faults.warn(reports[0].manifest.warnings)
    if any(report.stopped for report in reports):
        raise StoppedError("interrupted: readings are kept; what was not yet timed has no latency")
    raise typer.Exit(_code([row for report in reports for row in report.rows]))


def _code(rows: "Sequence[Row]") -> int:
    """Say by an exit code what became of the blocks: what cannot be priced counts as failed."""
    counts = Counter(row["status"] for row in rows)
    unpriced = any(row["price_reason"] for row in rows)
    return faults.code_of_statuses(counts) or (faults.SOME_FAILED if unpriced else 0)
