"""The notes below a table of cases: failures, causes, and with all detail what else is known."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from gcbench.records import Manifest
from gcbench.report.detail import Detail, told
from gcbench.report.document import Legend
from gcbench.report.notes import in_words, lines, of_rows, replicates
from gcbench.results.roofline import GRAPH_GAIN, HOST_SHARE, NEAR
from gcbench.results.tables import Row
from gcbench.spec.labels import full_label, label
from gcbench.stats.machine_flags import FLAG_WORDS, OF_BLOCKS
from gcbench.units import count_text, counted, percent_text

REASONS_TOLD = 5


def of_comparison(rows: Sequence[Row], manifest: Manifest | None, detail: Detail) -> list[str]:
    """What is told below the rows of one comparison, of the run with this manifest."""
    return told(
        detail,
        cells=chain(_reasons(rows), _inside(row for row in rows if row["replaced"])),
        causes=_causes(rows, manifest),
        rest=chain(_rest(rows), _far_out(rows)),
    )


def of_several(rows: Sequence[Row], manifest: Manifest | None, detail: Detail) -> list[str]:
    """The same of rows of several comparisons: what holds for all; reasons are counted."""
    return told(detail, cells=failures(rows), causes=_causes(rows, manifest), rest=_rest(rows))


def _causes(rows: Sequence[Row], manifest: Manifest | None) -> Iterator[str]:
    yield from lines(of_rows(rows, manifest), columns=("bound",))
    yield from of_blocks(rows, reasons=False)
    yield from _counted_otherwise(rows)


def of_blocks(rows: Iterable[Row], reasons: bool = True) -> Iterator[str]:
    """What blocks' own code does that is unusual, of each block once.

    With `reasons`, also where: those of a table's rows stand below it anyway.
    """
    flagged = [(row, set((row["flags"] or "").split())) for row in rows]
    for flag in OF_BLOCKS:
        having = [row for row, flags in flagged if flag in flags]
        if having:
            whose = ", ".join(dict.fromkeys(label(row) for row in having))
            reason = having[0]["reason"] if reasons else None
            yield f"{whose}: {FLAG_WORDS[flag]}{f': {reason}' if reason else ''}"


def failures(rows: Iterable[Row]) -> Iterator[str]:
    """Why cases failed, the commonest reasons first, with how many they are."""
    failed = Counter(
        (row["status"], row["reason"] or "no reason was kept")
        for row in rows
        if row["status"] != "ok"
    )
    for (status, reason), times in failed.most_common(REASONS_TOLD):
        yield f"{status} ({times}): {reason}"
    if len(failed) > REASONS_TOLD:
        yield f"and {counted(len(failed) - REASONS_TOLD, 'more reason')} (--csv FILE has all)"


def _reasons(rows: Sequence[Row]) -> Iterator[str]:
    """Why rows failed, or lack something; rows of one reason share a line."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row["reason"]:
            found.setdefault((row["status"], row["reason"]), []).append(full_label(row))
    for (status, reason), labels in found.items():
        state = "" if status == "ok" else f" {status}"
        yield f"{', '.join(labels)}{state}: {reason}"


def _counted_otherwise(rows: Sequence[Row]) -> Iterator[str]:
    """What numbers are not what their column says."""
    uncounted = [
        f"{full_label(row)} {row['uncounted_products']}"
        for row in rows
        if row["uncounted_products"]
    ]
    if uncounted:
        yield f"MACs too low: operators that may multiply are not counted: {', '.join(uncounted)}"
    if any(row["memory_source"] == "predicted" and row["status"] != "ok" for row in rows):
        yield Legend(("peak memory", "peak memory of what did not run is predicted"))


def _rest(rows: Sequence[Row]) -> Iterator[str]:
    yield from _counters(rows)
    yield from _inside(row for row in rows if not row["replaced"])
    if any(row["mode"] != "infer" for row in rows):
        yield Legend(
            ("MACs", "MACs are of one forward pass"),
            (
                "saved",
                "saved is what it keeps for the backward pass beside its output, weights and input",
            ),
        )
    if any(row["compile_ms"] is not None for row in rows):
        yield Legend(("compile", "compile is the first call less the second: it is in no latency"))
    if any(row["export_s"] is not None for row in rows):
        yield Legend(("export", "export, and load, are what is done once: they are in no latency"))
    if any(row["bound"] for row in rows):
        yield _bounds(rows)
    timed = [row for row in rows if row["stopped_by"]]
    # an interrupt is a cause of its own
    if timed and timed[0]["stopped_by"] != "interrupt":
        yield _ending(timed)
    yield from in_words(word for row in rows for word in (row["flags"] or "").split())


def _counters(rows: Sequence[Row]) -> Iterator[str]:
    """Who counted the MACs, and who counts otherwise."""
    counters = dict.fromkeys(row["macs_counter"] for row in rows if row["macs_counter"])
    if counters:
        yield f"MACs by {', '.join(counters)}"
    others = [differ for row in rows if (differ := _otherwise(row))]
    if others:
        yield f"other counters differ: {'; '.join(others)}"


def _otherwise(row: Row) -> str:
    """What other counters say of a row's MACs, where one differs."""
    said = {name.removeprefix("macs_"): row[name] for name in ("macs_fvcore", "macs_torch")}
    differ = {name: macs for name, macs in said.items() if macs not in (None, row["macs"])}
    if row["macs"] is None or not differ:
        return ""
    counts = {row["macs_counter"]: row["macs"], **differ}
    each = ", ".join(f"{count_text(macs)} by {name}" for name, macs in counts.items())
    return f"{full_label(row)} {each}"


def _inside(rows: Iterable[Row]) -> Iterator[str]:
    """Where in a network the blocks of each row stand."""
    for row in rows:
        if row["inserted"]:
            blocks = counted(row["inserted"], "block")
            where = f"in place of {row['replaced']}, at" if row["replaced"] else "behind"
            yield f"{label(row)}: {blocks}, {where} {_shortened(row['inserted_at'])}"


def _shortened(paths: str) -> str:
    """A list of places, its middle left out where it is long."""
    known = paths.split()
    return ", ".join(known if len(known) <= 4 else [*known[:2], "...", known[-1]])


def _bounds(rows: Sequence[Row]) -> Legend:
    launch = (
        f"launch where the host needs {percent_text(HOST_SHARE)} of the time or a graph is "
        f"{GRAPH_GAIN:g} times as fast, "
    )
    launched = any(row["host_us"] is not None for row in rows)
    bound = (
        f"bound: {launch if launched else ''}memory or "
        f"compute from {percent_text(NEAR)} of that ceiling on, else latency"
    )
    floor = ("floor", "floor: the share of the least possible time in the latency")
    ceilings = ", ".join(dict.fromkeys(row["peaks"] for row in rows if row["peaks"]))
    return Legend(
        ("bound", bound),
        *([floor] if any(row["floor_us"] is not None for row in rows) else []),
        ("bound", f"ceilings: {ceilings}"),
    )


def _ending(timed: Sequence[Row]) -> str:
    number = replicates(timed)
    if timed[0]["stopped_by"] == "precision":
        return f"reached --precision after {number}; lower it to resolve smaller differences"
    return f"hit --max-time after {number}; raise it for narrower intervals"


def _far_out(rows: Sequence[Row]) -> Iterator[str]:
    far = [
        f"{full_label(row)} {word.partition('=')[2]}/{row['samples']}"
        for row in rows
        for word in (row["flags"] or "").split()
        if word.startswith("far_out=")
    ]
    if far:
        yield f"outliers (kept): {', '.join(far)}"
