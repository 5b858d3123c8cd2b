"""What stands beside a GPU's own time: the host's time to enqueue a call, and a graph's replay."""

import statistics

from gcbench.timing.clocks import Sample, Work, collector_off
from gcbench.timing.cuda import FIRST_WAIT_NS, CudaClock

# readings whose median is taken, and the calls of a graph that one of them covers
READINGS, REPLAYS = 20, 10


def syncs_inside(clock: CudaClock, work: Work) -> bool:
    """Tell whether a call waits for the device.

    While the stream is held, such a call takes as long as the hold: also the second time, when that
    is four times as long as the first call took.
    """
    wait_ns: float = FIRST_WAIT_NS
    with clock.gpu.current():
        for _ in range(2):
            work.prepare()
            clock.gpu.synchronize()
            wait = clock.waiter.wait(wait_ns)
            start_ns = clock.now()
            work.call()
            host_ns, over = clock.now() - start_ns, wait.over
            clock.gpu.synchronize()
            if not over:
                return False
            wait_ns = 4 * host_ns
    return True


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
