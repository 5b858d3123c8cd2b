"""Nothing that was measured is lost: kills, full disks, torn lines, two writers."""

import errno
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from runs import DATA, GC, NL, SE, comparison, kept, manifest

from gcbench import store
from gcbench.errors import RunError
from gcbench.records import Run

THREE = [comparison(GC, SE, size=(size, size)) for size in (7, 14, 28)]
WHOLE = b"".join(store.format.encoded(record) for record in (manifest(), *THREE))
HEAD = WHOLE.index(b"\n")

# goes through comparisons of its own as a sweep does; each is a large line
WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from gcbench import store
from gcbench.errors import RunError
from runs import comparison, manifest

path, count = Path(sys.argv[1]), int(sys.argv[2])
say = lambda word: print(word, flush=True)
run = store.resume(path, say) if path.exists() else store.create(path, manifest())
known = store.statuses(path)
with run:
    for number in range(count):
        record = comparison(size=(7 + number, 7))
        timing = record.timings[0]
        large = replace(timing, replicates=timing.replicates * 5000)
        if record.measurements[0].case.key not in known:
            say("appending")
            run.append(replace(record, timings=(large,)))
"""


def left(path):
    """The file's lines, and what else lies beside it."""
    return path.read_bytes().splitlines(), sorted(each.name for each in path.parent.iterdir())


def test_a_run_appears_with_its_manifest_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "a.jsonl"
    with store.create(path, manifest()):
        assert store.load(path) == Run(manifest(), ())
    assert left(path) == ([WHOLE[:HEAD]], ["a.jsonl"])


def test_every_comparison_is_in_the_file_when_append_returns(tmp_path):
    path = tmp_path / "a.jsonl"
    with store.create(path, manifest()) as file:
        for number, record in enumerate(THREE, start=1):
            file.append(record)
            assert list(store.load(path).comparisons) == THREE[:number]


def test_what_was_written_is_synced_to_the_disk_and_the_folder_too(tmp_path, monkeypatch):
    synced, fsync = [], os.fsync

    def spied(descriptor):
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", spied)
    path = tmp_path / "a.jsonl"
    with store.create(path, manifest()) as file:
        run, folder = path.stat().st_ino, tmp_path.stat().st_ino
        assert synced == [run, folder]
        file.append(THREE[0])
    assert synced == [run, folder, run]


@pytest.mark.slow
def test_a_kill_at_any_moment_loses_no_finished_comparison(tmp_path):
    path, count = tmp_path / "a.jsonl", 6
    place = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1] / "support"), *sys.path]),
    }
    command = [sys.executable, "-c", WRITER, str(path), str(count)]
    for kill in range(3):
        before = store.statuses(path) if path.exists() else {}
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=place) as writer:
            # the first line of each session, then the second: inside an append, so often torn
            for _ in range(1 + kill % 2):
                while writer.stdout.readline() != b"appending\n":
                    pass
            os.kill(writer.pid, signal.SIGKILL)
        told = []
        after = store.statuses(path, told.append)
        assert before.items() <= after.items()
        assert len(list(store.records(path, told.append))) == len(after) / 2
    done = subprocess.run(command, env=place, check=True, capture_output=True)
    assert done.stderr == b""
    keys = [m.case.key for record in store.load(path).comparisons for m in record.measurements]
    assert len(keys) == len(set(keys)) == 2 * count


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, len(WHOLE)))
@example(HEAD)
@example(len(WHOLE) - 1)
@example(len(WHOLE) - 2)
def test_a_run_cut_off_anywhere_keeps_its_whole_lines_and_goes_on(tmp_path, size):
    path = tmp_path / "a.jsonl"
    path.write_bytes(WHOLE[:size])
    if size < HEAD:
        for use in (store.load, lambda path: store.resume(path, print)):
            with pytest.raises(RunError, match=r"a\.jsonl line 1 is not a manifest"):
                use(path)
        assert path.read_bytes() == WHOLE[:size]
        return
    # a line that lacks nothing but its end is whole
    whole = WHOLE[: size + 1].count(b"\n") - 1
    torn = WHOLE[:size].count(b"\n") != whole + 1 or not WHOLE[:size].endswith(b"\n")
    told = []
    assert list(store.records(path, told.append)) == THREE[:whole]
    more = comparison(GC, SE, size=(56, 56))
    with store.resume(path, told.append) as file:
        file.append(more)
    assert list(store.load(path).comparisons) == [*THREE[:whole], more]
    half = torn and WHOLE[size : size + 1] != b"\n"
    assert [("not finished" in word) for word in told] == [True, True] * half


