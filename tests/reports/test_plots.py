"""Charts: what they show is what the rows hold, and every word can be read."""

import itertools
import json
import math
import re
from dataclasses import replace

import pytest
from pictures import (
    CHANNELS,
    DTYPES,
    FEW,
    GRID,
    NAMES,
    ONE,
    PEAKS,
    RATIOS,
    SIZES,
    STAGES,
    THREADS,
    TWELVE,
    costed,
    drawn,
    drawn_rows,
    frame,
    growing,
    layers,
    run_of,
    svg,
    values,
    words,
)
from runs import DATA, GC, NL, SE, SNL, comparison, manifest

from gcbench import store
from gcbench.blocks import BLOCKS
from gcbench.errors import UsageError
from gcbench.registry import Entry
from gcbench.report.charts import CHARTS, roofline, roofs, theme
from gcbench.report.charts.drawing import Drawn, draw, drawn_of, fitting
from gcbench.report.charts.quantities import LATENCY, MEMORY, RELATIVE, Quantity
from gcbench.report.charts.saving import picture
from gcbench.report.charts.theme import styles_of
from gcbench.report.charts.values import chart_of
from gcbench.report.charts.varying import along
from gcbench.report.charts.words import subtitle
from gcbench.report.provenance import baselines, floor_text
from gcbench.results import tables
from gcbench.spec.cases import Block


@pytest.mark.parametrize("entry", CHARTS, ids=lambda entry: entry.name)
def test_every_chart_of_the_table_draws_and_names_every_block(entry: Entry):
    run = costed(RATIOS if entry.name == "ratio" else growing())
    text = svg(run, entry.name)
    shown = " ".join(word.text for word in words(text))
    names = ("gc", "se") if entry.name == "ratio" else ("gc r16", "se r16", "nl")
    assert all(name in shown for name in names)
    assert "1x256x" in shown
    assert "cpu: AMD EPYC" in shown
    assert f"torch {manifest().versions['torch']}" in shown
    assert manifest().started[:10] in shown


@pytest.mark.parametrize(
    ("run", "name", "axis"),
    [
        (growing(), "latency", "size"),
        (CHANNELS, "latency", "channels"),
        (STAGES, "latency", "channels x size"),
        (GRID, "latency", "size"),
        (THREADS, "latency", "threads"),
        (RATIOS, "ratio", "size"),
        (ONE, "latency", None),
        (DTYPES, "latency", None),
    ],
)
def test_what_varies_decides_what_is_drawn(run, name, axis):
    rows = list(tables.rows(run))
    assert fitting(rows) == name
    found = along(rows)
    assert (found and found.name) == axis


def test_what_nothing_was_timed_of_is_drawn_by_its_counts():
    rows = [{**row, "latency_us": None} for row in tables.rows(costed(growing()))]
    assert fitting(rows) == "macs"
    assert fitting([{**row, "macs": None} for row in rows]) == "memory"


@pytest.mark.parametrize("quantity", [LATENCY, RELATIVE, MEMORY], ids=lambda q: q.column)
def test_points_and_intervals_are_those_of_the_rows(quantity):
    run, column = costed(growing()), quantity.column
    rows = [
        {**row, f"{column}_lo": 0.9 * row[column], f"{column}_hi": 1.2 * row[column]}
        for row in tables.rows(run)
    ]
    name = {"latency_us": "latency", "peak_memory_bytes": "memory"}.get(column, "relative")
    points = {
        (each["x"], each["y"], each["lo"], each["hi"])
        for layer in layers(drawn_rows(name, rows, run))
        if layer["mark"]["type"] == "point"
        for each in layer["values"]
    }
    assert points == {
        (row["height"] * row["width"], row[column], row[f"{column}_lo"], row[f"{column}_hi"])
        for row in rows
    }


