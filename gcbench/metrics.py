"""The table of what is counted of a case before it is timed.

A metric is a function in a file of its own under `gcbench/measure/counting/`: it takes a
`gcbench.measure.counting.Subject` and returns the cells of the columns that its line declares here.
All that knows of columns reads them from here: those that the CSV's order (`gcbench.columns`) does
not name come last in it.
"""

from dataclasses import dataclass

from gcbench.column import Column
from gcbench.registry import Entry, Registry


@dataclass(frozen=True)
class Metric(Entry):
    """A line of the table: the entry, and the CSV columns that the metric fills."""

    fills: tuple[Column, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its columns."""
        return tuple(column.name for column in self.fills)


METRICS: Registry[Metric] = Registry(
    "metric",
    (
        Metric(
            "parameters",
            "gcbench.measure.counting.parameters:parameters",
            "parameters of the module that is called, trainable or not",
            (
                Column(
                    "params",
                    int,
                    "parameters, trainable or not",
                    unit="parameters",
                    title="parameters",
                ),
            ),
        ),
        Metric(
            "macs",
            "gcbench.measure.counting.macs:macs",
            "multiply-accumulates of one forward pass, and what was not counted",
            (
                Column(
                    "macs",
                    int,
                    "multiply-accumulates of one forward pass whatever the mode",
                    unit="MACs",
                    title="MACs of one forward pass",
                    short="MACs",
                ),
                Column("macs_counter", str, "who counted macs: gcbench, fvcore, torch or formula"),
                Column(
                    "uncounted_ops",
                    str,
                    "operators without MACs; empty where nothing was run for the count",
                ),
                Column(
                    "uncounted_products",
                    str,
                    "those of uncounted_ops that may multiply matrices all the same; not in macs",
                ),
                Column(
                    "macs_fvcore",
                    int,
                    "MACs by fvcore, where it was asked and could say",
                    unit="MACs",
                ),
                Column(
                    "macs_torch",
                    int,
                    "MACs by torch's counter, where it was asked and could say",
                    unit="MACs",
                ),
            ),
        ),
        Metric(
            "bytes",
            "gcbench.measure.counting.compulsory:compulsory",
            "bytes that any implementation of the function must move",
            (
                Column(
                    "min_bytes",
                    int,
                    "bytes that any implementation of a forward pass must move "
                    "(3 B C N elements, and the weights)",
                    unit="B",
                    title="bytes that any implementation must move",
                ),
            ),
        ),
        Metric(
            "memory",
            "gcbench.measure.counting.memory:memory",
            "peak bytes alive during one call, predicted where it is not measured",
            (
                Column(
                    "peak_memory_bytes",
                    int,
                    "the most bytes alive in one call",
                    unit="B",
                    title="peak memory",
                ),
                Column(
                    "activation_memory_bytes",
                    int,
                    "peak_memory_bytes less weights, buffers, input and the gradient given",
                    unit="B",
                    title="memory of activations",
                ),
                Column(
                    "memory_source",
                    str,
                    "how memory is known: measured, predicted on the meta device, or by formula",
                ),
            ),
        ),
        Metric(
            "traffic",
            "gcbench.measure.counting.traffic:traffic",
            "MACs and bytes of one call in its own mode, operator by operator",
            (
                Column(
                    "call_macs",
                    int,
                    "MACs of one call in its own mode, a backward pass included",
                    unit="MACs",
                    title="MACs of one call",
                ),
                Column(
                    "call_conv_macs",
                    int,
                    "those of call_macs that convolutions make",
                    unit="MACs",
                    title="MACs of one call in convolutions",
                ),
                Column(
                    "traffic_bytes",
                    int,
                    "what the operators of one call read and write, each by itself",
                    unit="B",
                    title="bytes that the operators of a call read and write",
                ),
            ),
        ),
        Metric(
            "insertion",
            "gcbench.measure.counting.insertion:insertion",
            "blocks inside a network, the modules where they stand, and what stood there before",
            (
                Column("inserted", int, "how many blocks are inside a network"),
                Column("inserted_at", str, "the modules of the network where they stand"),
                Column(
                    "replaced", str, "what stood in the network before blocks came in its place"
                ),
            ),
        ),
    ),
)
