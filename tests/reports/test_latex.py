"""LaTeX says just what the table says, and compiles, whatever a block is called."""

import re
import shutil
import subprocess
from dataclasses import replace

import pytest
from hostile import HOSTILE
from runs import GC, NL, SE, comparison, manifest
from written import latex as pivoted
from written import latex as render

from gcbench.analysis.sections import Watch
from gcbench.records import Run
from gcbench.report.latex import MOST_LINES, escaped
from gcbench.report.pivot import pivot
from gcbench.results import tables

SPECIAL = (
    *HOSTILE,
    r"\ { } $ & # ^ _ ~ % \begin{document} \input{/etc/passwd} $$ ^^M",
    "[0pt] * [x]",
    "*",
    "?` !` << >> -- --- ,, '' ``",
    "é ü Å ñ ß ø Ł µ Ω 中文 🙂 \u00d7 … \u2013 “quoted” \u0301",
    "N^2 C^-1.5 xN^2",
    "a" * 300,
    "\\",
)


def run_of(text, sizes=(7, 14, 28)):
    made = []
    for size in sizes:
        block = replace(SE, name=text, spec=text)
        record = comparison(GC, block, NL, size=(size, size), statuses=("ok", "ok", "error"))
        reasons = [replace(each, reason=text) for each in record.measurements]
        made.append(replace(record, measurements=tuple(reasons)))
    return Run(manifest(node=text, cpu=text, devices={"cpu": text}), tuple(made))


def texts(run):
    """A run's tables and a pivot of it, with what they show."""
    for write in (
        lambda watch, rows: render(rows, run.manifest, watch),
        lambda watch, rows: pivoted(pivot(rows), run.manifest, watch),
    ):
        watch = Watch(run)
        yield "".join(write(watch, watch.over(tables.placed(run))))


@pytest.mark.parametrize("text", SPECIAL)
def test_every_text_becomes_ascii_in_which_only_commands_of_ours_are_commands(text):
    known = (
        "textbackslash|textasciicircum|textless|textgreater|textbar|textendash|char34|ensuremath|"
        r"mu|cdot|times|circ|sim|ldots|[&%$#_{}]|[`'^~=\"](?=\{[A-Za-z]\})"
    )
    made = escaped(text)
    assert made.isascii()
    assert not re.sub(rf"\\({known})", "", made).count("\\")
    assert not re.search(r"(?<!\\)[&%#_~]", made)
    assert not re.search(r"--|''|``|,,", made)


def test_the_table_has_the_rules_of_booktabs_and_as_many_cells_in_every_line():
    table, grid = texts(run_of("plain"))
    for text, tabulars in ((table, 3), (grid, 1)):
        assert text.startswith("% needs \\usepackage{booktabs}\n")
        found = re.findall(
            r"\\begin\{tabular\}\{([lr]+)\}\n\\toprule\n(.*?)\\bottomrule", text, re.S
        )
        assert len(found) == tabulars
        for columns, body in found:
            lines = body.replace("\\midrule\n", "").splitlines()
            assert {line.count(" & ") for line in lines} == {len(columns) - 1}
            assert all(line.endswith(r" \\") for line in lines)
    assert "200 \\ensuremath{\\mu}s" in table
    assert "error: plain" in table


def test_a_table_longer_than_a_page_goes_on_in_another():
    sizes = range(7, 7 + 2 * MOST_LINES + 1)
    _, grid = texts(run_of("plain", sizes))
    assert grid.count("\\toprule") == 3
    assert grid.count("latency relative to") == 1


def test_an_empty_run_is_an_empty_report():
    run = Run(manifest(), ())
    assert "".join(render([], run.manifest, Watch(run))) == "% needs \\usepackage{booktabs}\n"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex")
def test_what_any_text_makes_compiles(tmp_path):
    parts = [part for text in SPECIAL for part in texts(run_of(text))]
    parts += texts(Run(manifest(), ()))
    parts += texts(Run(manifest(), (comparison(GC, SE, statuses=("oom", "skipped")),)))
    document = (
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n"
        + "\n".join(parts)
        + "\\end{document}\n"
    )
    (tmp_path / "a.tex").write_text(document, encoding="ascii")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "a.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    if "booktabs.sty' not found" in done.stdout:
        pytest.skip("there is no booktabs")
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "a.pdf").stat().st_size > 1000