def test_a_failure_is_a_cross_a_word_and_a_reason_and_its_line_is_broken():
    blocks, middle = (GC, SE, NL), 14
    run = run_of(
        *(
            comparison(
                *blocks, size=(s, s), statuses=("ok", "oom", "ok") if s == middle else (), factor=s
            )
            for s in SIZES
        )
    )
    found = layers(drawn(run))
    crosses = [
        each
        for layer in found
        if layer["mark"].get("shape", "")[:1] == "M"
        for each in layer["values"]
    ]
    assert [each["x"] for each in crosses] == [middle * middle]
    lines = next(layer["values"] for layer in found if layer["mark"]["type"] == "line")
    parts = {each["part"] for each in lines if each["s"] == "1"}
    assert len(parts) == 2
    assert len({each["part"] for each in lines if each["s"] == "2"}) == 1
    shown = [word.text for word in words(svg(run))]
    assert "se r16: oom" in shown
    assert "se r16 oom: it was oom" in shown


def test_where_one_shape_failed_the_word_stands_in_place_of_the_dot():
    shown = [word.text for word in words(svg(FEW))]
    assert {"timeout", "oom"} <= set(shown)
    assert "se r16 timeout: it was timeout" in shown


def test_a_word_in_place_of_a_dot_does_not_stand_on_the_line_of_the_baseline():
    run = run_of(comparison(GC, SE, SNL, NL, statuses=("ok", "ok", "oom", "timeout")))
    found = words(svg(run, "relative"))
    tick = next(word.box for word in found if word.text == "1")
    one = (tick.left + tick.right) / 2
    for box in (word.box for word in found if word.text in ("oom", "timeout")):
        assert box.left > one + 2 or box.right < one - 2


def test_what_has_no_baseline_is_drawn_and_said():
    run = run_of(*(comparison(GC, SE, size=(s, s), statuses=("oom", "ok")) for s in SIZES))
    assert "gc r16: oom" in [word.text for word in words(svg(run))]
    with pytest.raises(
        UsageError, match=r"nothing is known of the relative latency of 8 cases .*oom"
    ):
        drawn(run, "relative")


@pytest.mark.parametrize(
    ("name", "cells", "word", "reason"),
    [
        ("latency", {"latency_us": None, "reason": "no form"}, "not timed", None),
        ("latency", {"latency_us": None, "flags": "baseline_failed"}, "not timed", None),
        ("relative", {"relative": None, "flags": "baseline_failed"}, "no baseline", None),
        ("relative", {"relative": None, "latency_us": None}, "not timed", None),
        ("memory", {"peak_memory_bytes": None, "flags": "baseline_failed"}, "not measured", None),
        ("macs", {"macs": None, "reason": "no closed form"}, "not counted", "no closed form"),
        ("macs", {"macs": 0}, "zero", None),
    ],
)
def test_what_has_no_value_says_the_reason_that_is_true_of_it(name, cells, word, reason):
    run = costed(growing())
    rows = [{**row, **(cells if row["block"] == "se" else {})} for row in tables.rows(run)]
    shown = [each.text for each in words(picture(drawn_rows(name, rows, run), ".svg").decode())]
    assert f"se r16: {word}" in shown
    assert f"se r16 {word} (4 cases){f': {reason}' if reason else ''}" in shown


def test_what_did_not_run_is_drawn_by_what_was_counted_of_it():
    run = costed(FEW)
    rows = [
        {**row, "memory_source": "measured" if row["status"] == "ok" else "predicted"}
        for row in tables.rows(run)
    ]
    hollow = [
        each["tip"]["block"]
        for layer in layers(drawn_rows("memory", rows, run))
        if layer["mark"].get("fill") == "white"
        for each in layer["values"]
    ]
    assert hollow == ["se r16", "nl"]
    assert "hollow: predicted, since the case did not run" in str(drawn_rows("memory", rows, run))
    assert "a call allocates (measured, predicted)" in str(drawn_rows("memory", rows, run))
    assert "timeout" not in str(drawn_rows("macs", rows, run))


def test_where_nothing_is_known_of_anything_the_reason_is_said():
    rows = [{**row, "macs": None, "reason": "it has no closed form"} for row in tables.rows(ONE)]
    with pytest.raises(UsageError, match=r"3 cases \(not counted: it has no closed form\), so"):
        drawn_rows("macs", rows, ONE)
    with pytest.raises(UsageError, match=r"3 cases \(not timed\), so"):
        drawn_rows("latency", [{**row, "latency_us": None} for row in rows], ONE)


PARAMETERS = Quantity("params", lambda row: None, "not counted", of_time=False)


