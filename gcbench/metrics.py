"""The table of what is counted of a case before it is timed.

A metric is a function in a file of its own under `gcbench/counting/`: it takes a
`gcbench.counting.Subject` and returns the cells of the columns that its line names here. The
columns reach the CSV by this table alone: those that the CSV's fixed order does not name come last.
"""

from dataclasses import dataclass

from gcbench.registry import Entry, Registry


@dataclass(frozen=True)
class Metric(Entry):
    """A line of the table: the entry, and the CSV columns that the metric fills."""

    columns: tuple[str, ...]


METRICS: Registry[Metric] = Registry(
    "metric",
    (
        Metric(
            "parameters",
            "gcbench.counting.parameters:parameters",
            "parameters of the module that is called, trainable or not",
            ("params",),
        ),
        Metric(
            "macs",
            "gcbench.counting.macs:macs",
            "multiply-accumulates of one forward pass, and what was not counted",
            (
                *("macs", "macs_counter", "uncounted_ops"),
                *("uncounted_products", "macs_fvcore", "macs_torch"),
            ),
        ),
        Metric(
            "bytes",
            "gcbench.counting.compulsory:compulsory",
            "bytes that any implementation of the function must move",
            ("min_bytes",),
        ),
        Metric(
            "memory",
            "gcbench.counting.memory:memory",
            "peak bytes alive during one call, predicted where it is not measured",
            ("peak_memory_bytes", "activation_memory_bytes", "memory_source"),
        ),
        Metric(
            "traffic",
            "gcbench.counting.traffic:traffic",
            "MACs and bytes of one call in its own mode, operator by operator",
            ("call_macs", "call_conv_macs", "traffic_bytes"),
        ),
        Metric(
            "insertion",
            "gcbench.counting.insertion:insertion",
            "blocks inside a network, the modules where they stand, and what stood there before",
            ("inserted", "inserted_at", "replaced"),
        ),
    ),
)
