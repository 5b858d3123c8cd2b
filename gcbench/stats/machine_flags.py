"""What was unusual about a measurement, in words; above all what the machine did beside it."""

from collections.abc import Sequence

from gcbench.records import ComparisonRecord, Disturbance, Manifest
from gcbench.stats.intervals import CONTENDED, Summary
from gcbench.units import percent_text

# shares of the time, a rate, a change and a factor above which the machine did more than usual
LOW_CPU_SHARE = 0.9
STEAL_SHARE = 0.02
PRESSURE_SHARE = 0.05
SWITCHES_PER_S = 100
LOAD_SHARE = 0.5
DRIFT = 0.10

# flags under which threads waited for cores, so that latencies say little of what was timed
BUSY = ("pressure", "low_cpu_share", "contended", "disturbed")

# flags of what a block's own code does, which are told of the block
OF_BLOCKS = ("sets_back", "not_finite", "nondeterministic")

# flags as the CSV has them, in words, with what to do about them
FLAG_WORDS = {
    "steal": f"the host took more than {percent_text(STEAL_SHARE)} of the time for others "
    "(steal): measure at another hour or on another machine",
    "low_cpu_share": f"the process had under {percent_text(LOW_CPU_SHARE)} of a core "
    "(low_cpu_share): end what else runs, or raise the quota of the container",
    "pressure": f"tasks waited for a core over {percent_text(PRESSURE_SHARE)} of the time "
    "(pressure): latencies are those of a busy machine, so end what else runs, or leave it a core "
    "with a smaller --threads",
    "preempted": f"the process was put off its core over {SWITCHES_PER_S} times a second "
    "(preempted): end what else runs",
    "load": "before the measurement the machine was busy (load): end what else runs, or wait a "
    "minute where it was gcbench itself",
    "drift": f"latencies drifted by more than {percent_text(DRIFT)} (drift): the ratios are paired "
    "and stand it, the latencies are of this moment",
    "contended": f"a median latency is over {CONTENDED:g} times the fastest sample (contended): "
    "threads waited for cores, so free the machine or try a smaller --threads",
    "disturbed": "threads waited for a core while it was timed (disturbed): its latency holds that "
    "wait, and verdicts on it are untrusted; close other programs, or use a smaller --threads",
    "page_faults": "calls paid for page faults (page_faults): the latency depends on what the heap "
    "saw before; --heap steady keeps memory that was freed",
    "throttled": "the device held its clock down (throttled): let it cool, or look at its power "
    "limit; ratios are paired and stand it",
    "launch_exposed": "host too slow to keep the device's queue full (launch_exposed): the latency "
    "holds waiting for the host, and no verdict sets it against one that does not; graph_us is the "
    "device's own",
    "syncs_inside": "a call waits for the device inside (syncs_inside): its latency holds the "
    "host's time too",
    "above_ceiling": "faster than a measured ceiling allows (above_ceiling): a wrong count, peaks "
    "of a busy moment, or data still in a cache; gcbench peaks measures the ceilings again",
    "peaks_busy": "the ceilings were measured while the machine was busy (peaks_busy): floor and "
    "bound rest on ceilings that are too low; gcbench peaks measures them again",
    "not_alone": "another gcbench measured on this device meanwhile (not_alone): "
    "leave --no-wait away",
    "copies_differ": "two copies of one thing differ by more than the precision (copies_differ): "
    "claim nothing; gcbench check tells whether this machine can be believed",
    "tainted": "a case broke this process's use of the device, and there was no other to go on in "
    "(tainted): start anew without it",
    "event_overhead": "over 2 % of a sample is the pair of CUDA events around it "
    "(event_overhead): ratios are pulled towards 1",
    "constant_norm": "one hidden channel makes LayerNorm constant (constant_norm)",
    "counters_disagree": "other counters count other MACs (counters_disagree)",
    "channels_last_places": "channels come last where blocks stand: each is called between two "
    "permutations, which its cost contains (channels_last_places)",
    "sets_back": "its code changes the process that it shares with others, such as the number of "
    "threads (sets_back)",
    "not_finite": "its output holds NaN or infinity (not_finite): is that meant, with these "
    "weights and this dtype?",
    "nondeterministic": "two calls on one input differ (nondeterministic), so its latency may too",
    "value_dependent": "MACs hold for this input: the block branches on values (value_dependent)",
    "baseline_failed": "a baseline was not measured, so nothing is divided by it (baseline_failed)",
}


def was_loaded(manifest: Manifest) -> bool:
    """Whether the load of the minute before was more than a share of the usable cores."""
    load = manifest.load_1min
    return load is not None and load > LOAD_SHARE * manifest.usable_cores


def machine_flags(record: ComparisonRecord, summaries: dict[int, Summary]) -> list[str]:
    """Name what the machine did while a comparison was timed, where it was more than usual."""
    replicates = [replicate for timing in record.timings for replicate in timing.replicates]
    if not replicates:
        return []
    flags = disturbed([r.disturbance for r in replicates], _on_cpu(record))
    if any(r.device and (r.device.throttle or r.device.throttled_rounds) for r in replicates):
        flags.append("throttled")
    if any(abs(summary.drift) > DRIFT for summary in summaries.values()):
        flags.append("drift")
    if any(summary.latency.mid > CONTENDED * summary.minimum for summary in summaries.values()):
        flags.append("contended")
    return flags


def disturbed(seen: Sequence[Disturbance], on_cpu: bool) -> list[str]:
    """Name what stood in a process's way in some stretches of time, where it was more than usual.

    `on_cpu` tells that it wanted a core for itself.
    """
    wall_ns = max(1, sum(d.wall_ns for d in seen))
    flags = []
    if sum(d.steal_ns or 0 for d in seen) > STEAL_SHARE * wall_ns:
        flags.append("steal")
    if sum(d.cpu_ns for d in seen) < LOW_CPU_SHARE * wall_ns and on_cpu:
        flags.append("low_cpu_share")
    if sum(d.pressure_ns or 0 for d in seen) > PRESSURE_SHARE * wall_ns:
        flags.append("pressure")
    if sum(d.involuntary_switches for d in seen) * 1e9 > SWITCHES_PER_S * wall_ns:
        flags.append("preempted")
    return flags


def _on_cpu(record: ComparisonRecord) -> bool:
    return record.measurements[0].case.device == "cpu"
