"""Every kind of document in every format: harmless, whatever a name holds, and whole."""

import csv
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from itertools import islice

import pytest
from hostile import HOSTILE
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import PEAKS
from runs import GC, NL, SE, comparison, manifest
from written import document_of

from gcbench import anatomy, paper, report
from gcbench.analysis.compare import match_runs
from gcbench.analysis.sections import Watch
from gcbench.attention import rows as of_attention
from gcbench.records import Rate, Run
from gcbench.report import anatomy as of_module
from gcbench.report import attention, cases, family, machine, peaks
from gcbench.report import calibration as of_trials
from gcbench.report import comparison as of_runs
from gcbench.report import paper as of_paper
from gcbench.report.detail import Detail
from gcbench.report.document import Document, Layout, Lines
from gcbench.report.order import ordered, parse_sort
from gcbench.report.pivot import pivot
from gcbench.results import tables
from gcbench.stats import calibration
from gcbench.stats.intervals import Interval

# the last is in the name of a file that is no text
TEXTS = st.sampled_from((*HOSTILE, "\udcff")) | st.text(min_size=1, max_size=12).filter(str.strip)


def run_of(text):
    """Two comparisons whose block, node and reasons are a text."""
    made = []
    for size in (7, 14):
        block = replace(SE, name=text, spec=text)
        record = comparison(GC, block, NL, size=(size, size), statuses=("ok", "ok", "error"))
        reasons = [replace(each, reason=text) for each in record.measurements]
        made.append(replace(record, measurements=tuple(reasons)))
    return Run(manifest(node=text, cpu=text, devices={"cpu": text}), tuple(made))


def of_cases(text):
    run = run_of(text)
    watch = Watch(run)
    drawn = cases.samples(lambda: tables.placed(run), run)
    rows = lambda: watch.over(tables.placed(run))  # noqa: E731
    return cases.cases(rows, run.manifest, watch, drawn)


def of_sorted(text):
    run = run_of(text)
    return document_of(ordered(tables.rows(run), parse_sort("--sort", "-height")), run.manifest)


def of_pivot(text):
    run = run_of(text)
    return document_of(pivot(tables.rows(run), ["block"], "size"), run.manifest)


def of_two_runs(text):
    return of_runs.document(match_runs(run_of(text), run_of(text)))


def of_attention_rows(text):
    names = ("network", "weights", "state", "block", "kind", "detail", "reason", "price_reason")
    cells = {**dict.fromkeys(names, text), "images": 1, "device": text, "device_name": text}
    found = [of_attention.row({**cells, "threads": 1, "status": "ok", "query_share": 0.1})] * 2
    return attention.document(found, of_attention.COLUMNS, manifest())


def of_parts(text):
    part = anatomy.Part("", text, 1, 10, 20, 30, (1, 2), (text,))
    child = replace(part, path=f"a.{text.replace('.', '')}")
    operators = (anatomy.Operator(text, 1, 20, 30, True),)
    found = anatomy.Anatomy(text, (1, 2), text, "cpu", True, 40, (part, child), operators)
    return of_module.document(found, "module", None)


def of_family(text):
    names = ("block", "context", "transform", "fusion", "order", "source")
    return family.places([dict.fromkeys(names, text)] * 2, [text])


def of_costs(text):
    cells = dict.fromkeys(family.COST_COLUMNS, None) | {"ratio": 4, "macs": 5, "params": 6}
    sides = dict.fromkeys(("batch", "channels", "height", "width"), 8)
    words = dict.fromkeys(("block", "spec", "status", "reason", "macs_counter"), text)
    return family.costs([{**cells, **sides, **words}])


def of_printed(text):
    import pandas as pd

    words = ("table", "row", "network", "insert", "why", "summary", "note", "remark", "reason")
    cells = dict.fromkeys(paper.COLUMNS) | dict.fromkeys(words, text)
    cells |= {"params": 1, "macs": 2, "macs_added": 3, "device": "cpu", "device_name": text}
    return of_paper.document(pd.DataFrame([cells], columns=list(paper.COLUMNS), dtype=object))


def of_check(text):
    found = [
        calibration.Finding(name, truth, Interval(1.0, 0.9, 1.1), "same", 1e3, 0.1, (text,))
        for name, truth in ((text, 1.0), ("known", 1.05))
    ]
    return of_trials.document(calibration.report(found, 3.0, 0.005), text)


def of_ceilings(text):
    roads = (Rate(text, "product", text, 1.0), Rate(text, "product", text, None, text))
    found = replace(PEAKS, name=text, device_name=text, roads=roads, caches=((text, 9),))
    return peaks.document(replace(found, flags=(text,), busy={text: (text,)}), text)


def of_machine(text):
    return machine.document(manifest(node=text, cpu=text, command=text))


def of_words(text):
    return Document(
        title=text,
        sections=lambda detail: [
            Lines([text, f"  {text}"], verbatim=True),
            Lines([text], tone="bad"),
            Layout([text], [text, "b"], 1, [[text, text]], [text], bare=True),
            Layout([text], [], 0, [], [text]),
        ],
        rows=lambda: [{"a": text, "b": {text: text}, "c": -1.5}],
        columns=("a", "b"),
        shared={"d": text},
    )


