"""`gcbench attention`: how much a model's attention depends on the query."""

import sys
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from gcbench import spec
from gcbench.attention import images as pictures
from gcbench.attention.asked import Asked
from gcbench.attention.queries import Chooser, parse
from gcbench.cli import faults, options
from gcbench.cli import network_options as inside
from gcbench.cli.output import leave, require_apart, require_writable, rows_of, write_and_say
from gcbench.cli.progress import counting_bar, timing_bar
from gcbench.errors import StoppedError, UsageError
from gcbench.formats import GENERAL, Format
from gcbench.formats.detail import Detail
from gcbench.units import counted

if TYPE_CHECKING:
    from gcbench.attention.analysis import Bar, Report
    from gcbench.attention.verdict import Measure
    from gcbench.records import Run

PICTURES = "Pictures"
SIZE, QUERIES = "224", "3"

Model = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL",
        help="A network as `gcbench network` names it: resnet50, timm/NAME, my.module:make_model.",
        show_default=False,
    ),
]
Insert = Annotated[
    list[str] | None,
    options.option(
        "--insert",
        help="Put a block in first: nl@+1, nl:similarity=gaussian@c4.last. Repeatable.",
        metavar="SPEC@PLACES",
    ),
]
Block = Annotated[
    str | None,
    options.option(
        "--block",
        help="Only the blocks at this place: a module's path, or c4.last-1. Default: all.",
        metavar="PLACE",
    ),
]
Images = Annotated[
    list[Path] | None,
    options.option(
        "--images",
        help="A folder of pictures, or a file. Repeatable. Default: the two photographs that "
        "scikit-learn ships.",
        metavar="DIR|FILE",
    ),
]
Weights = Annotated[
    Path | None,
    options.option(
        "--weights",
        help="A state dict of the network, with what was inserted or without. Nothing is "
        "downloaded: else they are as the network makes them.",
        metavar="FILE",
    ),
]
Size = Annotated[
    str,
    typer.Option(
        "-s",
        "--size",
        help="What the middle of a picture is cut to, after its shorter side was scaled to 256/224 "
        "of that, as torchvision does.",
        metavar="H[xW]",
    ),
]
NoLatency = Annotated[
    bool,
    options.option(
        "--no-latency", help="Count what snl and gc would save, and time nothing.", panel="How long"
    ),
]
Demo = Annotated[
    bool,
    options.option(
        "--demo",
        help="Train small ResNets on scikit-learn's digits and measure them, before and after. "
        "Some minutes.",
    ),
]
Queries = Annotated[
    str,
    typer.Option(
        "--queries",
        help="Whose maps are drawn: how many, or positions of the block's input, row x column: "
        "3x4,7x7.",
        metavar="N|HxW,...",
        rich_help_panel=PICTURES,
    ),
]
Pictures = Annotated[
    Path | None,
    options.option(
        "-o",
        "--output",
        help="Draw the maps of the first pictures here.",
        metavar="FILE.png",
        panel=PICTURES,
    ),
]


def attention(
    model: Model = None,
    insert: Insert = None,
    block: Block = None,
    images: Images = None,
    weights: Weights = None,
    size: Size = SIZE,
    demo: Demo = False,
    no_latency: NoLatency = False,
    no_wait: options.NoWait = False,
    queries: Queries = QUERIES,
    output: Pictures = None,
    device: options.Device = None,
    threads: options.Threads = None,
    seed: options.Seed = "0",
    csv: options.Csv = None,
    write: options.Write = None,
    format: options.GeneralFormat = "table",
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    traceback: faults.Traceback = False,
) -> None:
    """Measure how much attention depends on the query, and what a block of one map would save."""
    shown = GENERAL[format]
    detail = options.read_detail(verbose, quiet)
    axes = options.read_device(device, threads)
    drawn_from = spec.parse_count("--seed", seed, least=0)
    chosen = _read_queries(queries, output)
    side = spec.parse_size("--size", size)
    require_writable("--csv", csv)
    _require_picture(output)
    require_writable("--write", write)
    require_apart({"--csv": csv, "--output": output, "--write": write})
    if demo:
        given: dict[str, object] = {"MODEL": model, "--insert": insert, "--block": block}
        given |= {"--images": images, "--weights": weights, "--device": device}
        _require_alone(given | {"--size": size != SIZE})
        report = _demonstrated(queries, axes, drawn_from, no_latency, no_wait)
    else:
        net = _read_model(model, insert)
        state = inside.read_weights(weights)
        asked = Asked(
            model=net,
            inserts=tuple(insert or ()),
            block=block,
            photos=pictures.gather(images) if images else pictures.samples(),
            weights=None if state is None else Path(state),
            size=side,
            axes=axes,
            seed=drawn_from,
            queries=chosen,
        )
        _require_inputs_kept(asked, {"--csv": csv, "--output": output, "--write": write})
        report = _analysed(asked, no_latency, no_wait)
    _leave(report, shown, write, csv, output, detail=detail)
    _end(report, timed=not no_latency)


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


def _require_alone(given: dict[str, object]) -> None:
    """Raise UsageError where what is given beside --demo would have no meaning."""
    named = [name for name, value in given.items() if value]
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
    report: "Report",
    shown: Format,
    write: Path | None,
    csv: Path | None,
    output: Path | None,
    detail: Detail | None,
) -> None:
    """Write the CSV and the pictures, and leave the result whatever becomes of those."""
    from gcbench.attention.rows import COLUMNS
    from gcbench.formats.attention import document

    for words in report.shared:
        faults.say(f"not measured: {words}")
    told = document(report.rows, COLUMNS, report.manifest)
    files = [(csv, rows_of(told)), (output, lambda path: _draw(report, path))]
    leave(told, shown, write, files, detail=detail)


def _draw(report: "Report", output: Path) -> None:
    from gcbench.attention import maps

    for words in report.untold:
        faults.say(f"not drawn: {words}")
    if report.panels:
        write_and_say(output, maps.png(report.panels))
    else:
        faults.say(f"--output {output}: there are no maps to draw")


def _end(report: "Report", *, timed: bool) -> NoReturn:
    """End as it went: with what may spoil the latencies, and an exit code."""
    if timed:
        faults.warn(report.manifest.warnings)
    if report.stopped:
        raise StoppedError("interrupted: readings are kept; what was not yet timed has no latency")
    raise typer.Exit(_code(report))


def _code(report: "Report") -> int:
    """Say by an exit code what became of the blocks: what cannot be priced counts as failed."""
    counts = Counter(row["status"] for row in report.rows)
    unpriced = any(row["price_reason"] for row in report.rows)
    return faults.code_of_statuses(counts) or (faults.SOME_FAILED if unpriced else 0)