@pytest.mark.parametrize(
    ("run", "title"), [(growing(), "Parameters against size"), (ONE, "Parameters")]
)
def test_a_new_chart_is_a_quantity_and_a_title(run, title):
    rows = [{**row, "params": 7} for row in tables.rows(run)]
    spec = chart_of(
        Drawn(rows, run, styles_of(rows)), PARAMETERS, "Parameters", "of weights"
    ).to_dict()
    assert spec["title"]["text"] == [title]
    marks = [each for each in values(spec) if each.get("y") == 7 or each.get("x") == 7]
    assert {each["tip"]["block"] for each in marks if "tip" in each} == {"gc r16", "se r16", "nl"}
    assert "of weights" in str(spec)
    assert "95 % intervals" not in str(spec)


@pytest.mark.parametrize("run", [growing(), ONE])
def test_a_caption_tells_of_intervals_and_copies_where_there_are_any(run):
    rows = [{**row, "aa_lo": 0.9, "aa_hi": 1.1} for row in tables.rows(run)]
    told = str(drawn_rows("relative", rows, run))
    assert "95 % intervals, paired within replicates" in told
    assert "grey: A/A" in told
    none = dict.fromkeys(("relative_lo", "relative_hi", "aa_lo", "aa_hi"))
    told = str(drawn_rows("relative", [{**row, **none} for row in rows], run))
    assert "95 % intervals" not in told
    assert "grey" not in told


@pytest.mark.parametrize(
    ("quantity", "cells", "doubt"),
    [
        (RELATIVE, {"verdict": "unresolved"}, "unresolved"),
        (RELATIVE, {"verdict": "untrusted"}, "untrusted"),
        (RELATIVE, {"verdict": "same", "flags": "pressure"}, "busy"),
        (LATENCY, {"flags": "drift pressure"}, "busy"),
        (LATENCY, {"flags": "copies_differ"}, "untrusted"),
        (LATENCY, {"verdict": "unresolved", "flags": "drift"}, None),
        (MEMORY, {"memory_source": "predicted"}, "predicted"),
        (MEMORY, {"memory_source": "measured"}, None),
    ],
)
def test_what_is_in_doubt_depends_on_what_is_shown(quantity, cells, doubt):
    row = {**next(tables.rows(ONE)), **cells}
    assert quantity.doubt(row) == doubt


def test_marks_in_doubt_are_hollow_and_explained():
    rows = [
        {**row, "verdict": {"se": "unresolved", "nl": "untrusted"}.get(row["block"], "baseline")}
        for row in tables.rows(growing())
    ]
    spec = drawn_rows("relative", rows, growing())
    hollow = {
        each["s"]
        for layer in layers(spec)
        if layer["mark"].get("fill") == "white"
        for each in layer["values"]
    }
    assert hollow == {"1", "2"}
    told = str(spec)
    assert "hollow: unresolved" in told
    assert "hollow with !: untrusted" in told


def test_the_band_of_the_baseline_is_its_own_copy():
    run = growing()
    rows = [
        {**row, "aa_lo": 0.9 + row["height"] / 1000, "aa_hi": 1.1 + row["height"] / 1000}
        for row in tables.rows(run)
    ]
    bands = [
        each
        for layer in layers(drawn_rows("relative", rows, run))
        for each in layer["values"]
        if layer["mark"]["type"] == "area" and "s" not in each
    ]
    known = [row for row in rows if row["verdict"] == "baseline"]
    assert [(each["x"], each["lo"], each["hi"]) for each in bands] == [
        (row["height"] ** 2, row["aa_lo"], row["aa_hi"]) for row in known
    ]


def test_panels_of_ratios_span_one_factor_and_hold_one_block_at_one_shape():
    spec = drawn(RATIOS)
    panels = spec["vconcat"][0]["vconcat"][0]["concat"]
    assert [panel["title"]["text"] for panel in panels] == [
        *("gc · 14x14", "gc · 28x28", "se · 14x14", "se · 28x28"),
    ]
    spans = []
    for panel in panels:
        domain = next(
            layer["encoding"]["y"]["scale"]["domain"]
            for layer in panel["layer"]
            if layer["mark"]["type"] == "line"
        )
        spans.append(domain[1] / domain[0])
    assert spans == pytest.approx([spans[0]] * 4)
    assert "nl has no ratio: relative latency 5" in str(spec)


