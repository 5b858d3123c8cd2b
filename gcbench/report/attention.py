"""How much attention depends on the query, for people: tables, and a verdict in words."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gcbench.records import Manifest
from gcbench.report import notes
from gcbench.report.detail import Detail, told
from gcbench.report.document import Document, Layout
from gcbench.report.notes import Seen, in_words, of_flags
from gcbench.spec.cases import REPLACEMENTS
from gcbench.stats.calibration import share
from gcbench.units import (
    NO_INTERVAL,
    count_text,
    counted,
    interval_text,
    latency_text,
    number_text,
    percent_text,
    spread_text,
)

AttentionRow = dict[str, Any]

# how columns for people are named, and the quantity that they show
DISTANCES = {
    "input cos": "input_cosine",
    "output cos": "output_cosine",
    "attention cos": "attention_cosine",
    "attention JS": "attention_js",
}
# what a share that depends on the query, below a limit, means in words
DEPENDS = (
    (0.01, "all queries have as good as one map"),
    (0.1, "queries have nearly the same map"),
    (0.5, "queries share a part of their maps"),
    (2.0, "most of a map belongs to its query alone"),
)
# no hyphen: a spreadsheet would take that for the start of a formula
NOTHING = "\N{EN DASH}"
# flags of what no table here shows
OF_CEILINGS = ("peaks_busy", "above_ceiling")
# states of weights from which no conclusion on attention follows
UNTOLD = ("before", "untrained")
# labels that a column is made of where they are not the same in every row
_VARYING = {"network": "network", "state": "training", "image_names": "images"}

DEFINITIONS = (
    "cos: cosine distance (1 - cos)/2, 0 to 1; JS: Jensen-Shannon divergence in nats, at most "
    "0.693; both are means over all pairs of queries.",
    "by query: the share of attention that depends on the query, 1 - |mean row|²/mean |row|². "
    "adds: |z - x| over |x|.",
)


def document(rows: Sequence[AttentionRow], columns: Sequence[str], manifest: Manifest) -> Document:
    """Tables of blocks and of what networks were trained to; a row for each block."""
    return Document(
        title=manifest.run,
        sections=lambda detail: layouts(rows, manifest, detail),
        rows=lambda: rows,
        columns=columns,
        manifest=manifest,
    )


def layouts(rows: Sequence[AttentionRow], manifest: Manifest, detail: Detail) -> Iterator[Layout]:
    """Lay out what was measured of blocks, and what networks were trained to."""
    seen = [row for row in rows if row["block"] is not None]
    trained = [row for row in rows if row["accuracy"] is not None]
    if seen:
        yield _measured(seen, manifest, detail)
    if trained:
        yield _trained(trained, manifest, detail)


def _measured(rows: Sequence[AttentionRow], manifest: Manifest, detail: Detail) -> Layout:
    varying = {head: name for name, head in _VARYING.items() if _several(rows, name)}
    lines = []
    for row in rows:
        labels = {head: row[name] or "" for head, name in varying.items()}
        if _several(rows, "block") or not varying:
            labels["block"] = row["block"] or "the model"
        lines.append({**labels, **_cells(row)})
    priced = [row for row in rows if row["snl_relative"] is not None]
    return Layout(
        heading=_heading(rows),
        header=list(lines[0]),
        labels=len(varying) + ("block" in lines[0]) + 2,
        lines=[list(line.values()) for line in lines],
        notes=told(
            detail,
            cells=[*_missing(rows), *_partly(rows), *_verdicts(rows), *_spread(rows)],
            causes=[*notes.lines(_disturbed(priced, manifest)), *_sampling(rows)],
            rest=[*DEFINITIONS, *_flags_in_words(priced)],
        ),
    )


def _cells(row: AttentionRow) -> dict[str, str]:
    shape = [row[name] for name in ("channels", "height", "width")]
    pooled = f", {row['keys']} keys" if row["keys"] != row["queries"] else ""
    many = f", {row['batch']} at once" if (row["batch"] or 1) > 1 else ""
    cells = {
        "kind": f"{row['kind']} {row['detail']}",
        "shape": "" if shape[0] is None else "x".join(map(str, shape)) + pooled + many,
    }
    for head, name in DISTANCES.items():
        cells[head] = _spread_cell(row, name)
    cells["by query"] = _spread_cell(row, "query_share", 100, " %")
    return {**cells, "adds": _spread_cell(row, "added_share")}


def _spread_cell(row: AttentionRow, name: str, scale: float = 1, unit: str = "") -> str:
    mean, deviation = row[name], row[f"{name}_sd"]
    if mean is None:
        return NOTHING
    return spread_text(scale * mean, deviation and scale * deviation) + unit


def _heading(rows: Sequence[AttentionRow]) -> list[str]:
    first = rows[0]
    size = f"{first['image_height']}x{first['image_width']}"
    sizes = {(row["image_height"], row["image_width"]) for row in rows}
    networks = list(dict.fromkeys(row["network"] for row in rows))
    what = networks[0] if len(networks) == 1 else counted(len(networks), "network")
    images = max(row["images"] for row in rows)
    of = f" · {counted(images, 'image')} of {size}" if len(sizes) == 1 and images else ""
    where = f"{first['device']}: {first['device_name']} · {counted(first['threads'], 'thread')}"
    weights = f"weights: {first['weights']}"
    return [f"{what}{of} · {weights}", f"{where} · torch {first['torch_version']}"]


def _missing(rows: Sequence[AttentionRow]) -> Iterator[str]:
    """Say why there is a dash, each reason once with the blocks that it is of."""
    names = ("reason", *(f"{each}_reason" for each in (*DISTANCES.values(), "query_share")))
    said = [(_whose(row, rows), row[name]) for row in rows for name in names if row[name]]
    yield from (f"{NOTHING} is for {line}" for line in _together(said))


def _partly(rows: Sequence[AttentionRow]) -> Iterator[str]:
    """Say what was not called for every image."""
    names = ("network", "state", "image_names")
    most: dict[tuple[str, ...], int] = {}
    for row in rows:
        which = tuple(row[name] for name in names)
        most[which] = max(most.get(which, 0), row["images"])
    for row in rows:
        of = most[tuple(row[name] for name in names)]
        if 0 < row["images"] < of:
            yield f"{_label(row, rows)}: called for {row['images']} of {of} images."


def _together(said: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Say each sentence once, with all that it is said of."""
    whose: dict[str, dict[str, None]] = {}
    for label, sentence in said:
        whose.setdefault(sentence, {})[label] = None
    for sentence, labels in whose.items():
        yield f"{_listed(list(labels))}: {sentence}."


