"""`gcbench attention`: how much a model's attention depends on the query."""

import sys
from collections import Counter
from contextlib import ExitStack, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Self

import typer

from gcbench import spec
from gcbench.attention import images as pictures
from gcbench.attention.asked import Asked, Teller, analysed
from gcbench.attention.queries import Chooser, parse
from gcbench.cli import faults, options
from gcbench.cli import network_options as inside
from gcbench.cli.output import (
    beside_files,
    is_stdout,
    print_lines,
    require_apart,
    require_writable,
    write_and_say,
    write_whole,
)
from gcbench.cli.progress import counting_bar, timing_bar
from gcbench.errors import StoppedError, UsageError
from gcbench.formats import ATTENTION_FORMATS
from gcbench.formats.detail import Detail
from gcbench.registry import Entry
from gcbench.units import counted

if TYPE_CHECKING:
    from gcbench.attention.asked import Report

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
Format = Annotated[
    str,
    typer.Option(
        "--format",
        help="What stdout carries.",
        metavar="|".join(entry.name for entry in ATTENTION_FORMATS),
        rich_help_panel=options.OUTPUT,
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
    timeout: options.Timeout = None,
    queries: Queries = QUERIES,
    output: Pictures = None,
    device: options.Device = None,
    threads: options.Threads = None,
    seed: options.Seed = "0",
    csv: options.Csv = None,
    format: Format = "table",
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    traceback: faults.Traceback = False,
) -> None:
    """Measure how much attention depends on the query, and what a block of one map would save."""
    shown = ATTENTION_FORMATS[format]
    detail = options.read_detail(verbose, quiet)
    axes = options.read_device(device, threads)
    drawn_from = spec.parse_count("--seed", seed, least=0)
    limit_s = options.read_timeout(timeout)
    chosen = _read_queries(queries, output)
    side = spec.parse_size("--size", size)
    require_writable("--csv", csv)
    _require_picture(output)
    require_apart({"--csv": csv, "--output": output})
    if demo:
        given: dict[str, object] = {"MODEL": model, "--insert": insert, "--block": block}
        given |= {"--images": images, "--weights": weights, "--device": device}
        _require_alone(given | {"--size": size != SIZE})
        report = _demonstrated(queries, axes, drawn_from, not no_latency, not no_wait)
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
        _require_inputs_kept(asked, csv, output)
        foreign = inside.is_foreign(net, [(each, "after_1x1") for each in insert or ()], None)
        report = _analysed(asked, foreign, limit_s, not no_latency, not no_wait)
    _leave(report, shown, csv, output, **detail)
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


def _require_inputs_kept(asked: Asked, csv: Path | None, output: Path | None) -> None:
    """Raise UsageError where a result would be written over what is read."""
    inputs = [("--weights", asked.weights), *(("--images", each.path) for each in asked.photos)]
    for name, path in inputs:
        require_apart({name: path, "--csv": csv, "--output": output})


def _analysed(asked: Asked, foreign: bool, limit_s: float, timed: bool, wait: bool) -> "Report":
    through = f"{counted(len(asked.photos), 'picture')} through {asked.model}"
    faults.say(f"sending {through}; loading torch")

    from gcbench import engines
    from gcbench.engines.fresh import CallError

    screen = Screen()
    # stdout is the result alone, whatever a network of the user's own prints
    with redirect_stdout(sys.stderr), engines.opened(foreign, limit_s) as engine, screen:
        try:
            report: Report = engine.call(analysed, asked, timed, wait, heard=screen.heard)
            return report
        except CallError as error:
            if screen.kept is None:
                raise UsageError(f"network {asked.model!r}: to make it {error.reason}") from error
            return screen.kept.lost(error.status, error.reason)


def _demonstrated(queries: str, axes: spec.Axes, seed: int, timed: bool, wait: bool) -> "Report":
    faults.say("training on scikit-learn's digits; loading torch")

    from gcbench.attention import demo, verdict

    plan = replace(demo.PLAN, queries=queries)
    with Screen() as screen:
        tell = Teller(screen.heard)
        measure = verdict.measuring(tell, timed, wait)
        return demo.demonstrate(plan, axes, seed, measure, tell.bar, tell.say).drawn()


class Screen:
    """Shows what an analysis tells: sentences, and bars one after the other; keeps its report."""

    def __init__(self) -> None:
        """Show nothing yet."""
        self.kept: Report | None = None
        self._shown = ExitStack()
        self.move: Any = None

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(self, *failure: object) -> None:
        """Leave no bar behind."""
        self.end()

    def heard(self, told: tuple[str, tuple[Any, ...]]) -> bool:
        """Show what is told; returns whether there are readings that an interrupt is to leave."""
        name, given = told
        getattr(self, name)(*given)
        return self.kept is not None and any(row["status"] == "ok" for row in self.kept.rows)

    def begin(self, kind: str, *given: Any) -> None:
        """Show a bar, which `move` moves."""
        shown = timing_bar() if kind == "time" else counting_bar(*given)
        self.move = self._shown.enter_context(shown)

    def end(self) -> None:
        """Show no bar any more."""
        self._shown.close()

    def say(self, text: str) -> None:
        """Say it to the person."""
        faults.say(text)

    def free(self, device: str) -> None:
        """Return when nobody else measures on a device."""
        from gcbench.engines.alone import alone_on

        with alone_on(device, True, faults.say):
            pass

    def keep(self, report: "Report") -> None:
        """Keep what there is, and a picture that was drawn before."""
        picture = report.picture or (self.kept.picture if self.kept else None)
        self.kept = replace(report, picture=picture)


def _leave(
    report: "Report", shown: Entry, csv: Path | None, output: Path | None, **detail: Detail
) -> None:
    """Write the pictures and the CSV, and print the result whatever becomes of those."""
    for words in report.shared:
        faults.say(f"not measured: {words}")
    try:
        if csv:
            write_whole(csv, ATTENTION_FORMATS["csv"].load()(report.rows, report.manifest))
        if output:
            _draw(report, output)
    finally:
        if not (is_stdout(csv) or is_stdout(output)):
            with beside_files(csv):
                print_lines(shown.load()(report.rows, report.manifest, **detail))


def _draw(report: "Report", output: Path) -> None:
    for words in report.untold:
        faults.say(f"not drawn: {words}")
    if report.picture:
        write_and_say(output, report.picture)
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