def colours(spec):
    """The colours in which each block is drawn, by its name without ratios."""
    found = {}
    for layer in layers(spec):
        for part in ("color", "stroke"):
            scale = layer["encoding"].get(part, {}).get("scale")
            known = dict(zip(scale["domain"], scale["range"], strict=True)) if scale else {}
            for each in layer["values"] if known else ():
                if "tip" in each:
                    name = re.sub(r" r\d+$", "", each["tip"]["block"])
                    found.setdefault(name, set()).add(known[each["s"]])
    return found


SIX = run_of(
    *(
        comparison(
            *(Block(b, b, r, False) for b in ("gc", "se") for r in (4, 8)),
            *(SNL, NL),
            size=(s, s),
            factor=s,
        )
        for s in SIZES
    )
)


WANTED = {"gc": "#000000", "se": "#0072B2", "snl": "#D55E00", "nl": "#009E73"}


@pytest.mark.parametrize("name", [entry.name for entry in CHARTS])
@pytest.mark.parametrize(
    ("keep", "blocks"),
    [
        (lambda row: True, {"gc", "se", "snl", "nl"}),
        (lambda row: row["block"] != "gc", {"se", "snl", "nl"}),
        (lambda row: row["block"] != "snl" and row["height"] == 7, {"gc", "se", "nl"}),
    ],
)
def test_a_block_has_one_colour_in_every_chart_of_its_run(name, keep, blocks):
    having = {"gc", "se"} if name == "ratio" else blocks
    found = colours(draw(name, drawn_of(costed(SIX), keep)))
    assert found == {block: {WANTED[block]} for block in blocks & having}


def test_ratios_of_a_block_differ_in_dash_and_mark_and_all_lines_do_in_grey():
    styles = drawn_of(SIX).styles
    lines = [styles[name] for name in ("gc r4", "gc r8", "se r4", "se r8", "snl", "nl")]
    assert styles["gc"] == styles["gc r4"]
    assert styles["se"] == styles["se r4"]
    assert styles["gc r4"].colour == styles["gc r8"].colour != styles["se r4"].colour
    assert len({(each.dash, each.shape) for each in lines}) == 6
    assert len({(theme.style(0, n).dash, theme.style(0, n).shape) for n in range(30)}) == 30


def test_blocks_keep_their_styles_in_every_panel():
    text = svg(RATIOS)
    for number in (0, 1):
        assert f'stroke="{theme.style(number, number).colour}"' in text


def test_the_title_of_a_relative_says_what_it_is_divided_by():
    rows = list(tables.rows(growing()))
    assert baselines(rows) == "gc r16"
    # also where the condition of a person left the baseline out
    assert baselines([row for row in rows if row["block"] != "gc"]) == "gc r16"
    paired = [
        {**row, "pair": "mode", "mode": mode, "verdict": verdict}
        for row in rows
        for mode, verdict in (("infer", "baseline"), ("train", "slower"))
    ]
    assert baselines(paired) == "itself at mode infer"


def test_a_ratio_chart_needs_ratios():
    with pytest.raises(UsageError, match="no block of this run was measured at two ratios"):
        drawn(growing(), "ratio")


def test_a_roofline_has_flop_a_byte_and_a_second_below_the_measured_roofs():
    run = costed(ONE)
    rows = list(tables.rows(run))
    # a million MACs are two million FLOP over a million bytes, in 100 microseconds
    assert roofline.place(rows[0]) == pytest.approx((2.0, 2e10), rel=1e-3)
    assert [(roof.words, roof.rate, roof.slope) for roof in roofs.roofs(PEAKS, "float32")] == [
        ("matrix products 100 GFLOP/s", 1e11, False),
        ("1x1 convolutions 200 GFLOP/s", 2e11, False),
        ("memory 10 GB/s", 1e10, True),
        ("cache 100 GB/s", 1e11, True),
    ]
    rules = [each for each in values(drawn(run, "roofline")) if "x2" in each and "s" not in each]
    for each in rules:
        # slopes keep their bytes a second, roofs their rate
        kept = each["y"] / each["x"], each["y2"] / each["x2"]
        assert each["y"] == each["y2"] or kept[0] == pytest.approx(kept[1])
    assert {round(each["y"]) for each in rules if each["y"] == each["y2"]} == {10**11, 2 * 10**11}