def _label(row: AttentionRow, rows: Sequence[AttentionRow]) -> str:
    """What tells a row from the others in a sentence."""
    more = [row[name] for name in ("state", "image_names") if _several(rows, name) and row[name]]
    return ", ".join([_whose(row, rows), *(more if _several(rows, "network") else [])])


def _whose(row: AttentionRow, rows: Sequence[AttentionRow]) -> str:
    return str(row["network"] if _several(rows, "network") else row["block"] or "the model")


def _several(rows: Sequence[AttentionRow], name: str) -> bool:
    return len({row[name] for row in rows}) > 1


def _verdicts(rows: Sequence[AttentionRow]) -> Iterator[str]:
    alike: dict[str, list[AttentionRow]] = {}
    for row in rows:
        # what a network did before it was trained, or with one query, is no verdict on anything
        told = row["state"] not in UNTOLD and row["queries"] != 1
        if row["query_share"] is not None and told:
            words = next(words for limit, words in DEPENDS if row["query_share"] < limit)
            alike.setdefault(words, []).append(row)
    for words, found in alike.items():
        labels = _listed([_label(row, rows) for row in found])
        yield f"{labels}: {_shares(found)} attention depends on the query: {words}."
    if any(row["state"] == "untrained" for row in rows):
        yield "untrained weights: nothing follows on attention; --weights FILE takes trained ones."
    yield from _together((_label(row, rows), words) for row in rows for words in _price(row))


def _shares(rows: Sequence[AttentionRow]) -> str:
    if len(rows) == 1:
        return f"{_spread_cell(rows[0], 'query_share', 100, ' %')} of its"
    shares = [row["query_share"] for row in rows]
    # the unit once, and two ends that read the same once
    ends = dict.fromkeys(percent_text(end).removesuffix(" %") for end in (min(shares), max(shares)))
    return f"{' to '.join(ends)} % of their"


def _listed(labels: Sequence[str]) -> str:
    """Labels in a sentence: of many the ends, and how many there are."""
    if len(labels) <= 4:
        return "; ".join(labels)
    return f"{labels[0]}; ...; {labels[-1]} ({len(labels)} of them)"


