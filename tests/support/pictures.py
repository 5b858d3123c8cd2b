"""Runs to draw, and pictures taken apart again: which words stand where."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple
from xml.etree import ElementTree

from runs import GC, NL, SE, comparison, manifest

from gcbench.records import Peaks, Run
from gcbench.report.charts.drawing import Drawn, draw, drawn_of, fitting
from gcbench.report.charts.labels import Box, text_width
from gcbench.report.charts.saving import picture
from gcbench.report.charts.theme import styles_of
from gcbench.spec.cases import Block

NAMES = (
    *("gc", "se", "snl", "nl", "timm/cbam", "timm/coord", "mmcv/ContextBlock", "mmcv/NonLocal2d"),
    *("my.module:MyBlockOfAVeryLongName", "a.b:Eca", "torchvision/SqueezeExcitation", "timm/ge"),
)
TWELVE = tuple(Block(name, name, None, number % 3 == 0) for number, name in enumerate(NAMES))
SIZES = (7, 14, 28, 56)


def run_of(*comparisons):
    """A run in memory."""
    return Run(manifest(), comparisons)


PEAKS = Peaks(
    "made",
    "cpu",
    "made up",
    2,
    {"float32": 1e11},
    {"float32": 2e11},
    {},
    ((2**18, 1e11), (2**28, 1e10)),
    1.0,
)
CHANNELS = run_of(*(comparison(GC, SE, channels=c, factor=c) for c in (64, 128, 256)))
STAGES = run_of(*(comparison(channels=c, size=(s, s)) for c, s in ((256, 56), (512, 28), (64, 7))))
GRID = run_of(*(comparison(channels=c, size=(s, s)) for c in (64, 256) for s in SIZES))
RATIOS = run_of(
    *(
        comparison(*(Block(b, b, r, False) for b in ("gc", "se") for r in (4, 8)), NL, size=(s, s))
        for s in (14, 28)
    )
)
ONE = run_of(comparison(GC, SE, NL))
FEW = run_of(comparison(GC, SE, NL, statuses=("ok", "timeout", "oom")))
THREADS = run_of(*(comparison(threads=number) for number in (1, 2, 4)))
DTYPES = run_of(*(comparison(dtype=dtype) for dtype in ("float32", "bfloat16")))


def costed(run):
    """The same run with what a roofline and memory need."""
    return replace(
        run,
        comparisons=tuple(
            replace(
                record,
                peaks=(PEAKS,),
                measurements=tuple(
                    replace(
                        each,
                        metrics={
                            **each.metrics,
                            "call_macs": 10**6 * (1 + number),
                            "call_conv_macs": 0,
                            "traffic_bytes": 10**6,
                            "min_bytes": 10**6,
                            "peak_memory_bytes": 2**20 * (1 + number),
                            "memory_source": "measured",
                        },
                    )
                    for number, each in enumerate(record.measurements)
                ),
            )
            for record in run.comparisons
        ),
    )


def growing(blocks=(GC, SE, NL), sizes=SIZES, statuses=None, **axes):
    """A run over sizes; `statuses` are those of each block at the last size."""
    return run_of(
        *(
            comparison(
                *blocks,
                size=(size, size),
                factor=size * size / 49,
                statuses=statuses if statuses and size == sizes[-1] else (),
                **axes,
            )
            for size in sizes
        )
    )


def drawn(run, chart=None):
    """The specification of a chart of a run."""
    all_of_it = drawn_of(run)
    return draw(chart or fitting(all_of_it.rows), all_of_it)


def drawn_rows(chart, rows, run):
    """The specification of a chart of rows that stand in for those of a run."""
    return draw(chart, Drawn(rows, run, styles_of(rows)))


def svg(run, chart=None):
    """A chart of a run as text."""
    return picture(drawn(run, chart), ".svg").decode()


class Word(NamedTuple):
    """A text in a picture, and about where it stands."""

    text: str
    box: Box


def words(text: str) -> list[Word]:
    """Every text of a picture that is not turned, with its box; the parser wants sound XML."""
    return list(_words(ElementTree.fromstring(text), 0.0, 0.0))


def _words(node, x: float, y: float) -> Iterator[Word]:
    turned = "rotate" in (node.get("transform") or "")
    for dx, dy in re.findall(r"translate\(([-\d.e]+),\s*([-\d.e]+)\)", node.get("transform") or ""):
        x, y = x + float(dx), y + float(dy)
    if node.tag.endswith("text") and not turned:
        yield from _text(node, x, y)
    for child in node:
        yield from _words(child, x, y)


def _text(node, x: float, y: float) -> Iterator[Word]:
    size = float(node.get("font-size").removesuffix("px"))
    spans = [span for span in node if span.tag.endswith("tspan")] or [node]
    for number, span in enumerate(spans):
        if not span.text:
            continue
        width = text_width(span.text, size)
        part = {"end": 1.0, "middle": 0.5}.get(node.get("text-anchor"), 0.0)
        base = y + number * float(span.get("dy") or 0) * (span is not node)
        # capitals are about 0.72 em high
        yield Word(
            span.text,
            Box(x - part * width, base - 0.72 * size, x + (1 - part) * width, base + 0.05 * size),
        )


def frame(text: str) -> Box:
    """The picture itself."""
    root = ElementTree.fromstring(text)
    return Box(0, 0, float(root.get("width")), float(root.get("height")))


def values(spec) -> list[dict]:
    """Every record that a specification draws."""
    return [record for records in spec["datasets"].values() for record in records]


def layers(spec) -> list[dict]:
    """Every layer of every panel, with its records under `values`."""
    found = []
    for child in (*spec.get("vconcat", ()), *spec.get("concat", ())):
        child = {**child, "datasets": spec["datasets"]}
        found += layers(child) if "layer" not in child else _panel(child)
    return found


def _panel(panel) -> list[dict]:
    return [
        {**layer, "values": panel["datasets"][(layer.get("data") or panel["data"])["name"]]}
        for layer in panel["layer"]
    ]


HOSTILE = (
    *("<script>alert(1)</script>", "</svg>&amp;<b>", "a\"b'c`", "line\nbreak", "\u202eevil\x00"),
    *("datum['x']", "a.b[0].c", "${1+1}", "\u05e9\u05dc\u05d5\u05dd", "x" * 400, "=1+2"),
)
