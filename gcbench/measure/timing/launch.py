"""What stands beside a GPU's own time: how calls are launched, what they launch, what they use."""

import statistics
from contextlib import suppress

from gcbench.measure.timing.clocks import Sample, Work, collector_off
from gcbench.measure.timing.cuda import FIRST_WAIT_NS, CudaClock
from gcbench.records import Queueing

# readings whose median is taken, and the calls of a graph that one of them covers
READINGS, REPLAYS = 20, 10
# CUDA's queue takes some 1020 launches; a call of fewer than this does not fill it
QUEUE_LAUNCHES = 1000
# no kernel takes the device less time, its launch included
LEAST_KERNEL_NS = 500
# parts renew their count of energy some tens of times a second: it is read so long, after so much
# work each time
ENERGY_NS, ENERGY_STEP_NS = 400_000_000, 5_000_000


def queueing(clock: CudaClock, work: Work) -> Queueing:
    """Tell what a call does to a queue that is held: see `Queueing`.

    A call that waits for the device takes as long as the hold: also the second time, when that is
    four times as long as the first call took. So does one that needs more room than the queue has:
    torch sees no wait inside it, and the profiler, which is asked only then since it slows what is
    launched later, tells of as many kernels.
    """
    wait_ns: float = FIRST_WAIT_NS
    with clock.gpu.current():
        for _ in range(2):
            held = clock.held(work, wait_ns)
            if not held.over:
                return "fits"
            wait_ns = 4 * held.host_ns
        work.prepare()
        if clock.gpu.syncs(work.call):
            return "syncs"
        if sum(held.durations_ns) < QUEUE_LAUNCHES * LEAST_KERNEL_NS:
            return "syncs"
        work.prepare()
        with suppress(RuntimeError):  # no profiler: nothing is claimed of the block
            return "fills" if len(clock.gpu.kernels(work.call)) >= QUEUE_LAUNCHES else "syncs"
    return "fills"


def host_us(clock: CudaClock, work: Work) -> float:
    """Median time that the host takes to enqueue one call, in microseconds."""
    taken = []
    with clock.gpu.current(), collector_off():
        for _ in range(READINGS):
            work.prepare()
            clock.gpu.synchronize()
            start_ns = clock.now()
            work.call()
            taken.append(clock.now() - start_ns)
        clock.gpu.synchronize()
    return statistics.median(taken) / 1e3


def device_us(clock: CudaClock, work: Work) -> float:
    """Median time that the device takes for one call on a full queue, in microseconds."""
    calls = REPLAYS if work.repeatable else 1
    reading = clock.time([[Sample(work, calls)]] * READINGS)
    return statistics.median(turns[0] for turns in reading.durations_ns) / calls / 1e3


def energy_mj(clock: CudaClock, work: Work) -> float | None:
    """Energy of one call among many, in millijoules, as the part counts it; static power is in it.

    None where the part does not tell. The count moves in steps, so it is read from one step to a
    later one, while calls follow each other.
    """
    gpu, last = clock.gpu, clock.gpu.energy()
    if last is None:
        return None
    steps: list[tuple[float, int]] = []
    with gpu.current(), collector_off():
        done, calls = 0, 1
        end_ns = clock.now() + ENERGY_NS
        while clock.now() < end_ns:
            start_ns = clock.now()
            for _ in range(calls):
                work.prepare()
                work.call()
            gpu.synchronize()
            done += calls
            call_ns = max(1.0, (clock.now() - start_ns) / calls)
            calls = max(1, round(ENERGY_STEP_NS / call_ns))
            seen = gpu.energy()
            if seen is not None and seen != last:
                steps.append((seen, done))
                last = seen
    if len(steps) < 2:
        return None
    (first_mj, first), (last_mj, behind) = steps[0], steps[-1]
    return (last_mj - first_mj) / (behind - first)
