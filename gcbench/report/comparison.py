"""Two runs side by side."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from gcbench.analysis.compare import COUNTS, CasePair, Compared, Side
from gcbench.analysis.verdicts import Judgement
from gcbench.column import Unit
from gcbench.columns import COLUMNS
from gcbench.records import Manifest
from gcbench.report.detail import Detail, told
from gcbench.report.document import Document, Layout
from gcbench.report.notes import in_words, lines, of_flags
from gcbench.spec.cases import Case
from gcbench.spec.labels import AXES, axes_text, axis_word, label_of_key, shared
from gcbench.stats.intervals import Interval
from gcbench.units import (
    NO_INTERVAL,
    counted,
    difference_text,
    interval_text,
    latency_text,
    number_text,
    size_text,
)

# more rows than this are for a file: a table shows those of which something is told
MOST_SHOWN = 100
NOTES_SHOWN = 20

_COLUMNS_OF_CASE = (
    *("key", "network", "block", "spec", "batch", "channels", "height", "width", "ratio", "dtype"),
    *("device", "layout", "mode", "runtime", "cache", "threads"),
)
# what a narrow terminal leaves out, the last first
_OPTIONAL = ("A", "B", "others", "of its cells")
_ESTIMATES = ("b_over_a", "beside", "own")


def document(compared: Compared) -> Document:
    """Tables of blocks and cases, and a row for each case of either run."""
    return Document(
        title=f"{compared.a.run} and {compared.b.run}",
        sections=lambda detail: layouts(compared, detail),
        rows=lambda: map(row, compared.pairs),
        columns=_columns(),
        about={
            "a": compared.a,
            "b": compared.b,
            "mismatches": list(compared.mismatches),
            **_named("geometric_mean", compared.all),
            **_named("together", compared.together),
            **_named("copies", compared.clones),
            "cells": len(compared.judged),
            "blocks": [
                {"block": whole.block, "cells": whole.cells, **_judged(whole.judgement)}
                for whole in compared.blocks
            ],
        },
    )


def row(pair: CasePair) -> dict[str, Any]:
    """Every cell of a pair, by column."""
    case = pair.case
    cells: dict[str, Any] = {**_axes(case), "threads": case.threads}
    regime = cells.pop("regime")
    # the key names it, where a case has one of its own
    del cells["heap"]
    cells["network"] = case.network.label if case.network else None
    for letter, side in (("a", pair.a), ("b", pair.b)):
        cells |= {f"{name}_{letter}": value for name, value in _of_side(side).items()}
    cells["changed"] = " ".join(change.what for change in pair.changes) or None
    return {**cells, **_judged(pair.judgement), "verdict": pair.verdict, "regime": regime}


def _columns() -> tuple[str, ...]:
    sides = (f"{name}_{letter}" for letter in "ab" for name in _of_side(None))
    return (*_COLUMNS_OF_CASE, *sides, "changed", *_judged(None), "regime")


def _of_side(side: Side | None) -> dict[str, Any]:
    absolute = side.absolute if side else None
    return {
        "status": side.status if side else None,
        "reason": side.reason if side else None,
        "flags": " ".join(side.flags) or None if side else None,
        **{name: side.counts[name] if side else None for name in COUNTS},
        **_named("latency_us", absolute.latency if absolute else None, 1e-3),
        **_named("aa", absolute.aa.exp() if absolute else None),
    }


def _judged(judgement: Judgement | None) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for name in _ESTIMATES:
        cells |= _named(name, getattr(judgement, name) if judgement else None)
    told = judgement is not None and math.isfinite(judgement.resolves)
    cells["resolves"] = judgement.resolves if judgement and told else None
    cells["verdict"] = judgement.verdict if judgement else None
    return cells


def _named(name: str, interval: Interval | None, scale: float = 1.0) -> dict[str, float | None]:
    """The cells of an interval: an end that is not known is empty."""
    mid, lo, hi = (end * scale for end in interval) if interval else (None, None, None)
    known = interval is not None and interval.known
    return {name: mid, f"{name}_lo": lo if known else None, f"{name}_hi": hi if known else None}


def layouts(compared: Compared, detail: Detail) -> Iterator[Layout]:
    """Lay out what is told of both runs: the blocks, where one has several cells, and the cases."""
    heading = list(_heading(compared))
    if any(whole.cells > 1 for whole in compared.blocks):
        yield Layout(heading, *_of_blocks(compared), optional=_OPTIONAL)
        heading = []
    known = [pair for pair in compared.pairs if pair.verdict != "new"]
    pairs = _telling(known)
    found = chain(_new(compared.pairs), _found(compared))
    notes = told(detail, found, _causes(compared), _rest(compared))
    if len(pairs) < len(known):
        rest = len(known) - len(pairs)
        more = f"and {counted(rest, 'more case')}"
        none = f"{counted(rest, 'case')}, none of which differs by a verdict or a count"
        notes.insert(0, f"{more if pairs else none}: --format csv has every one")
    if any(_tells(pair) for pair in pairs):
        yield Layout(heading, *_of_pairs(compared, pairs), notes=notes, optional=_OPTIONAL)
    else:
        yield Layout(heading, (), 0, (), notes)


def _new(pairs: Sequence[CasePair]) -> Iterator[str]:
    """What B alone has, in one line."""
    found = Counter(pair.case.block for pair in pairs if pair.verdict == "new")
    if found:
        each = ", ".join(f"{block} {number}" for block, number in found.items())
        yield f"new: {counted(found.total(), 'case')} that A has not: {each}"


def _tells(pair: CasePair) -> bool:
    """Whether there is more to say of a pair than that both runs counted it."""
    return bool(pair.verdict or (pair.a and pair.a.absolute) or (pair.b and pair.b.absolute))


def _telling(pairs: Sequence[CasePair]) -> Sequence[CasePair]:
    """The pairs to show: all, or of very many those of which something is claimed."""
    if len(pairs) <= MOST_SHOWN:
        return pairs
    quiet = ("same", "unresolved", None)
    told = [pair for pair in pairs if pair.changes or pair.verdict not in quiet]
    return told[:MOST_SHOWN]


def _heading(compared: Compared) -> Iterator[str]:
    for letter, manifest in (("A", compared.a), ("B", compared.b)):
        yield f"{letter}: {_run(manifest)}"
    if compared.one_run:
        yield "A and B are the same run: there is nothing to tell apart"
    if compared.mismatches:
        yield f"not alike: {'; '.join(compared.mismatches)}"
    if compared.pairs:
        yield axes_text(_shared(compared.pairs))
    both = sum(bool(pair.a and pair.b) for pair in compared.pairs)
    alone = [sum(pair.b is None for pair in compared.pairs)]
    alone += [sum(pair.a is None for pair in compared.pairs)]
    yield f"{counted(both, 'case')} in both, {alone[0]} in A alone, {alone[1]} in B alone"
    if compared.all:
        yield from _movement(compared)


def _run(manifest: Manifest) -> str:
    device = ", ".join(manifest.devices.values())
    torch = manifest.versions.get("torch")
    return f"{manifest.run} · {manifest.started} · {device} · torch {torch}"


def _movement(compared: Compared) -> Iterator[str]:
    assert compared.all
    cells = counted(len(compared.judged), "cell")
    yield (
        f"B / A, geometric mean of {cells}: {_estimate(compared.all)}"
        + (f"; plain copies of inputs: {_estimate(compared.clones)}" if compared.clones else "")
    )
    reach = zip("AB", compared.copies_differ, strict=True)
    within = ", ".join(f"{_within(share)} in {letter}" for letter, share in reach)
    yield f"A/A (a block against its own copy), median of the cells: {within}"
    moved = compared.together
    if moved and moved.known and (moved.lo > 1 or moved.hi < 1):
        what = "what else was measured" if any(w.changed for w in compared.blocks) else "everything"
        yield (
            f"{what} moved together by {_by(moved.mid)} ({interval_text(*moved)}): "
            "the machine, or what all blocks share; no verdict counts it (--fail-on together:3% "
            "does)"
        )


def _within(share: float) -> str:
    return f"within {difference_text(share)}" if share < math.inf else NO_INTERVAL


def _by(factor: float) -> str:
    return f"{100 * (factor - 1):+.2g} %" if 0.5 < factor < 2 else f"a factor of {factor:.2g}"


def _estimate(interval: Interval) -> str:
    return f"{number_text(*interval)} ({interval_text(*interval)})"


Body = tuple[Sequence[str], int, Sequence[Sequence[str]]]


def _of_blocks(compared: Compared) -> Body:
    lines = [
        [
            whole.block,
            str(whole.cells),
            *_cells(whole.judgement),
            ", ".join(f"{number} {verdict}" for verdict, number in whole.verdicts.items()),
        ]
        for whole in compared.blocks
    ]
    return ("block", "cells", *_HEADER, "of its cells"), 1, lines


_HEADER = ("B / A", "others", "own", "95 % interval", "verdict")


def _cells(judgement: Judgement | None) -> list[str]:
    if judgement is None:
        return [""] * (len(_HEADER) - 1)
    ratio, beside, own = judgement.b_over_a, judgement.beside, judgement.own
    return [
        number_text(*ratio),
        # nothing beside it that tells how far an unchanged block would have moved
        number_text(*beside) if beside.known else "unknown",
        number_text(*own),
        interval_text(*own),
        judgement.verdict,
    ]


def _of_pairs(compared: Compared, pairs: Sequence[CasePair]) -> Body:
    alike = _shared(compared.pairs)
    axes = [axis for axis in AXES if axis not in alike]
    judged = any(pair.judgement for pair in pairs)
    lines = [
        [
            _label(pair.case),
            *(axis_word(_axes(pair.case), axis) for axis in axes),
            _latency(pair.a),
            _latency(pair.b),
            *(_cells(pair.judgement)[: len(_HEADER) - 1] if judged else ()),
            pair.verdict or "",
        ]
        for pair in pairs
    ]
    ratios = _HEADER if judged else ("verdict",)
    return ("block", *axes, "A", "B", *ratios), 1 + len(axes), lines


def _latency(side: Side | None) -> str:
    if side is None:
        return "none"
    if side.status != "ok":
        return side.status
    if side.absolute is None:
        return ""
    return latency_text(*(end / 1e3 for end in side.absolute.latency))


def _label(case: Case) -> str:
    return label_of_key(case.key, case.network.label if case.network else None)


def _shared(pairs: Sequence[CasePair]) -> dict[str, str]:
    """The axes in which all cases are alike, with that value as a word."""
    return shared(_axes(pair.case) for pair in pairs)


def _axes(case: Case) -> dict[str, Any]:
    cells = {name: getattr(case, name) for name in (*_COLUMNS_OF_CASE, "regime", "heap")}
    return {**cells, "threads": case.threads or "auto"}


def _found(compared: Compared) -> Iterator[str]:
    """What failed and which counts changed, in words."""
    found = [*_failures(compared.pairs), *_changes(compared.pairs)]
    yield from found[:NOTES_SHOWN]
    if len(found) > NOTES_SHOWN:
        yield f"and {len(found) - NOTES_SHOWN} more such notes: --format csv has them"
    if compared.pairs and not (found or compared.judged):
        yield "nothing was timed in both runs, and no count that both have differs"


def _causes(compared: Compared) -> Iterator[str]:
    """What makes differences hard to tell: few replicates, and what the machine did."""
    if compared.judged:
        yield _resolution(compared.resolves)
        blind = len(compared.judged) - sum(whole.cells for whole in compared.blocks)
        if blind:
            yield (
                f"{counted(blind, 'cell')} with too few replicates for an interval: in no block, "
                "and no measure of others; --max-time gives more"
            )
    for letter, manifest, timed in _timed_sides(compared):
        seen = of_flags([side.flags for side in timed], manifest)
        yield from (f"{letter}: {line}" for line in (*manifest.warnings, *lines(seen)))


def _rest(compared: Compared) -> Iterator[str]:
    if compared.judged:
        yield (
            "unpaired: A and B were measured at different times; others: what was measured beside "
            "a block moved by; own: B / A over that"
        )
        yield (
            "its interval holds the replicates of both runs and how far unlike things moved apart, "
            "and verdicts ask for more than both A/A intervals"
        )
    for letter, _, timed in _timed_sides(compared):
        flags = in_words(flag for side in timed for flag in side.flags)
        yield from (f"{letter}: {words}" for words in flags)


def _timed_sides(compared: Compared) -> Iterator[tuple[str, Manifest, list[Side]]]:
    """The letter and manifest of each run, and its cases that were timed."""
    sides = [[pair.a for pair in compared.pairs], [pair.b for pair in compared.pairs]]
    for letter, manifest, those in zip("AB", (compared.a, compared.b), sides, strict=True):
        yield letter, manifest, [side for side in those if side and side.absolute]


def _resolution(resolves: float) -> str:
    if resolves == math.inf:
        return (
            "half of the cells or more could tell nothing: too few replicates, or too little "
            "measured beside them (other blocks, at more shapes)"
        )
    return f"in half of the cells a difference must exceed {difference_text(resolves)} to be told"


def _failures(pairs: Sequence[CasePair]) -> Iterator[str]:
    """Failures by their reasons, so that many of one kind are one line."""
    found: Counter[tuple[str, str, str]] = Counter()
    first: dict[tuple[str, str, str], str] = {}
    for pair in pairs:
        for letter, side in (("A", pair.a), ("B", pair.b)):
            if side and side.status != "ok":
                what = letter, str(side.status), side.reason or "no reason was kept"
                found[what] += 1
                first.setdefault(what, _full(pair.case))
    for what, times in found.items():
        letter, status, reason = what
        more = f" and {counted(times - 1, 'more case')}" if times > 1 else ""
        yield f"{status} in {letter}: {first[what]}{more}: {reason}"


def _changes(pairs: Sequence[CasePair]) -> Iterator[str]:
    for pair in pairs:
        for change in pair.changes:
            column = COLUMNS[change.what]
            before, after = (_exact(n, column.unit) for n in (change.before, change.after))
            yield f"{_full(pair.case)}: {column.noun} {before} in A, {after} in B"


def _full(case: Case) -> str:
    return f"{_label(case)} at {'x'.join(map(str, case.shape))}"


def _exact(number: int, unit: Unit | None) -> str:
    return f"{number:,} bytes ({size_text(number)})" if unit == "B" else f"{number:,}"
