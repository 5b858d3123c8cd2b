"""The table of charts. Each is one file with a function `draw`, and one line here.

It takes what is drawn and returns an Altair chart; what one axis varies over, where labels go and
what stands around a picture is shared (`varying.py`, `labels.py`, `framing.py`, `words.py`).
"""

from gcbench.registry import Entry, Registry

CHARTS: Registry[Entry] = Registry(
    "chart",
    (
        Entry("latency", "gcbench.plots.latency:draw", "latency against what varies"),
        Entry("relative", "gcbench.plots.relative:draw", "latency over that of the baseline"),
        Entry("memory", "gcbench.plots.memory:draw", "peak memory"),
        Entry("macs", "gcbench.plots.macs:draw", "multiply-accumulates"),
        Entry("ratio", "gcbench.plots.ratio:draw", "what the bottleneck ratio changes"),
        Entry("roofline", "gcbench.plots.roofline:draw", "MACs a second below measured ceilings"),
    ),
)