def test_a_roofline_says_what_its_bytes_are_of_each_runtime():
    passed, least = "what the operators of a call read and write", "must move at least"
    told = {
        runtimes: str(
            drawn(
                costed(run_of(*(comparison(runtime=runtime) for runtime in runtimes))), "roofline"
            )
        )
        for runtimes in (("eager",), ("compile",), ("eager", "compile"))
    }
    assert {key: (passed in text, least in text) for key, text in told.items()} == {
        ("eager",): (True, False),
        ("compile",): (False, True),
        ("eager", "compile"): (True, True),
    }


def test_a_roofline_says_by_what_its_panels_join_cases_and_by_what_not():
    def told(*axes):
        return str(
            drawn(costed(run_of(*(comparison(factor=2, **each) for each in axes))), "roofline")
        )

    sizes = [{"size": (side, side)} for side in (7, 14)]
    # of the panels of two dtypes one has a size alone
    dtypes = [*sizes, {"size": (7, 7), "dtype": "bfloat16"}]
    assert "join the cases of a block by size;" in told(*dtypes)
    # three channels in all, and no two in one panel
    types = ("float32", "bfloat16", "float16")
    apart = [
        {**size, "channels": c, "dtype": dtype}
        for size in sizes
        for c, dtype in zip((64, 128, 256), types, strict=True)
    ]
    assert "join the cases of a block by size;" in told(*apart)
    assert "that no line joins" not in told(*apart)
    runtimes = [{**size, "runtime": runtime} for size in sizes for runtime in ("eager", "compile")]
    assert "cases of a block that no line joins differ in runtime" in told(*runtimes)


@pytest.mark.parametrize("name", ["latency", "relative", "memory", "macs", "roofline"])
@pytest.mark.parametrize("run", [growing(), ONE, growing(TWELVE), GRID])
def test_no_picture_is_empty_at_its_right(run, name):
    text = svg(costed(run), name)
    # the padding, and what letters of another font may take
    assert frame(text).right - max(word.box.right for word in words(text)) < 40


def test_where_no_ceilings_are_known_that_is_said():
    with pytest.raises(UsageError, match="no case of this run has ceilings"):
        drawn(growing(), "roofline")


def assert_readable(text):
    """No word meets another, and none leaves the picture."""
    found, edge = words(text), frame(text)
    outside = [word for word in found if not word.box.within(edge)]
    assert not outside
    met = [pair for pair in itertools.combinations(found, 2) if pair[0].box.overlaps(pair[1].box)]
    assert not met


@pytest.mark.parametrize(
    "name",
    [
        "latency",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("relative", "memory", "roofline")),
    ],
)
def test_twelve_blocks_are_named_at_their_lines_without_overlap(name):
    statuses = ("ok", "ok", "crashed", "oom", *["ok"] * 6, "timeout", "ok")
    text = svg(costed(growing(TWELVE, statuses=statuses)), name)
    assert_readable(text)
    shown = " ".join(word.text for word in words(text))
    assert all(entry.split(":")[0][:10] in shown for entry in NAMES)


FAMILY = tuple(Block(entry.name, entry.name, None, False) for entry in BLOCKS)


@pytest.mark.parametrize(
    "name",
    [
        "latency",
        *(
            pytest.param(n, marks=pytest.mark.slow)
            for n in ("relative", "macs", "memory", "roofline")
        ),
    ],
)
def test_the_family_of_twenty_is_drawn_without_overlap(name):
    for run in (growing(FAMILY), run_of(comparison(*FAMILY))):
        text = svg(costed(run), name)
        assert_readable(text)
        shown = {word.text for word in words(text)}
        assert {entry.name for entry in BLOCKS} <= shown


@pytest.mark.slow
@pytest.mark.parametrize(
    "run", [ONE, FEW, GRID, CHANNELS, STAGES, RATIOS, run_of(comparison(*TWELVE))]
)
def test_every_kind_of_chart_is_readable(run):
    assert_readable(svg(run))


def test_lines_that_end_together_are_named_apart():
    blocks = [Block(name, name, None, False) for name in NAMES]
    run = run_of(*(comparison(*blocks, size=(s, s), factor=s) for s in SIZES))
    # the same MACs in all
    text = svg(run, "macs")
    assert_readable(text)


