"""The tables of docs/family.md, in Markdown, from the newest runs of the family in `results/`.

The runs are made by the commands that results/README.md names beside them; the page calls these
functions, and `make docs` writes it anew.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import permutations
from pathlib import Path

from gcbench import store
from gcbench.analysis import crossovers, ranking
from gcbench.analysis.sections import Findings, Watch
from gcbench.blocks import BLOCKS
from gcbench.results import tables
from gcbench.spec.labels import label
from gcbench.stats.machine_flags import FLAG_WORDS
from gcbench.units import count_text, factor_text, latency_text, number_text

RESULTS = Path("results")
# of so many pairs of blocks that MACs and latency order differently the farthest apart are told
INVERSIONS, LEAST = 5, 1.1


def newest(kind: str) -> Path:
    """The newest run of the family of one kind: stages, sizes or network."""
    return sorted(RESULTS.glob(f"family-{kind}-*.jsonl"))[-1]


def places() -> str:
    """The family by its place in the framework."""
    rows = [
        (f"`{e.name}`", e.context, e.transform, e.fusion, e.order, f"`@{e.tier}`", e.source)
        for e in BLOCKS
    ]
    return _table(("block", "context", "transform", "fusion", "MACs", "group", "source"), rows)


def made_how(kind: str) -> str:
    """Where a run was measured, when, and what disturbed it."""
    run = store.load(newest(kind))
    manifest = run.manifest
    flags = {flag for row in tables.rows(run) for flag in (row["flags"] or "").split()}
    threads = {row["threads"] for row in tables.rows(run)}
    told = ", ".join(f"`{flag}`" for flag in FLAG_WORDS if flag in flags)
    return (
        f"- `{newest(kind).name}`: {manifest.device_name('cpu')}, "
        f"threads: {', '.join(map(str, sorted(threads)))}, torch {manifest.versions['torch']}, "
        f"measured {manifest.started[:10]}" + (f"; flags: {told}" if told else "")
    )


def stages() -> str:
    """Each block at each stage: MACs, latency, and its ranks by both."""
    by_shape = _by_shape(tables.rows(store.load(newest("stages"))))
    columns = []
    for rows in by_shape.values():
        by_macs, by_latency = _ranks(rows, "macs"), _ranks(rows, "latency_us")
        columns.append(
            {
                name: f"{count_text(row['macs'])}, {_latency(row)}, "
                f"{by_macs[name]} → {by_latency.get(name, '-')}"
                for name, row in rows.items()
            }
        )
    names = list(columns[0])
    lines = [(f"`{name}`", *(column.get(name, "") for column in columns)) for name in names]
    return _table(("block", *(f"{shape}: MACs, latency, ranks" for shape in by_shape)), lines)


def inversions() -> str:
    """Pairs of which the one with more MACs is faster, by medians, the farthest apart first.

    Both by a tenth at least; blocks without any MACs are left out.
    """
    lines = []
    for shape, rows in _by_shape(tables.rows(store.load(newest("stages")))).items():
        timed = {name: row for name, row in rows.items() if row["latency_us"] and row["macs"]}
        found = []
        for heavy, light in permutations(timed, 2):
            more = timed[heavy]["macs"] / timed[light]["macs"]
            slower = timed[light]["latency_us"] / timed[heavy]["latency_us"]
            if min(more, slower) >= LEAST:
                found.append((math.log(more) + math.log(slower), heavy, light, more, slower))
        for _, heavy, light, more, slower in sorted(found, reverse=True)[:INVERSIONS]:
            told = (f"{factor_text(more)} times", f"{factor_text(slower)} times")
            lines.append((shape, f"`{heavy}`", f"`{light}`", *told))
    return _table(("shape", "block", "beside", "has its MACs", "and is as fast"), lines)


def growth() -> str:
    """The exponents with which MACs and latency grow with N, and over which sizes."""
    found: dict[str, dict[str, str]] = {}
    for each in findings("sizes").growths:
        law, cells = each.law, found.setdefault(each.label, {})
        if each.quantity == "macs":
            exact = f"{law.exponent:.2f}" if law else "no power law"
            cells["macs"] = f"{exact}, {each.over[0]} to {each.over[1]}" if law else exact
        elif law is None or law.hi - law.lo > 2:
            spread = f"{min(each.local):.1f} to {max(each.local):.1f}"
            cells["latency"] = f"no power law: {spread} between neighbours"
        else:
            exponent = number_text(law.exponent, law.lo, law.hi)
            cells["latency"] = (
                f"{exponent} ({law.lo:.2f} to {law.hi:.2f}), {each.over[0]} to {each.over[1]}"
            )
    lines = [(f"`{n}`", c.get("macs", "0 MACs"), c.get("latency", "")) for n, c in found.items()]
    return _table(("block", "MACs grow as N to the", "latency grows as N to the"), lines)


def findings(kind: str) -> Findings:
    """What a run shows beside its rows."""
    run = store.open_run(newest(kind), lambda word: None)
    watch = Watch(run)
    for _ in watch.over(tables.placed(run)):
        pass
    return watch.findings


def order(kind: str) -> str:
    """How far the order of MACs is from that of latencies, as a report says it."""
    found = findings(kind)
    return _items(ranking.sentences(found.ranking, found.varying))


def changes(kind: str) -> str:
    """Which blocks change places, as a report says it."""
    found = findings(kind)
    return _items(crossovers.sentences(found.crossing, found.varying))


def inside() -> str:
    """The network with each block inside: what it adds."""
    rows = tables.network_first(tables.rows(store.load(newest("network"))))
    lines = [
        (
            f"`{row['block']}`",
            count_text(row["params_added"]) if row["params_added"] is not None else "",
            count_text(row["macs_added"]) if row["macs_added"] is not None else "",
            _latency(row),
            _relative(row),
            row["verdict"] or row["status"],
        )
        for row in rows
    ]
    header = ("block at c4.last and c5.last", "+params", "+MACs", "latency", "vs plain", "verdict")
    return _table(header, lines)


def _by_shape(rows: Iterable[tables.Row]) -> dict[str, dict[str, tables.Row]]:
    found: dict[str, dict[str, tables.Row]] = {}
    for row in rows:
        shape = "x".join(str(row[side]) for side in ("channels", "height", "width"))
        found.setdefault(shape, {})[label(row)] = row
    return found


def _ranks(rows: dict[str, tables.Row], column: str) -> dict[str, int]:
    known = {name: row[column] for name, row in rows.items() if row[column] is not None}
    # what is equal has one rank
    return {
        name: 1 + sum(other < value for other in known.values()) for name, value in known.items()
    }


def _latency(row: tables.Row) -> str:
    if row["latency_us"] is None:
        return str(row["status"])
    lo, hi = row["latency_us_lo"], row["latency_us_hi"]
    bounds = (-math.inf if lo is None else lo, math.inf if hi is None else hi)
    return latency_text(row["latency_us"], *bounds)


def _relative(row: tables.Row) -> str:
    if row["relative"] is None:
        return ""
    if row["relative_lo"] is None:
        return f"{row['relative']:.2g}"
    return f"{row['relative']:.3f} ({row['relative_lo']:.3f} to {row['relative_hi']:.3f})"


def _items(sentences: Iterable[str]) -> str:
    return "".join(f"- {sentence}\n" for sentence in sentences)


def _table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [header, ["---"] * len(header), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
