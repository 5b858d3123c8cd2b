"""One row a case, however often it was tried."""

from collections.abc import Sequence

from gcbench.records import Outline


def chosen(outlines: Sequence[Outline]) -> list[list[tuple[int, int]]]:
    """Say where each case of a run is to be read: every key once.

    One list for each comparison that brought new keys, with the record and the position in it of
    every one of them: the first record where the case is ok, else the newest.

    >>> first, retried = Outline(("gc", "nl"), ("ok", "oom")), Outline(("gc", "nl"), ("ok", "ok"))
    >>> chosen([first, retried])
    [[(0, 0), (1, 1)]]
    """
    where: dict[str, tuple[int, int]] = {}
    ok: set[str] = set()
    new: list[list[str]] = []
    for record, outline in enumerate(outlines):
        new.append([key for key in dict.fromkeys(outline.keys) if key not in where])
        for position, (key, status) in enumerate(zip(*outline, strict=True)):
            if key not in ok:
                where[key] = record, position
            if status == "ok":
                ok.add(key)
    return [[where[key] for key in keys] for keys in new if keys]
