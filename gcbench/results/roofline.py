"""What bounds a case, and how far it is from the least time that this machine could need.

Pure arithmetic over what was counted, timed, and measured as ceilings; after Williams, Waterman and
Patterson, "Roofline", CACM 2009.
"""

from typing import Literal, NamedTuple

from gcbench.records import Cell, Measurement, Peaks
from gcbench.runtime import known
from gcbench.spec.cases import ELEMENT_BYTES, Case

Bound = Literal["launch", "memory", "compute", "latency"]

# a case is bound by a ceiling of which it reaches this share
NEAR = 0.4
# and by being launched where the host needs this share of the device's time, or replaying a graph
# makes it so many times as fast
HOST_SHARE, GRAPH_GAIN = 0.9, 1.2
# copies tell of a level where they take so many times as long as the quickest, which is little more
# than a call; of memory where they touch so many times the last cache
BEYOND_A_CALL, BEYOND_THE_CACHE = 2, 4


class Verdict(NamedTuple):
    """What bounds a case. `floor_us` is the least time that it could need; None is unknown."""

    bound: Bound | None
    floor_us: float | None
    floor_fraction: float | None
    above: bool


def peaks_of(case: Case, peaks: tuple[Peaks, ...], threads: int) -> Peaks | None:
    """The ceilings of a case's device and threads; `threads` are those of a case that names none.

    None where they were not measured.
    """
    wanted = (case.threads or threads) if case.device == "cpu" else None
    return next((p for p in peaks if (p.device, p.threads) == (case.device, wanted)), None)


def moved_column(runtime: str) -> str:
    """The column of the bytes that a call moves, by its runtime.

    What a compiler fuses does not move: there the bytes that must move stand for those that do.
    """
    return "min_bytes" if known(runtime).fuses else "traffic_bytes"


def judge(measurement: Measurement, latency_us: float, peaks: Peaks) -> Verdict:
    """Hold a latency in microseconds against the ceilings of its device."""
    case, cells = measurement.case, measurement.metrics
    least_us, compute_us = _compute_us(case, cells, peaks)
    floors = [_memory_us(case, cells, _number(cells, "min_bytes"), peaks), least_us]
    # a floor of which one half is unknown is none
    floor_us = None if None in floors else max(each for each in floors if each is not None)
    memory_us = _memory_us(case, cells, _number(cells, moved_column(case.runtime)), peaks)
    nearest = max(
        [("memory", memory_us or 0.0), ("compute", compute_us or 0.0)], key=lambda each: each[1]
    )
    bound: Bound | None = None
    if _launched(cells, latency_us):
        bound = "launch"
    elif memory_us is not None or compute_us is not None:
        bound = "latency"
        if nearest[1] >= NEAR * latency_us:
            bound = "memory" if nearest[0] == "memory" else "compute"
    return Verdict(
        bound,
        floor_us,
        None if floor_us is None else floor_us / latency_us,
        max(floor_us or 0.0, least_us or 0.0) > latency_us,
    )


def copy_bytes_per_s(peaks: Peaks, working_set_bytes: float) -> float:
    """The most that copies of such a working set, or of a larger one, were seen to move.

    Small ones are slowed by being called at all, so larger ones speak for them too.
    """
    fitting = [rate for size, rate in peaks.copies if size >= working_set_bytes]
    return max(fitting, default=peaks.copies[-1][1])


class Level(NamedTuple):
    """A level of memory: how many bytes it holds, and how many a second copies move within it.

    Memory itself holds an unknown number. The rate is None where no copy told it.
    """

    name: str
    holds_bytes: int | None
    bytes_per_s: float | None


def levels(peaks: Peaks) -> list[Level]:
    """The bandwidth of each level of cache, and of memory, from the copies that fit just there.

    A copy is that of a level where what it touches fits in three quarters of it, and not in the one
    below. One that takes hardly longer than the smallest says how long calls take, and nothing of
    what it moves.
    """
    quickest_s = min((touched / rate for touched, rate in peaks.copies), default=0.0)
    telling = [
        (touched, rate)
        for touched, rate in peaks.copies
        if touched / rate >= BEYOND_A_CALL * quickest_s
    ]
    found, below = [], 0
    for name, holds in peaks.caches:
        rates = [rate for touched, rate in telling if below < touched <= 0.75 * holds]
        found.append(Level(name, holds, max(rates, default=None)))
        below = holds
    rates = [rate for touched, rate in telling if touched >= BEYOND_THE_CACHE * below]
    return [*found, Level("memory", None, max(rates, default=None))]


def _memory_us(
    case: Case, cells: dict[str, Cell], moved_bytes: float | None, peaks: Peaks
) -> float | None:
    """Time to move so many bytes: in the cache where the working set fits and is there."""
    if moved_bytes is None or not peaks.copies:
        return None
    held = ELEMENT_BYTES[case.dtype]
    for side in case.input_shape:
        held *= side
    weights = (_number(cells, "params") or 0.0) * ELEMENT_BYTES[case.dtype]
    us = 1e6 * moved_bytes / copy_bytes_per_s(peaks, 2 * held + weights)
    if case.cache == "cold":
        # the input and the weights come from memory; what is written may stay in the cache
        us = max(us, 1e6 * (held + weights) / peaks.copies[-1][1])
    return us


def _compute_us(
    case: Case, cells: dict[str, Cell], peaks: Peaks
) -> tuple[float | None, float | None]:
    """Time that the MACs of a call need: on the fastest road of all, and each kind on its own.

    Libraries may do convolutions faster than products of matrices, or the other way round.
    """
    macs, convolved = _number(cells, "call_macs"), _number(cells, "call_conv_macs") or 0.0
    product_rate = peaks.product_flops_per_s.get(case.dtype)
    conv_rate = peaks.convolution_flops_per_s.get(case.dtype)
    best = peaks.best(case.dtype)
    if macs is None or not product_rate or not conv_rate or not best or not best.flops_per_s:
        return None, None
    apart_us = 2e6 * ((macs - convolved) / product_rate + convolved / conv_rate)
    return 2e6 * macs / best.flops_per_s, apart_us


def _launched(cells: dict[str, Cell], latency_us: float) -> bool:
    host_us, graph_us = _number(cells, "host_us"), _number(cells, "graph_us")
    if host_us is None:
        return False
    if host_us >= HOST_SHARE * latency_us:
        return True
    return graph_us is not None and max(host_us, latency_us) >= GRAPH_GAIN * graph_us


def _number(cells: dict[str, Cell], name: str) -> float | None:
    cell = cells.get(name)
    return float(cell) if isinstance(cell, int | float) else None