@pytest.mark.slow
@pytest.mark.parametrize("schema", [1, 2, 3])
def test_runs_of_old_schemas_are_drawn(schema):
    assert_readable(svg(store.load(DATA / f"run-schema{schema}.jsonl")))


def test_too_many_panels_or_lines_are_refused_with_a_condition_that_helps():
    grid = run_of(
        *(comparison(channels=c, size=(7, s)) for c in range(1, 15) for s in range(1, 20))
    )
    with pytest.raises(UsageError, match=r"14 panels, more than the 12 .*--where 'channels == 8'"):
        drawn(grid)
    many = [Block(f"b{n}", f"b{n}", None, False) for n in range(30)]
    with pytest.raises(UsageError, match=r"30 lines, more than the 24 .*--where \"spec == 'b"):
        drawn(growing(many))
    with pytest.raises(UsageError, match="60 lines, more than the 48"):
        drawn(run_of(comparison(*many, dtype="float32"), comparison(*many, dtype="float64")))


@pytest.mark.slow
def test_thousands_of_points_are_drawn_without_a_row_lost():
    run = run_of(comparison(*TWELVE))
    twelve = list(tables.rows(run))
    rows = [{**row, "height": side, "width": side} for side in range(7, 507) for row in twelve]
    points = [
        each
        for layer in layers(drawn_rows("macs", rows, run))
        if layer["mark"]["type"] == "point"
        for each in layer["values"]
    ]
    assert len(points) == 6000


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes():
    assert svg(growing()) == svg(growing())


def test_labels_at_a_line_stand_where_the_line_ends():
    text = svg(run_of(*(comparison(GC, NL, size=(s, s), factor=s) for s in SIZES)))
    at = {word.text: (word.box.top + word.box.bottom) / 2 for word in words(text)}
    # the second takes twice as long: as far above as the axis says that a factor of two is
    unit = (at["10 ms"] - at["1 ms"]) / math.log(10)
    assert at["nl"] - at["gc r16"] == pytest.approx(unit * math.log(2), abs=1)


def test_no_word_of_the_run_is_taken_for_an_expression():
    block = Block("datum['x']", "datum['x']", None, False)
    text = json.dumps(drawn(growing((GC, block))))
    expressions = re.findall(r'"labelExpr": "((?:[^"\\]|\\.)*)"', text)
    assert expressions
    assert not [each for each in expressions if "datum['x']" in each]


def test_a_chart_of_times_says_the_same_of_copies_as_a_table_and_one_of_counts_nothing():
    # each of two comparisons has its own A/A interval: both ends are of one of them
    first, second = (comparison(GC, SE, size=(size, size)) for size in (7, 14))
    run = costed(run_of(shifted(first, 0.9), shifted(second, 1.05)))
    rows = list(tables.rows(run))
    told = floor_text(rows)
    assert told.endswith("0.9 to 0.9, the worst of 2")
    assert told in subtitle(rows)
    shown = {chart: [word.text for word in words(svg(run, chart))] for chart in LINES}
    assert [chart for chart in LINES if told in shown[chart]] == ["relative"]


def test_counts_of_any_size_are_drawn():
    # one call of nl on 10,000,000 x 10,000,000 has 2.56e30 MACs
    run = run_of(*(counted(comparison(GC, NL, size=(s, s)), s**4) for s in (10**5, 10**7)))
    shown = [word.text for word in words(svg(run, "macs"))]
    assert any(text.endswith(" Y") for text in shown)


def counted(record, macs):
    """The same comparison with so many MACs in each case."""
    cells = [replace(each, metrics={"macs": macs}) for each in record.measurements]
    return replace(record, measurements=tuple(cells))


LINES = ("relative", "macs")


def shifted(record, factor):
    """The same comparison with an A/A arm that takes that much of the baseline."""
    timing = record.timings[0]
    twin = next(number for number, arm in enumerate(timing.arms) if arm.role == "aa")
    replicates = tuple(
        replace(
            each,
            samples_ns=tuple(
                tuple(round(sample * factor) for sample in samples) if number == twin else samples
                for number, samples in enumerate(each.samples_ns)
            ),
        )
        for each in timing.replicates
    )
    return replace(record, timings=(replace(timing, replicates=replicates),))
