"""The command line: what a person meets, good and bad input, and what the doors load."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import assert_refused, ran

from gcbench.errors import UsageError

ROOT = Path(__file__).parents[2]
SMALL = ["-C", "16", "-s", "6x5", "-r", "4", "--precision", "50%", "--max-time", "300ms"]
DOORS = (
    [str(Path(sys.executable).with_name("gcbench"))],
    [sys.executable, "-m", "gcbench"],
    [sys.executable, str(ROOT / "cli.py")],
)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gcc"], ["unknown block 'gcc'", "did you mean 'gc'"]),
        (["gc:pooing=avg"], ["unknown option 'pooing'", "did you mean 'pooling'"]),
        (["gc:pooling=max"], ["pooling=max is not one of att, avg"]),
        (["gc:relu=3"], ["relu takes true or false, not '3'"]),
        (["gc:ratio=8:bottleneck=false"], ["with bottleneck=false there is no ratio"]),
        (["--ratio", "0"], ["--ratio takes a whole number from 1", "'0'"]),
        (["gc", "-C", "8"], ["ratio=16 leaves no channel of 8", "1 to 8"]),
        (["--size", "0"], ["--size takes a size such as 56", "'0'"]),
        (["--size", "56x"], ["--size", "'56x'", "50x80 (height x width)"]),
        (["--size", "14,,28"], ["--size: nothing stands between two commas of '14,,28'"]),
        (["--size", "14:56:0"], ["--size takes a whole number from 1"]),
        (["--size", "7..55x2"], ["--size: the range '7..55x2' does not meet its end 55"]),
        (["--dtype", "float13"], ["--dtype 'float13' is unknown", "did you mean 'float32'"]),
        (["--device", "tpu"], ["--device takes cpu, cuda or cuda:INDEX, not 'tpu'"]),
        (["--device", "cuda:99"], ["--device cuda:99: this machine has"]),
        (["--csv", "/no/such/folder/x.csv"], ["--csv", "there is no folder /no/such/folder"]),
        (["--csv", "/tmp"], ["--csv /tmp: that is a folder"]),
        (["-o", "/no/such/folder/x"], ["--output", "there is no folder"]),
        (["-o", __file__], ["that file exists already"]),
        (["--precision", "0"], ["--precision takes a share between 0 and 100 %", "'0'"]),
        (["--precision", "200%"], ["--precision", "'200%'"]),
        (["--max-time", "0"], ["--max-time takes a time above zero", "'0'"]),
        (["--max-time", "soon"], ["--max-time", "'soon'"]),
        (["--threads", "0"], ["--threads takes a whole number from 1"]),
        (["--seed", "x"], ["--seed takes a whole number from 0", "'x'"]),
        (["--counter", "abacus"], ["--counter 'abacus' is unknown", "fvcore"]),
        (["--runtime", "warp"], ["--runtime 'warp' is unknown"]),
        (["--pair", "banana"], ["--pair 'banana' cannot be paired", "runtime"]),
        (["--pair", "batch"], ["--pair 'batch' cannot be paired"]),
        (["--pair", "dtype=float32"], ["--pair dtype takes at least two different values"]),
        (["--pair", "mode=infer,infer"], ["--pair mode takes at least two different values"]),
        (["--pair", "mode=infer,sleep"], ["--pair mode 'sleep' is unknown"]),
        (["--pair", "threads=1,0"], ["--pair threads takes a whole number from 1", "'0'"]),
        (["--pair", "dtype", "--dtype", "float16"], ["--dtype float16 is none of them"]),
        (["--pair", "runtime", "--baseline", "gc"], ["--baseline and --pair"]),
        (["gc", "--baseline", "se"], ["--baseline 'se' is not among the blocks"]),
        (["no.such.module:Block"], ["cannot import 'no.such.module'"]),
        (["--quick", "--rigorous"], ["--quick and --rigorous"]),
        (["--banana"], ["--banana"]),
        (["--batch"], ["--batch"]),
    ],
)
def test_bad_input_is_one_clear_line(arguments, words, capsys):
    assert_refused(ran("bench", *arguments, capsys=capsys), *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--max-time", "0"], ["--max-time takes a time above zero"]),
        (["--repeat", "0"], ["--repeat takes a whole number from 1"]),
        (["--threads", "0"], ["--threads takes a whole number from 1"]),
        (["--device", "tpu"], ["--device takes cpu"]),
        (["--device", "cuda:99"], ["--device cuda:99: this machine has"]),
    ],
)
def test_bad_input_to_check_is_one_clear_line(arguments, words, capsys):
    assert_refused(ran("check", *arguments, capsys=capsys), *words)


def test_check_says_what_each_trial_found_and_whether_to_believe_it(capsys):
    short = ["--repeat", "1", "--max-time", "50ms", "--threads", "1"]
    code, out, _ = ran("check", *short, capsys=capsys)
    assert code in (0, 5)
    for words in ("trials of", "21 calls against 20", "false verdicts", "smallest difference"):
        assert words in out
    assert ("can be believed" in out) == (code == 0)
    assert ("Not trustworthy" in out) == (code == 5)
    again, out, _ = ran("check", *short, "--json", capsys=capsys)
    report = json.loads(out)
    assert report["trustworthy"] == (again == 0)
    assert len(report["findings"]) == 7
    assert {each["truth"] for each in report["findings"]} == {1.0, 1.05}


def test_check_exits_5_where_verdicts_are_false(capsys, monkeypatch):
    from gcbench.engines import trials
    from gcbench.stats.calibration import Finding
    from gcbench.stats.intervals import Interval

    lie = Finding("gc", 1.0, Interval(1.5, 1.4, 1.6), "slower", 1e6, 0.02)
    truth = Finding("calls", 1.05, Interval(1.05, 1.04, 1.06), "slower", 1e6, 0.02)
    monkeypatch.setattr(trials, "run", lambda *_, **__: [lie] * 5 + [truth] * 5)
    code, out, _ = ran("check", capsys=capsys)
    assert code == 5
    assert "Not trustworthy: too many verdicts on known answers were false" in out
    assert "5 false slower" in out


def test_a_pair_divides_every_block_by_itself(capsys, tmp_path):
    path = tmp_path / "a.csv"
    pair = ["--pair", "dtype=float64,float32", "--csv", str(path)]
    code, out, _ = ran("bench", "gc", "se", *SMALL, *pair, capsys=capsys)
    assert code == 0
    assert "vs float64" in out
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["block"], row["dtype"]) for row in rows] == [
        (block, dtype) for block in ("gc", "se") for dtype in ("float64", "float32")
    ]
    assert [row["baseline"] for row in rows] == [rows[i]["key"] for i in (0, 0, 2, 2)]
    assert [row["verdict"] == "baseline" for row in rows] == [True, False, True, False]
    assert {row["pair"] for row in rows} == {"dtype"}


@pytest.mark.parametrize("pair", ["layout", "mode", "threads=1,2"])
def test_every_axis_that_can_be_paired_is(pair, capsys):
    csv_form = ["--format", "csv"]
    code, out, err = ran("bench", "gc", *SMALL, *csv_form, "--pair", pair, capsys=capsys)
    assert code == 0, err
    rows = list(csv.DictReader(out.splitlines()))
    assert [row["verdict"] == "baseline" for row in rows] == [True, False]
    assert len({row[pair.partition("=")[0]] for row in rows}) == 2


def test_an_unknown_command_is_one_clear_line(capsys):
    assert_refused(ran("bnech", capsys=capsys), "bnech")


def test_bench_prints_a_table_and_writes_a_csv_and_a_run(capsys, tmp_path):
    files = ["--csv", str(tmp_path / "a.csv"), "-o", str(tmp_path / "a.jsonl")]
    code, out, err = ran("bench", "gc", "se", "gc", *SMALL, *files, capsys=capsys)
    assert code == 0
    assert [line.split()[:3] for line in out.splitlines()[5:8]] == [
        ["gc", "r4", "173"],
        ["se", "r4", "148"],
        ["gc", "r4", "#2"],
    ]
    assert err.splitlines()[0] == "gcbench: comparing gc, se, gc; loading torch"
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["block"] for row in rows] == ["gc", "se", "gc"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.jsonl"]


@pytest.mark.slow
def test_a_case_that_does_not_fit_is_a_row_and_exit_code_3(capsys, tmp_path):
    path = tmp_path / "a.csv"
    shape = ["-C", "16", "-s", "4096x2048", "-r", "4", "--max-time", "1ms", "--threads", "1"]
    code, out, _ = ran("bench", "se", "nl", *shape, "--csv", str(path), capsys=capsys)
    assert code == 3
    assert "nl oom: needs 512 TiB" in out
    with path.open() as file:
        statuses = [row["status"] for row in csv.DictReader(file)]
    assert statuses == ["ok", "oom"]


def test_nothing_that_could_be_measured_is_exit_code_4(capsys):
    code, out, _ = ran("bench", "nl", "-s", "9999", capsys=capsys)
    assert code == 4
    assert "oom" in out


@pytest.mark.slow
def test_what_is_compiled_nowhere_loads_no_compiler():
    code = (
        "import sys, gcbench\n"
        "gcbench.bench(['se'], (1, 16, 4, 4), ratio=4, max_time_s=0.05, device='cpu')\n"
        "assert 'torch._inductor.compile_fx' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)


def test_an_error_inside_is_one_line_and_exit_code_70(capsys, monkeypatch):
    def broken(*arguments, **more):
        raise ZeroDivisionError("by accident")

    monkeypatch.setattr("gcbench.engines.run", broken)
    code, out, err = ran("bench", "gc", *SMALL, capsys=capsys)
    assert (code, out) == (70, "")
    assert "internal error, ZeroDivisionError: by accident" in err
    assert "Traceback" not in err
    _, _, err = ran("bench", "gc", *SMALL, "--traceback", capsys=capsys)
    assert "Traceback" in err


def test_an_interrupt_ends_with_130_and_a_word(capsys, monkeypatch):
    def interrupted(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr("gcbench.engines.run", interrupted)
    code, _, err = ran("bench", "gc", *SMALL, capsys=capsys)
    assert code == 130
    assert "interrupted" in err


def test_untrusted_verdicts_exit_5_only_when_strict(capsys, monkeypatch):
    from gcbench.results import tables

    rows = tables.rows

    def doubted(run):
        first, second = rows(run)
        return iter([first, second | {"verdict": "untrusted", "flags": "drift copies_differ"}])

    monkeypatch.setattr(tables, "rows", doubted)
    assert ran("bench", "gc", "se", *SMALL, capsys=capsys)[0] == 0
    assert ran("bench", "gc", "se", *SMALL, "--strict", capsys=capsys)[0] == 5


def test_one_block_is_described_with_options_closed_forms_and_source(capsys):
    code, out, _ = ran("blocks", "gc:fusion=both", capsys=capsys)
    assert code == 0
    for words in ("arXiv 1904.11492", "pooling=att|avg", "2*B*C*N + 4*B*C*p"):
        assert words in out


def test_env_prints_the_manifest_as_text_and_as_json(capsys):
    import json

    code, out, _ = ran("env", "--json", capsys=capsys)
    record = json.loads(out)
    assert code == 0
    assert {"cpu", "cores", "versions", "flags", "threads", "warnings"} <= record.keys()
    code, out, _ = ran("env", capsys=capsys)
    assert code == 0
    assert record["cpu"] in out


def test_the_doors_print_the_same_help():
    plain = {**os.environ, "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "100"}
    for arguments in ([], ["--help"], ["bench", "--help"]):
        helps = {
            subprocess.run(
                [*door, *arguments], env=plain, cwd=ROOT, capture_output=True, text=True, check=True
            ).stdout
            for door in DOORS
        }
        assert len(helps) == 1
        assert "Usage: gcbench" in helps.pop()


@pytest.mark.parametrize("arguments", [["--help"], ["bench", "--help"], ["blocks"]])
def test_help_and_the_list_of_blocks_import_neither_torch_nor_pandas(arguments):
    code = (
        "import sys\n"
        "from gcbench.cli.app import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit:\n    pass\n"
        "found = {'torch', 'pandas', 'fvcore', 'numpy', 'scipy', 'sympy'} & set(sys.modules)\n"
        "assert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.DEVNULL)


def test_a_mistake_is_told_before_torch_is_loaded():
    code = (
        "import sys\n"
        "from gcbench.cli.app import main\n"
        "try:\n    main(['bench', '--size', '56x'])\n"
        "except SystemExit as end:\n    assert end.code == 2\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)


def test_reading_a_run_imports_no_torch(tmp_path):
    reference = next(iter(sorted((ROOT / "results").glob("*.jsonl"))))
    code = (
        f"import sys, gcbench; gcbench.load({str(reference)!r}); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_closed_pipe_is_no_traceback():
    door = subprocess.Popen(
        [sys.executable, "-m", "gcbench", "blocks"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    door.stdout.close()
    _, err = door.communicate()
    assert b"Traceback" not in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["blocks"], ["report"]])
def test_a_stdout_that_takes_nothing_is_one_clear_line(arguments):
    reference = sorted((ROOT / "results").glob("bench-*.jsonl"))[-1]
    command = [sys.executable, "-m", "gcbench", *arguments]
    command += [str(reference)] if arguments == ["report"] else []
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "gcbench: cannot write to stdout: No space left on device\n"


def test_a_reader_that_has_enough_ends_a_report_quietly():
    reference = sorted((ROOT / "results").glob("bench-*.jsonl"))[-1]
    command = f"{sys.executable} -m gcbench report {reference} --format json | head -c 10"
    done = subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_device_node_is_never_replaced_by_a_csv(capsys, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert_refused(ran("bench", "--csv", str(tmp_path / "pipe"), capsys=capsys), "no regular file")
    assert (tmp_path / "pipe").is_fifo()


def test_a_link_stays_a_link_and_a_file_keeps_its_permissions(capsys, tmp_path):
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "real.csv").chmod(0o600)
    (tmp_path / "link.csv").symlink_to("real.csv")
    code, _, _ = ran("bench", "gc", *SMALL, "--csv", str(tmp_path / "link.csv"), capsys=capsys)
    assert code == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text().startswith("run,key,")
    assert (tmp_path / "real.csv").stat().st_mode & 0o777 == 0o600


def test_one_file_cannot_be_csv_and_run(capsys, tmp_path):
    path = str(tmp_path / "a")
    assert_refused(ran("bench", "--csv", path, "-o", path, capsys=capsys), "name the same file")


def test_what_a_block_prints_is_not_the_result(capfd, tmp_path, monkeypatch):
    (tmp_path / "chatty.py").write_text(
        "from torch import nn\nprint('at import')\n"
        "class Chatty(nn.Module):\n"
        "    def __init__(self, channels):\n        super().__init__()\n        print('built')\n"
        "    def forward(self, x):\n        print('called')\n        return x + 1\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    code, out, err = ran("bench", "chatty:Chatty", "-C", "4", *SMALL[2:], capsys=capfd)
    assert code == 0
    for words in ("at import", "built", "called"):
        assert words not in out
        assert words in err


def test_a_table_is_printed_though_its_file_could_not_be_written(capsys, tmp_path, monkeypatch):
    def full(path, text):
        raise UsageError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr("gcbench.cli.output.write_whole", full)
    code, out, err = ran("bench", "gc", *SMALL, "--csv", str(tmp_path / "a.csv"), capsys=capsys)
    assert code == 2
    assert "A/A" in out
    assert "No space left" in err