KINDS = (
    *(of_cases, of_sorted, of_pivot, of_two_runs, of_attention_rows, of_parts, of_family),
    *(of_costs, of_printed, of_check, of_ceilings, of_machine, of_words),
)
NAMES = [entry.name for entry in report.GENERAL]


def made(kind, name, text):
    write = report.GENERAL[name].load()
    return "".join(write(replace(kind(text), detail=Detail.ALL)))


usual = cache(lambda kind, name: made(kind, name, "plain"))
few = settings(max_examples=30, deadline=None)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@few
@given(text=TEXTS)
def test_whatever_a_name_holds_steers_no_terminal_and_breaks_no_line(name, kind, text):
    found = made(kind, name, text)
    assert found.replace("\n", "").isprintable()
    if name != "latex":
        # there a wide table is several
        assert found.count("\n") == usual(kind, name).count("\n")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@few
@given(text=TEXTS)
def test_csv_has_as_many_cells_in_every_line_and_no_formula(kind, text):
    [header, *lines] = csv.reader(io.StringIO(made(kind, "csv", text)))
    assert {len(line) for line in lines} <= {len(header)}
    for cell in (cell for line in (header, *lines) for cell in line):
        assert not cell.startswith(tuple("=+-@\t\r\n")) or re.fullmatch(r"-?[0-9.e+-]+|-", cell)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@few
@given(text=TEXTS)
def test_json_has_every_name_as_it_is(kind, text):
    def strings(value):
        if isinstance(value, dict):
            for key, each in value.items():
                yield key
                yield from strings(each)
        elif isinstance(value, list):
            for each in value:
                yield from strings(each)
        elif isinstance(value, str):
            yield value

    # what is no text becomes its number
    shown = text.encode(errors="backslashreplace").decode()
    assert shown in set(strings(json.loads(made(kind, "json", text))))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@few
@given(text=TEXTS)
def test_markdown_takes_no_meaning_from_a_name(kind, text):
    found = made(kind, "markdown", text)
    # what is set in by four spaces is code
    lines = [line for line in found.splitlines() if not line.startswith("    ")]
    assert not re.search(r"(?<!\\)(?:\\\\)*[<>`*\[\]$&~]", "\n".join(lines))
    tables = re.findall(r"(?:^\|.*\n)+", found, re.MULTILINE)
    for table in tables:
        cells = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in table.splitlines()}
        assert len(cells) == 1


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@few
@given(text=TEXTS)
def test_latex_is_ascii_in_which_only_commands_of_ours_are_commands(kind, text):
    known = (
        "textbackslash|textasciicircum|textless|textgreater|textbar|textendash|char34|ensuremath|"
        r"mu|cdot|times|circ|sim|ldots|[&%$#_{} \\]|[`'^~=\"](?=\{[A-Za-z]\})|rule(?=\{)|strut|"
        r"begin|end|footnotesize|ttfamily|setlength|tabcolsep|makebox|linewidth|toprule|midrule|"
        r"bottomrule|par|usepackage(?=\{booktabs\})"
    )
    found = made(kind, "latex", text)
    assert found.isascii()
    assert not re.sub(rf"\\({known})", "", found).count("\\")
    for body in re.findall(r"\\toprule\n(.*?)\\bottomrule", found, re.DOTALL):
        lines = body.replace("\\midrule\n", "").splitlines()
        assert len({line.count(" & ") for line in lines}) <= 1
        assert all(line.endswith(r" \\") for line in lines)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_document_can_be_written_again(kind):
    document = kind("plain")
    for name in NAMES:
        write = report.GENERAL[name].load()
        assert "".join(write(document)) == "".join(write(document)) != ""


@pytest.mark.parametrize("name", NAMES)
def test_a_document_is_written_as_its_rows_come(name):
    read = []

    def rows():
        for size in range(7, 12):
            read.append(size)
            yield from tables.rows(Run(manifest(), (comparison(GC, SE, size=(size, size)),)))

    # each stands for a comparison of its own
    numbered = (row | {"comparison": row["height"]} for row in rows())
    pieces = report.GENERAL[name].load()(document_of(numbered, manifest()))
    assert "7" in "".join(islice(pieces, 3))
    assert len(read) <= 4
    assert "11" in "".join(pieces)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex")
def test_what_any_document_is_in_latex_compiles(tmp_path):
    parts = [made(kind, "latex", text) for kind in KINDS for text in (*HOSTILE, "\u2588 \u2583")]
    head = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n"
    text = head + "\n".join(parts) + "\\end{document}\n"
    (tmp_path / "a.tex").write_text(text, encoding="ascii")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "a.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    if "booktabs.sty' not found" in done.stdout:
        pytest.skip("there is no booktabs")
    assert done.returncode == 0, done.stdout[-2000:]
