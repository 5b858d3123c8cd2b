"""Every column of the CSV of cases, in its order.

Each is declared once: here, or on the line of the metric that fills it (`gcbench.metrics`), which
is named here at its place. A metric whose columns are not named here has them last.
"""

from collections.abc import Iterable, Iterator

from gcbench.column import MOST, Column
from gcbench.metrics import METRICS
from gcbench.runtime import NAMES as RUNTIMES

# quantiles of the samples, in percent, so that ranks are exact
QUANTILES = (50, 90, 99)
QUANTILE_COLUMNS = tuple(f"latency_us_p{percent}" for percent in QUANTILES)

# a name alone is a column of a metric
_ORDER: tuple[Column | str, ...] = (
    Column("run", str, "the run's name"),
    Column("key", str, "the case's identity", of_case=True),
    Column("block", str, "the name of the block, without options", of_case=True),
    Column("spec", str, "the canonical block spec", of_case=True),
    Column("batch", int, "the batch size", of_case=True),
    Column("channels", int, "channels C", of_case=True),
    Column("height", int, "height H of the map", of_case=True),
    Column("width", int, "width W of the map", of_case=True),
    Column("ratio", int, "the bottleneck ratio; empty where the block has none", of_case=True),
    Column("dtype", str, "the dtype of weights and input", of_case=True),
    Column("device", str, "where it ran: cpu, cuda:0", of_case=True),
    Column("device_name", str, "what the device calls itself"),
    Column("node", str, "the host"),
    Column("layout", str, "contiguous or channels_last", of_case=True),
    Column("mode", str, "infer, train or backward", of_case=True),
    Column("runtime", str, f"how it ran: {', '.join(RUNTIMES)}", of_case=True),
    Column("cache", str, "warm or cold", of_case=True),
    Column("threads", int, "threads of the call", of_case=True),
    Column("seed", int, "the seed of weights, inputs and order"),
    Column("status", str, "ok, oom, timeout, error, crashed, skipped"),
    Column("reason", str, "why something failed, in words"),
    *("params", "macs"),
    Column("flops", int, "2 x macs, exactly", unit="FLOPs", title="FLOPs of one forward pass"),
    *("macs_counter", "uncounted_ops", "min_bytes"),
    Column(
        "latency_us",
        float,
        "microseconds per call, the median over replicates",
        unit="us",
        title="latency, median",
        short="latency",
        digits_of="latency_us",
    ),
    Column(
        "latency_us_lo",
        float,
        "low end of the 95 % interval of latency_us",
        unit="us",
        title="latency, low end of the 95 % interval",
        digits_of="latency_us",
    ),
    Column(
        "latency_us_hi",
        float,
        "high end of the 95 % interval of latency_us",
        unit="us",
        title="latency, high end of the 95 % interval",
        digits_of="latency_us",
    ),
    Column(
        "latency_us_min",
        float,
        "microseconds per call, the least sample",
        unit="us",
        title="latency, least sample",
        digits_of="latency_us",
    ),
    Column("replicates", int, "replicates that latency_us rests on"),
    Column("samples", int, "samples that latency_us rests on"),
    Column("calls_per_sample", int, "calls in each sample; empty where processes differ in it"),
    Column("stopped_by", str, "what ended the timing: precision, time or interrupt"),
    Column("discarded_rounds", int, "CUDA: whole rounds thrown away and timed again"),
    Column(
        "compile_ms",
        float,
        "first call less the second, where the runtime is compile and the first is slower",
        unit="ms",
        title="first call less the second, to compile",
    ),
    Column("baseline", str, "the baseline's key"),
    Column(
        "relative",
        float,
        "latency over that of the baseline, paired within replicates",
        title="latency relative to the baseline; below 1 is faster",
        short="relative latency",
        digits_of="relative",
    ),
    Column("relative_lo", float, "low end of the 95 % interval of relative"),
    Column("relative_hi", float, "high end of the 95 % interval of relative"),
    Column("verdict", str, "what the intervals of relative and of A/A allow to say"),
    Column("aa_lo", float, "low end of the A/A interval that the verdict was held against"),
    Column("aa_hi", float, "high end of the A/A interval"),
    Column(
        "copies",
        float,
        "latency over that of one clone of the input",
        unit="times",
        title="latency over that of a copy of the input",
    ),
    Column(
        "host_us",
        float,
        "CUDA: the host's time to enqueue a call",
        unit="us",
        title="time that the host needs for a call",
    ),
    Column(
        "graph_us",
        float,
        "CUDA: a call replayed from a CUDA graph",
        unit="us",
        title="latency replayed from a graph",
    ),
    Column("bound", str, "what bounds the latency: launch, memory, compute or latency"),
    Column(
        "floor_us",
        float,
        "the least time that the machine could need",
        unit="us",
        title="least possible time",
    ),
    Column(
        "floor_fraction",
        float,
        "floor_us over latency_us",
        unit="share",
        title="share of the least possible time in the latency",
    ),
    *("peak_memory_bytes", "activation_memory_bytes"),
    Column(
        "flags",
        str,
        "words for what was special, listed below this table",
    ),
    Column("gcbench_version", str, "the version of gcbench that measured"),
    Column("torch_version", str, "the version of torch that it measured with"),
    Column("comparison", int, "the comparison's number in its run"),
    Column("pair", str, "the paired axis, where there is one"),
    Column("processes", int, "how many fresh processes measured it"),
    Column(
        "saved_memory_bytes",
        int,
        "what a forward pass keeps for the backward pass beside weights, input and output",
        unit="B",
        title="memory saved for the backward pass",
    ),
    *("memory_source", "call_macs", "call_conv_macs", "traffic_bytes"),
    Column("peaks", str, "the name of the measured ceilings that floor and bound rest on"),
    Column("network", str, "inside a network: its spec"),
    *("inserted", "inserted_at"),
    Column(
        "params_added",
        int,
        "parameters that blocks add to the plain network",
        unit="parameters",
        least=-MOST,
    ),
    Column(
        "macs_added", int, "MACs that blocks add to the plain network", unit="MACs", least=-MOST
    ),
    Column(
        "images_per_s",
        float,
        "batch over latency; empty in mode backward, which no image goes through",
        unit="images/s",
        title="images per second",
    ),
    Column("started", str, "when the run was begun, in UTC"),
    Column(
        "event_pair_us",
        float,
        "CUDA: what a pair of events around nothing reads; it is in every sample",
        unit="us",
        title="a pair of events around nothing",
    ),
    Column(
        "kernels_per_call",
        int,
        "CUDA, with `-v`: how many kernels, copies and fills a call launches",
    ),
    Column(
        "top_kernels",
        str,
        "CUDA, with `-v`: the longest of these, with their number and microseconds",
    ),
    Column(
        "energy_mj",
        float,
        "CUDA: energy of a call while calls follow each other, static power included; empty where "
        "NVML has no counter, and for backward",
        unit="mJ",
    ),
    Column(
        "reserved_memory_bytes",
        int,
        "CUDA: what torch's caching allocator takes from the device for the case alone and one "
        "call of it: whole segments",
        unit="B",
        title="memory that the allocator takes",
    ),
    Column(
        "regime",
        str,
        "burst or sustained: whether the device rests between bursts of timing",
        of_case=True,
    ),
    *("uncounted_products", "macs_fvcore", "macs_torch"),
    *(
        Column(
            name,
            float,
            f"the least that {percent} % of all samples of the row do not exceed",
            unit="us",
            title=f"latency, {'median' if percent == 50 else f'{percent}th percentile'} of the "
            "samples",
            digits_of="latency_us",
        )
        for name, percent in zip(QUANTILE_COLUMNS, QUANTILES, strict=True)
    ),
    Column(
        "heap",
        str,
        "steady where freed memory was kept, default where the C allocator did as it does: of the "
        "run, or of a case that has its own",
        of_case=True,
    ),
    Column(
        "minor_faults",
        float,
        "minor page faults of a call, the median over replicates",
        title="minor page faults of a call",
    ),
    Column(
        "waited_fraction",
        float,
        "the share of its samples in which threads waited for a core",
        unit="share",
        title="share of the samples in which threads waited for a core",
    ),
    "replaced",
    Column(
        "export_s",
        float,
        "seconds in which the module was exported, where the runtime is not torch's own",
        unit="s",
        title="time to export",
    ),
    Column(
        "load_ms",
        float,
        "milliseconds in which the runtime first loaded what was exported",
        unit="ms",
        title="time to load what was exported",
    ),
)


def _columns() -> Iterator[Column]:
    filled = [column for metric in METRICS for column in metric.fills]
    by_name = {column.name: column for column in filled}
    yield from (by_name[each] if isinstance(each, str) else each for each in _ORDER)
    yield from (column for column in filled if column.name not in _ORDER)


def _by_name(columns: Iterable[Column]) -> dict[str, Column]:
    """Put columns into a table. Raises ValueError where two carry one name."""
    table: dict[str, Column] = {}
    for column in columns:
        if column.name in table:
            raise ValueError(f"two columns are named {column.name!r}")
        table[column.name] = column
    return table


COLUMNS = _by_name(_columns())
