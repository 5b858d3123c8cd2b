"""What stands on a terminal while blocks are timed, and what an interrupt leaves of them."""

import io
import re
import sys
import threading

from commands import ran
from rich.console import Console
from rich.live import Live

from gcbench.cli import live as shown
from gcbench.measure.timing.replicates import Progress
from gcbench.measure.timing.standing import Standing

FAST, SLOW = Standing("se r16", 9e4, 0.01, 0.0), Standing("gc r16", 3e5, 0.05, 7.2)
UNKNOWN = Standing("nl", 6e7, None, None)


def lines_of(step, precision=0.02):
    console = Console(file=io.StringIO(), width=100)
    console.print(shown.drawn(step, precision))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_cases_are_ranked_by_their_medians_with_widths_and_times_to_go():
    head, *rows, last = lines_of(Progress(3.0, 10.0, 9, None, standings=(UNKNOWN, SLOW, FAST)))
    assert re.split(r" {2,}", head.strip()) == [
        *("rank", "block", "median so far", "± so far", "time to ±2 %")
    ]
    cells = [re.split(r" {2,}", row.strip()) for row in rows]
    assert [row[:2] for row in cells] == [["1", "se r16"], ["2", "gc r16"], ["3", "nl"]]
    assert cells[0][-1] == "reached"
    assert cells[1][-2:] == ["5.1 %", "about 8 s, beyond --max-time"]
    assert cells[2][-1] == "too few"
    assert last.startswith("9 replicates, 3 s of at most 10 s")


def test_what_comes_before_timing_is_a_line_of_its_own():
    assert lines_of(Progress(0.0, 10.0, doing="counting, and trying gc\x1b[31m")) == [
        "counting, and trying gc\\x1b[31m"
    ]


def test_nothing_is_drawn_but_when_a_step_is_told_and_seldom(monkeypatch):
    threads = threading.active_count()
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80)
    now = [0.0]
    monkeypatch.setattr(shown.time, "monotonic", lambda: now[0])
    with Live(console=console, auto_refresh=False, transient=True) as live:
        table = shown.LiveTable(live, 0.02)
        assert threading.active_count() == threads
        drawn = []
        for step in range(20):
            now[0] += shown.DRAW_S / 4
            before = len(out.getvalue())
            table.move(Progress(now[0], 10.0, step + 1, None, standings=(FAST,)))
            drawn.append(len(out.getvalue()) > before)
        assert drawn == [step % 4 == 0 for step in range(20)]


def test_where_no_terminal_is_nothing_is_drawn_and_what_is_told_is_a_line(capsys):
    with shown.live_table(0.02) as table:
        assert not table.moves
        table.move(Progress(0.0, 1.0, doing="heating"))
        table.tell("another gcbench measures on cpu")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "gcbench: another gcbench measures on cpu\n")


def test_bench_prints_the_table_of_what_was_measured_and_exits_with_130(
    monkeypatch, capsys, tmp_path
):
    monkeypatch.chdir(tmp_path)

    class Interrupted(shown.LiveTable):
        def move(self, step):
            if step.replicates == 4:
                raise KeyboardInterrupt

    monkeypatch.setattr(shown, "LiveTable", Interrupted)
    small = ("-C", "8", "-s", "4", "-r", "2", "--precision", "0.0001%", "--max-time", "60s")
    code, out, err = ran("bench", "gc", "se", *small, "--csv", "a.csv", capsys=capsys)
    assert code == 130
    assert [line.split()[0] for line in out.splitlines() if re.match("gc r2|se r2", line)] == [
        *("gc", "se")
    ]
    assert "interrupted after 4 replicates" in out
    assert err.splitlines()[-1] == (
        "gcbench: interrupted: the table is of what was measured until then"
    )
    assert ",interrupt," in (tmp_path / "a.csv").read_text()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_stderr_has_the_table_and_what_is_told_and_stdout_nothing(
    monkeypatch, capsys
):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    with shown.live_table(0.02) as table:
        assert table.moves
        table.tell("another gcbench measures on cpu: waiting for it")
        table.move(Progress(1.0, 10.0, 3, None, standings=(SLOW, FAST)))
    seen = terminal.getvalue()
    assert "gcbench: another gcbench measures on cpu: waiting for it\n" in seen
    assert seen.index("se r16") < seen.index("gc r16")
    assert capsys.readouterr().out == ""


def test_a_pipe_gets_nothing_that_moves_although_colour_is_forced(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with shown.live_table(0.02) as table:
        table.move(Progress(1.0, 10.0, 3, None, standings=(SLOW, FAST)))
    assert capsys.readouterr().err == ""
