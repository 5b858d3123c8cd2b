"""What was unusual about a measurement, in words; above all what the machine did beside it."""

from gcbench.records import ComparisonRecord, Manifest
from gcbench.statistics import Summary
from gcbench.units import percent_text

# shares of the time, a rate, a change and a factor above which the machine did more than usual
LOW_CPU_SHARE = 0.9
STEAL_SHARE = 0.02
PRESSURE_SHARE = 0.05
SWITCHES_PER_S = 100
LOAD_SHARE = 0.5
DRIFT = 0.10
CONTENDED = 3.0

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
    "not_alone": "another gcbench measured on this device meanwhile (not_alone): "
    "leave --no-wait away",
    "copies_differ": "two copies of one thing differ by more than the precision (copies_differ): "
    "claim nothing; gcbench check tells whether this machine can be believed",
    "constant_norm": "one hidden channel makes LayerNorm constant (constant_norm)",
    "counters_disagree": "fvcore and torch count different MACs (counters_disagree)",
    "baseline_failed": "a baseline was not measured, so nothing is divided by it (baseline_failed)",
}


def was_loaded(manifest: Manifest) -> bool:
    """Whether the load of the minute before was more than a share of the usable cores."""
    load = manifest.load_1min
    return load is not None and load > LOAD_SHARE * manifest.usable_cores


def machine_flags(record: ComparisonRecord, summaries: dict[int, Summary]) -> list[str]:
    """Name what the machine did while a comparison was timed, where it was more than usual."""
    seen = [r.disturbance for timing in record.timings for r in timing.replicates]
    if not seen:
        return []
    wall_ns = max(1, sum(d.wall_ns for d in seen))
    flags = []
    if sum(d.steal_ns or 0 for d in seen) > STEAL_SHARE * wall_ns:
        flags.append("steal")
    if sum(d.cpu_ns for d in seen) < LOW_CPU_SHARE * wall_ns and _on_cpu(record):
        flags.append("low_cpu_share")
    if sum(d.pressure_ns or 0 for d in seen) > PRESSURE_SHARE * wall_ns:
        flags.append("pressure")
    if sum(d.involuntary_switches for d in seen) * 1e9 > SWITCHES_PER_S * wall_ns:
        flags.append("preempted")
    if any(abs(summary.drift) > DRIFT for summary in summaries.values()):
        flags.append("drift")
    if any(summary.latency.mid > CONTENDED * summary.minimum for summary in summaries.values()):
        flags.append("contended")
    return flags


def _on_cpu(record: ComparisonRecord) -> bool:
    return record.measurements[0].case.device == "cpu"
