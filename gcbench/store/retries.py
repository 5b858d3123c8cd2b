"""One row a case, however often it was tried."""

from collections.abc import Sequence

from gcbench.records import Outline, Status


def chosen(outlines: Sequence[Outline]) -> list[list[tuple[int, int]]]:
    """Say where each case of a run is to be read: every key once.

    One list for each comparison that brought new keys, with the record and the position in it of
    every one of them: the first record where the case is ok, else the newest, where one that only
    skipped it does not count beside one that tried it. The lists stand in the order of the grid
    where records tell their place in it, else as they were written.

    >>> first, retried = Outline(("gc", "nl"), ("ok", "oom")), Outline(("gc", "nl"), ("ok", "ok"))
    >>> chosen([first, retried])
    [[(0, 0), (1, 1)]]
    """
    where: dict[str, tuple[int, int]] = {}
    became: dict[str, Status] = {}
    new: list[tuple[int, list[str]]] = []
    for record, outline in enumerate(outlines):
        fresh = [key for key in dict.fromkeys(outline.keys) if key not in where]
        new.append((outline.place, fresh))
        for position, (key, status) in enumerate(zip(outline.keys, outline.statuses, strict=True)):
            before = became.get(key, "skipped")
            if before == "ok" or (status == "skipped" and before != "skipped"):
                continue
            where[key], became[key] = (record, position), status
    in_grid = sorted(new, key=lambda each: each[0])
    return [[where[key] for key in keys] for _, keys in in_grid if keys]
