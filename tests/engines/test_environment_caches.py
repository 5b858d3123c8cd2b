"""Levels of cache, read off a folder that looks like the kernel's."""

import pytest

from gcbench.measure import environment

LEVELS = [
    ("1", "Data", "32K", "0,64"),
    ("1", "Instruction", "32K", "0,64"),
    ("2", "Unified", "1024K", "0,64"),
    ("3", "Unified", "32M", "0-7,64-71"),
]


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    for number, facts in enumerate(LEVELS):
        folder = tmp_path / "cache" / f"index{number}"
        folder.mkdir(parents=True)
        for name, fact in zip(("level", "type", "size", "shared_cpu_list"), facts, strict=True):
            (folder / name).write_text(fact + "\n")
    (tmp_path / "topology").mkdir()
    (tmp_path / "topology" / "thread_siblings_list").write_text("0,64\n")
    monkeypatch.setattr(environment, "_CPU", tmp_path)
    return tmp_path


@pytest.mark.parametrize(("threads", "cores", "chips"), [(1, 1, 1), (8, 8, 1), (9, 9, 2)])
def test_threads_have_the_caches_of_as_many_cores(kernel, threads, cores, chips):
    assert environment.caches("cpu", threads) == (
        ("L1", cores * 2**15),
        ("L2", cores * 2**20),
        ("L3", chips * 2**25),
    )


def test_a_machine_that_tells_of_no_caches_has_none(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "_CPU", tmp_path)
    assert environment.caches("cpu", 2) == ()
