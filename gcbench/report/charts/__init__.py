"""The table of charts. Each is one function, in a file of its own or in `values.py`, and one line.

It takes what is drawn and returns an Altair chart; what one axis varies over, where labels go and
what stands around a picture is shared (`varying.py`, `labels.py`, `framing.py`, `words.py`).
"""

from gcbench.registry import Entry, Registry

CHARTS: Registry[Entry] = Registry(
    "chart",
    (
        Entry("latency", "gcbench.report.charts.values:latency", "latency against what varies"),
        Entry(
            "relative", "gcbench.report.charts.values:relative", "latency over that of the baseline"
        ),
        Entry("memory", "gcbench.report.charts.values:memory", "peak memory"),
        Entry("macs", "gcbench.report.charts.values:macs", "multiply-accumulates"),
        Entry("ratio", "gcbench.report.charts.ratio:draw", "what the bottleneck ratio changes"),
        Entry(
            "roofline",
            "gcbench.report.charts.roofline:draw",
            "MACs a second below measured ceilings",
        ),
    ),
)
