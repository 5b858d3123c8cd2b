"""The variants of a network that fit into an added latency, as a table for people."""

import math
from collections.abc import Sequence

from gcbench.analysis.within import Setting
from gcbench.report.document import Layout
from gcbench.units import count_text, counted, percent_text


def layout(settings: Sequence[Setting], share: float) -> Layout:
    """Lay out every variant, the quickest first."""
    fitting = [each for each in settings if each.fits == "yes"]
    unclear = [each for each in settings if each.fits == "unresolved"]
    most = max(fitting, key=lambda each: (each.params, each.macs), default=None)
    said = [
        f"{len(fitting)} of {counted(len(settings), 'variant')} add at most {percent_text(share)} "
        "of the plain network's latency"
    ]
    if unclear:
        said.append(f"{len(unclear)} unresolved: a longer --max-time narrows their intervals")
    return Layout(
        heading=["; ".join(said)],
        header=["variant", "added latency", "95 % interval", "+params", "+MACs", "within", "best"],
        labels=1,
        lines=[_line(each) for each in settings],
        notes=[
            "best: no other variant adds as many parameters and MACs in less time",
            *([f"most parameters within: {most.name}"] if most else []),
        ],
    )


def _line(setting: Setting) -> list[str]:
    low, high = (_signed(end) for end in (setting.lo, setting.hi))
    return [
        setting.name,
        _signed(setting.added),
        f"{low} to {high}" if low and high else "no interval",
        count_text(setting.params),
        count_text(setting.macs),
        setting.fits,
        "best" if setting.is_best else "",
    ]


def _signed(share: float | None) -> str:
    return "" if share is None or not math.isfinite(share) else f"{100 * share:+.1f} %"
