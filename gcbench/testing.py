"""For a user's own tests: hold the relative cost of a block, and fail on what is resolved alone.

from gcbench.testing import assert_no_slower

def test_my_block_costs_no_more_than_gc():
    assert_no_slower(MyBlock(256), than="gc", by=0.05, shape=(1, 256, 56, 56))
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from gcbench.errors import GcbenchError
from gcbench.stats.machine_flags import BUSY
from gcbench.units import NO_INTERVAL

if TYPE_CHECKING:
    from torch import nn

Outcome = Literal["passed", "failed", "skipped"]


def assert_no_slower(
    mine: "str | nn.Module",
    than: "str | nn.Module",
    by: float = 0.05,
    *,
    shape: tuple[int, int, int, int],
    max_time_s: float | None = None,
    seed: int = 0,
    **axes: Any,
) -> None:
    """Assert that a block is not slower than another by more than a share, at (B, C, H, W).

    Blocks are specs or modules; `axes` are those of `gcbench.bench`. Passes where the 95 % interval
    of the relative latency ends below 1 + by. Fails, with an AssertionError, only where all of it
    lies above and the verdict is slower. Otherwise the test is skipped with the reason: the machine
    cannot tell at the moment. Raises GcbenchError where a block fails when it is called.
    """
    __tracebackhide__ = True
    import gcbench

    table = gcbench.bench(
        {"than": than, "mine": mine},
        shape,
        # an interval half as wide as the share can lie on one side of it
        precision=by / 2,
        max_time_s=max_time_s,
        seed=seed,
        progress=False,
        **axes,
    )
    outcome, words = judged(table.iloc[1].to_dict(), table.iloc[0].to_dict(), by)
    if outcome == "failed":
        raise AssertionError(words)
    if outcome == "skipped":
        import pytest

        pytest.skip(words)


def judged(mine: Mapping[Any, Any], than: Mapping[Any, Any], by: float) -> tuple[Outcome, str]:
    """Judge the rows of a block and of the one that it is divided by: an outcome, and why.

    Raises GcbenchError where a block failed when it was called: that is no matter of speed.
    """
    for row in (mine, than):
        if row["status"] in ("error", "crashed"):
            raise GcbenchError(f"{row['spec']} cannot be measured: {row['reason']}")
        if row["status"] != "ok":
            return "skipped", f"{row['spec']} was not measured: {row['status']}, {row['reason']}"
    relative, low, high = (
        math.nan if mine[column] is None else mine[column]
        for column in ("relative", "relative_lo", "relative_hi")
    )
    known = not math.isnan(low)
    interval = f"95 % interval {low:.3f} to {high:.3f}" if known else NO_INTERVAL
    measured = f"{relative:.3f} times as long, {interval}"
    limit = f"the limit is {1 + by:g}"
    seen = f"{mine['flags'] or ''} {than['flags'] or ''}".split()
    busy = [flag for flag in BUSY if flag in seen]
    if busy:
        return "skipped", f"the machine was busy ({', '.join(busy)}): {measured}; {limit}"
    if mine["verdict"] == "untrusted":
        why = "copies of one block differed, or threads waited for a core"
        return "skipped", f"untrusted, as {why}: {measured}; {limit}"
    if high <= 1 + by:
        return "passed", f"{measured}; {limit}"
    if low > 1 + by and mine["verdict"] == "slower":
        return "failed", f"slower: it takes {measured}; {limit}"
    if not known:
        return "skipped", f"unresolved, too few replicates for an interval: {limit}"
    return "skipped", f"unresolved: {measured}; {limit}; more max_time_s may tell"