def test_a_torn_line_is_cut_off_with_a_word(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(WHOLE[:-40])
    told = []
    store.resume(path, told.append).close()
    assert path.read_bytes() == WHOLE[: WHOLE[:-1].rindex(b"\n") + 1]
    [word] = told
    assert f"the last line of {path} was not finished and is cut off" in word


@contextmanager
def full_disk(path, monkeypatch):
    """A disk that takes half of the next line and no more."""
    write = os.write

    def half(descriptor, data):
        if len(data) < 200:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[: len(data) // 2])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", half)
        yield


def test_a_disk_that_fills_leaves_the_earlier_lines_and_takes_more_later(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    with store.create(path, manifest()) as file:
        file.append(THREE[0])
        before = path.read_bytes()
        with full_disk(path, monkeypatch), pytest.raises(RunError) as refused:
            file.append(THREE[1])
        assert str(refused.value) == f"cannot write the run {path}: No space left on device"
        assert path.read_bytes() == before
        file.append(THREE[1])
    assert list(store.load(path).comparisons) == THREE[:2]


def test_a_run_that_is_written_at_once_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    write = store.write.RunFile.append

    def full(file, record):
        if record == THREE[1]:
            raise RunError("No space left")
        write(file, record)

    monkeypatch.setattr(store.write.RunFile, "append", full)
    with pytest.raises(RunError, match="No space left"):
        store.save(Run(manifest(), tuple(THREE)), tmp_path / "a.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_at_the_start_leaves_no_run(tmp_path, monkeypatch):
    with full_disk(tmp_path, monkeypatch), pytest.raises(RunError, match="No space left"):
        store.create(tmp_path / "a.jsonl", manifest())
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def mounted(tmp_path):
    """A file system of 64 KiB, where this process may make one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip("this process may not mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_small_file_system_fills_without_harm(mounted):
    path = kept(mounted / "a.jsonl")
    written = []

    def fill(file):
        for size in range(7, 1000):
            file.append(comparison(size=(size, 7)))
            written.append(size)

    with store.resume(path, print) as file, pytest.raises(RunError, match="No space left"):
        fill(file)
    assert [r.measurements[0].case.height for r in store.load(path).comparisons] == written
    assert len(written) > 2


def test_a_read_only_file_system_is_named(mounted):
    path = kept(mounted / "a.jsonl", THREE[0])
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    with pytest.raises(RunError, match=f"cannot write the run {path}: Read-only file system"):
        store.resume(path, print)
    with pytest.raises(RunError, match=r"b\.jsonl: Read-only file system"):
        store.create(mounted / "b.jsonl", manifest())
    assert len(store.load(path).comparisons) == 1


def test_a_second_writer_is_kept_out_and_told_of_the_first(tmp_path):
    path = tmp_path / "a.jsonl"
    with store.create(path, manifest()) as file:
        file.append(THREE[0])
        with pytest.raises(RunError) as refused:
            store.resume(path, print)
        assert str(refused.value) == (
            f"{path} is being written by another gcbench (process {os.getpid()}): "
            "wait for it, or end it"
        )
        file.append(THREE[1])
    with store.resume(path, print) as file:
        file.append(THREE[2])
    assert list(store.load(path).comparisons) == THREE


def test_without_word_of_the_holder_a_second_writer_is_kept_out_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(store.write, "LOCKS", tmp_path / "nothing")
    path = tmp_path / "a.jsonl"
    with store.create(path, manifest()), pytest.raises(RunError, match="by another gcbench: wait"):
        store.resume(path, print)


def test_a_run_that_is_there_is_never_overwritten(tmp_path):
    path = kept(tmp_path / "a.jsonl", THREE[0])
    before = left(path)
    with pytest.raises(RunError, match="it exists already, and no run is overwritten"):
        store.create(path, manifest())
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(RunError, match="exists already"):
        store.create(tmp_path / "link", manifest())
    (tmp_path / "link").unlink()
    assert left(path) == before


def test_without_hard_links_a_run_is_made_and_never_overwritten(tmp_path, monkeypatch):
    def refused(*arguments):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "hardlink_to", refused)
    path = kept(tmp_path / "a.jsonl", THREE[0])
    with pytest.raises(RunError, match="exists already"):
        store.create(path, manifest())
    assert list(store.load(path).comparisons) == THREE[:1]
    assert left(path)[1] == ["a.jsonl"]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("", "that is a folder; give a file in it"),
        ("nothing/a.jsonl", "No such file or directory"),
        ("file/a.jsonl", "Not a directory"),
        ("a\0.jsonl", "null byte"),
        ("n" * 300, "File name too long"),
    ],
)
def test_where_no_run_can_be_is_said_in_one_sentence(place, words, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=words):
        store.create(tmp_path / place, manifest())
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_run_that_is_deleted_meanwhile_is_not_written_into_nowhere(tmp_path):
    path = tmp_path / "a.jsonl"
    with store.create(path, manifest()) as file:
        path.unlink()
        with pytest.raises(RunError, match="was deleted while it was written"):
            file.append(THREE[0])


def test_a_run_of_an_older_schema_is_not_added_to():
    with pytest.raises(RunError, match=r"run-schema2\.jsonl has schema 2 and can only be read"):
        store.resume(DATA / "run-schema2.jsonl", print)


def test_words_that_no_utf8_holds_do_not_end_a_sweep(tmp_path):
    path = kept(tmp_path / "a.jsonl", comparison(NL), command=("gcbench", "\udcff"))
    assert store.manifest(path).command == ("gcbench", "?")


@pytest.mark.parametrize(
    "name",
    [
        "../a",
        "/etc/passwd",
        "..",
        ".",
        "",
        "a/../../b",
        "~/x",
        "a\0b",
        ".hidden",
        "nul\n",
        "x" * 999,
    ],
)
def test_names_made_of_specs_never_leave_the_folder(name, tmp_path):
    path = store.path_in(tmp_path, name)
    assert path.parent == tmp_path
    assert path.resolve().parent == tmp_path.resolve()
    assert not path.name.startswith((".", "-"))
    kept(path)
    again = store.path_in(tmp_path, name)
    assert again != path
    kept(again)
