"""What trying a case on a GPU tells beside its memory: how it is launched."""

import random
from dataclasses import replace

from gcbench.errors import told
from gcbench.records import Measurement
from gcbench.timing.cuda import CudaClock
from gcbench.timing.launch import device_us, host_us, syncs_inside
from gcbench.workload import Replayed, Workload


def launched(
    work: Workload, measured: Measurement, clock: CudaClock, rng: random.Random
) -> Measurement:
    """Add the time that the host takes to enqueue a call, and that of replaying it from a graph.

    A case that cannot be recorded keeps its row, and says why. One that waits for the device inside
    a call is flagged `syncs_inside`, and `work` told so.
    """
    case = measured.case
    cells, flags, reasons = dict(measured.metrics), measured.flags, [measured.reason]
    work.syncs = syncs_inside(clock, work)
    if work.syncs:
        flags += ("syncs_inside",)
    if case.runtime != "graph":
        cells["host_us"] = host_us(clock, work)
    # a backward pass alone has no graph of its own, and one that synchronises cannot be recorded
    if case.mode != "backward" and not work.syncs:
        try:
            replayed = Replayed(work.elsewhere(rng))
            replayed.settle()
            cells["graph_us"] = device_us(clock, replayed)
        except Exception as error:  # recording runs the block's own code, which may raise anything
            if case.runtime == "graph":
                raise
            reasons.append(f"no CUDA graph could be recorded: {told(error)}")
    reason = "; ".join(filter(None, reasons)) or None
    return replace(measured, metrics=cells, flags=flags, reason=reason)
