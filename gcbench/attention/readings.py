"""What is measured of one call of an attention block, and what many of them say together."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev

import torch
from torch import Tensor

from gcbench.attention.calls import Call
from gcbench.attention.distances import (
    Directions,
    Estimate,
    Moments,
    jensen_shannon,
    sampled_jensen_shannon,
)

# up to so many queries every pair is computed, where all rows fit in so much memory
EXACT_QUERIES, EXACT_BYTES = 1000, 2**28
# above that, so many pairs are drawn for each image
PAIRS = 10_000
# rows that are computed at a time take this much memory in float64
ROW_BYTES = 2**25
# rows computed anew must add what the block added, to this share of it, at so many positions
REPLAYED, REPLAY_TOLERANCE = 8, 1e-2
# z - x has lost the digits of x: what is left must be known to this share of it
ROUNDED = 1e-2

QUANTITIES = (
    "input_cosine",
    "output_cosine",
    "attention_cosine",
    "attention_js",
    "query_share",
    "added_share",
)


@dataclass(frozen=True)
class Reading:
    """The quantities of one call; of what is missing, `reasons` says why.

    `js_half_width` is that of the 99 % interval where pairs were sampled, `js_pairs` how many; both
    are 0 where every pair was computed.
    """

    values: dict[str, float | None]
    reasons: dict[str, str] = field(default_factory=dict)
    js_half_width: float = 0.0
    js_pairs: int = 0


@dataclass(frozen=True)
class Summary:
    """A quantity over images: `reason` says why there is none."""

    mean: float | None
    deviation: float | None = None
    least: float | None = None
    most: float | None = None
    reason: str | None = None


def read(
    call: Call,
    no_distribution: str | None,
    seed: int = 0,
    *,
    exact: int = EXACT_QUERIES,
    pairs: int = PAIRS,
) -> Reading:
    """Measure a call. What takes all pairs does so up to `exact` queries, and samples above."""
    values: dict[str, float | None] = dict.fromkeys(QUANTITIES)
    reasons: dict[str, str] = {}
    for name, vectors in (("input_cosine", call.inputs), ("output_cosine", call.added)):
        values[name], reasons[name] = _cosine(_pieces(call.queries, vectors), "position")
    length = float(call.inputs.double().norm())
    share = values["added_share"] = float(call.added.double().norm()) / length if length else None
    if call.subtracted and share and share < torch.finfo(call.inputs.dtype).eps / ROUNDED:
        values["output_cosine"] = None
        reasons["output_cosine"] = "it adds so little that rounding may have made it"
    wrong = _not_replayed(call)
    estimate, sampled = Estimate(math.nan), 0
    if wrong:
        reasons |= dict.fromkeys(("attention_cosine", "attention_js", "query_share"), wrong)
    else:
        moments = Moments()
        values["attention_cosine"], reasons["attention_cosine"] = _cosine(
            _rows(call, moments), "row"
        )
        values["query_share"] = moments.share()
        if no_distribution:
            reasons["attention_js"] = no_distribution
        else:
            estimate, sampled = _js(call, seed, exact, pairs)
            values["attention_js"] = estimate.mean
    for name, value in values.items():
        if value is not None and not math.isfinite(value):
            values[name], reasons[name] = None, "there are numbers that are not finite"
        elif value is None:
            reasons[name] = reasons.get(name) or "all of it is zero"
    kept = {name: words for name, words in reasons.items() if values[name] is None}
    if values["attention_js"] is None:
        return Reading(values, kept, 0.0, 0)
    return Reading(values, kept, estimate.half_width, sampled)


def _pieces(count: int, vectors: Tensor) -> Iterator[Tensor]:
    step = max(1, ROW_BYTES // (8 * vectors.shape[1]))
    yield from (vectors[start : start + step] for start in range(0, count, step))


def _rows(call: Call, moments: Moments) -> Iterator[Tensor]:
    """Every row, a piece at a time; the moments hear of them in passing."""
    for at in torch.arange(call.queries).split(_step(call)):
        rows = call.rows(at)
        moments.add(rows)
        yield rows


def _step(call: Call) -> int:
    return max(1, ROW_BYTES // (8 * call.heads * call.keys))


def _cosine(pieces: Iterator[Tensor], what: str) -> tuple[float | None, str]:
    directions = Directions()
    for piece in pieces:
        directions.add(piece)
    without = directions.without
    how_many = f"all {without}" if without == directions.seen else f"{without} of {directions.seen}"
    reason = f"{how_many} {what}s are zero and have no direction"
    return directions.distance(), reason if without else ""


def _js(call: Call, seed: int, exact: int, pairs: int) -> tuple[Estimate, int]:
    all_bytes = 8 * call.heads * call.queries * call.keys
    if call.queries <= exact and all_bytes <= EXACT_BYTES:
        pieces = torch.arange(call.queries).split(_step(call))
        return Estimate(jensen_shannon(torch.cat([call.rows(at) for at in pieces], 1))), 0
    return sampled_jensen_shannon(
        call.rows, call.queries, call.keys, pairs, seed, call.heads
    ), pairs


def _not_replayed(call: Call) -> str | None:
    """Say where rows computed anew would not make the block add what it added."""
    if call.replay is None:
        return None
    at = torch.linspace(0, call.queries - 1, min(REPLAYED, call.queries)).round().long()
    there = call.added[at.to(call.added.device)].double()
    here = call.replay(call.rows(at), at).double()
    lost = float(call.inputs.abs().max()) * torch.finfo(call.inputs.dtype).eps * call.subtracted
    apart = float((here - there).abs().max())
    limit = REPLAY_TOLERANCE * float(there.abs().max()) + 8 * lost
    if apart <= limit or not math.isfinite(apart):
        return None
    return (
        "its rows cannot be computed again: those of its kind would add something else "
        f"(apart by {apart:.2g}, where the block adds up to {float(there.abs().max()):.2g})"
    )


def averaged(readings: Sequence[Reading]) -> Reading:
    """Make one reading of those of one image, where a block was given several maps of it."""
    if len(readings) == 1:
        return readings[0]
    found = {name: summary(readings, name, "maps of an image") for name in QUANTITIES}
    return Reading(
        {name: each.mean for name, each in found.items()},
        {name: each.reason for name, each in found.items() if each.reason},
        js_half_width(readings),
        sum(reading.js_pairs for reading in readings),
    )


def summary(readings: Sequence[Reading], name: str, of: str = "images") -> Summary:
    """Put the readings of a quantity together; where one is missing there is no mean.

    `of` is what each of them is a reading of, in a plural.
    """
    missing = [reading.reasons[name] for reading in readings if name in reading.reasons]
    if missing or not readings:
        some = 0 < len(missing) < len(readings)
        where = f" (in {len(missing)} of {len(readings)} {of})" if some else ""
        return Summary(None, reason=f"{missing[0]}{where}" if missing else "it was never called")
    values = [value for reading in readings if (value := reading.values[name]) is not None]
    spread = stdev(values) if len(values) > 1 else None
    return Summary(fmean(values), spread, min(values), max(values))


def js_half_width(readings: Sequence[Reading]) -> float:
    """The half-width of the 99 % interval of a mean over images: what sampling leaves open."""
    halves = [reading.js_half_width for reading in readings]
    return math.sqrt(math.fsum(half**2 for half in halves)) / len(halves)
