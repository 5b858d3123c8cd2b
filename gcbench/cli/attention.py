"""`gcbench attention`: how much a model's attention depends on the query."""

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

import typer

from gcbench.attention import images as pictures
from gcbench.attention.request import Chooser, Request, Teller, analysed, parse
from gcbench.cli import faults, options, plans
from gcbench.cli import network_options as inside
from gcbench.cli.output import leave, require_apart, require_writable, rows_of, write_and_say
from gcbench.cli.progress import counting_bar, timing_bar
from gcbench.cli.taking import takes
from gcbench.errors import StoppedError, UsageError
from gcbench.options import EFFORT, PICTURES, Option
from gcbench.options.defaults import Said
from gcbench.options.readers import one, whether
from gcbench.options.table import format_of
from gcbench.report import GENERAL, Format
from gcbench.report.detail import Detail
from gcbench.spec import cases
from gcbench.units import counted

if TYPE_CHECKING:
    from gcbench.attention.request import Report
    from gcbench.attention.rows import AttentionRow

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
    read=one(cases.parse_size),
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
        reports = [
            _demonstrated(queries, axes, plan.seed, not no_latency, not no_wait) for axes in places
        ]
    else:
        net = _read_model(model, insert)
        state = inside.read_weights(weights)
        asked = Request(
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
        foreign = inside.is_foreign(net, [(each, "after_1x1") for each in insert or ()], None)
        reports = []
        for axes in places:
            here = replace(asked, axes=axes)
            reports.append(_analysed(here, foreign, plan.timeout_s, not no_latency, not no_wait))
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


def _require_inputs_kept(asked: Request, written: dict[str, Path | None]) -> None:
    """Raise UsageError where a result would be written over what is read."""
    inputs = [("--weights", asked.weights), *(("--images", each.path) for each in asked.photos)]
    for name, path in inputs:
        require_apart({name: path, **written})


def _analysed(asked: Request, foreign: bool, limit_s: float, timed: bool, wait: bool) -> "Report":
    through = f"{counted(len(asked.photos), 'picture')} through {asked.model}"
    faults.info(f"sending {through}; loading torch")

    from gcbench import engines
    from gcbench.engines.worker_process import CallError

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


def _demonstrated(queries: str, axes: cases.Axes, seed: int, timed: bool, wait: bool) -> "Report":
    faults.info("training on scikit-learn's digits; loading torch")

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
        faults.info(text)

    def free(self, device: str) -> None:
        """Return when nobody else measures on a device."""
        from gcbench.engines.device_lock import alone_on

        with alone_on(device, True, faults.info):
            pass

    def keep(self, report: "Report") -> None:
        """Keep what there is, and a picture that was drawn before."""
        picture = report.picture or (self.kept.picture if self.kept else None)
        self.kept = replace(report, picture=picture)


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
    from gcbench.report.attention import document
    from gcbench.report.document import joined

    for words in dict.fromkeys(words for report in reports for words in report.shared):
        faults.info(f"not measured: {words}")
    # rows say on which device they were priced, at how many threads
    told = joined([({}, document(each.rows, COLUMNS, each.manifest)) for each in reports])
    files = [(csv, rows_of(told)), (output, lambda path: _draw(reports[0], path))]
    leave(told, shown, write, files, detail=detail)


def _draw(report: "Report", output: Path) -> None:
    for words in report.untold:
        faults.info(f"not drawn: {words}")
    if report.picture:
        write_and_say(output, report.picture)
    else:
        faults.info(f"--output {output}: there are no maps to draw")


def _end(reports: "Sequence[Report]", *, timed: bool) -> NoReturn:
    """End as it went: with what may spoil the latencies, and an exit code."""
    if timed:
        faults.warn(reports[0].manifest.warnings)
    if any(report.stopped for report in reports):
        raise StoppedError("interrupted: readings are kept; what was not yet timed has no latency")
    raise typer.Exit(_code([row for report in reports for row in report.rows]))


def _code(rows: "Sequence[AttentionRow]") -> int:
    """Say by an exit code what became of the blocks: what cannot be priced counts as failed."""
    counts = Counter(row["status"] for row in rows)
    unpriced = any(row["price_reason"] for row in rows)
    return faults.code_of_statuses(counts) or (faults.SOME_FAILED if unpriced else 0)