def _price(row: AttentionRow) -> Iterator[str]:
    if row["price_reason"]:
        yield f"not {'priced' if row['macs'] is None else 'timed'}: {row['price_reason']}"
    parts = [part for name in REPLACEMENTS if (part := _replacement(row, name))]
    if parts:
        costs = f"{count_text(row['macs'])} MACs{_latency(row)}"
        yield f"a call costs {costs}; {'; '.join(parts)}"


def _latency(row: AttentionRow) -> str:
    latency = _interval(row, "latency_us")
    return f" and {latency_text(*latency)}" if latency else ""


def _replacement(row: AttentionRow, name: str) -> str:
    if row[f"{name}_macs"] is None or row["macs"] is None:
        return ""
    said = f"{name} in its place costs {count_text(row[f'{name}_macs'])} MACs"
    relative = _interval(row, f"{name}_relative")
    if not relative:
        return said
    verdict = row[f"{name}_verdict"]
    doubt = f", {verdict}" if verdict in ("unresolved", "untrusted") else ""
    known = interval_text(*relative)
    interval = known if known == NO_INTERVAL else f"95 % interval {known}"
    return f"{said} and {number_text(*relative)} of its time ({interval}{doubt})"


def _interval(row: AttentionRow, name: str) -> tuple[float, float, float] | None:
    mid, lo, hi = (row[column] for column in (name, f"{name}_lo", f"{name}_hi"))
    if mid is None:
        return None
    return (mid, float("-inf"), float("inf")) if lo is None or hi is None else (mid, lo, hi)


def _sampling(rows: Sequence[AttentionRow]) -> Iterator[str]:
    for row in rows:
        if row["js_pairs"] and row["attention_js"] is not None:
            mean, half = row["attention_js"], row["js_half_width"]
            interval = interval_text(mean, mean - half, mean + half)
            yield (
                f"{_label(row, rows)}: JS of {row['queries']:,} queries is sampled, from "
                f"{counted(row['js_pairs'], 'pair')} over all images: 99 % interval {interval}."
            )


def _spread(rows: Sequence[AttentionRow]) -> Iterator[str]:
    if any(row["images"] > 1 for row in rows):
        yield "±: the standard deviation over images."


def _disturbed(rows: Sequence[AttentionRow], manifest: Manifest) -> Seen:
    """What the machine did while the latencies of this table were measured."""
    return of_flags([_flags(row) for row in rows], manifest)


def _flags_in_words(rows: Sequence[AttentionRow]) -> Iterator[str]:
    return in_words(flag for row in rows for flag in _flags(row))


def _flags(row: AttentionRow) -> list[str]:
    return [flag for flag in (row["price_flags"] or "").split() if flag not in OF_CEILINGS]


def _trained(rows: Sequence[AttentionRow], manifest: Manifest, detail: Detail) -> Layout:
    lines = [_trained_cells(row) for row in rows]
    kept = [name for name in lines[0] if any(line[name] for line in lines)]
    tested = rows[0]["tested"]
    return Layout(
        heading=[f"Accuracy beside cost, {tested} test images"],
        header=kept,
        labels=1,
        lines=[[line[name] for name in kept] for line in lines],
        notes=told(
            detail,
            causes=notes.lines(_disturbed(rows, manifest)),
            rest=[
                "95 % interval: exact, of a share of so many images: what other test images could "
                "say, not what another seed of the training could.",
                *_flags_in_words(rows),
            ],
        ),
    )


def _trained_cells(row: AttentionRow) -> dict[str, str]:
    right = round(row["accuracy"] * row["tested"])
    known = share([test < right for test in range(row["tested"])])
    latency = _interval(row, "latency_us")
    relative = _interval(row, "relative")
    return {
        "network": row["network"],
        "accuracy": f"{100 * row['accuracy']:.1f} %",
        "95 % interval": f"{100 * known.lo:.1f} to {100 * known.hi:.1f} %",
        "params added": count_text(row["params_added"]) if row["params_added"] else "",
        "MACs added": count_text(row["macs_added"]) if row["macs_added"] else "",
        "latency of the block": latency_text(*latency) if latency else "",
        "vs nl": _relative(row, relative),
        "verdict": row["verdict"] or "",
    }


def _relative(row: AttentionRow, relative: tuple[float, float, float] | None) -> str:
    if relative is None:
        return ""
    return "1" if row["verdict"] == "baseline" else number_text(*relative)
