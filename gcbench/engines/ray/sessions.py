"""A sweep on a cluster, from the connection to the last record."""

import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from gcbench.engines import sweeps
from gcbench.engines.measuring import Budget
from gcbench.engines.ray import shipping
from gcbench.engines.ray.connecting import connected
from gcbench.engines.ray.lanes import Terms
from gcbench.engines.ray.nodes import Node, alive, default_device, require_lanes
from gcbench.engines.ray.pool import NoLaneError, RayPool
from gcbench.engines.ray.spreading import Dealer, spread
from gcbench.measure.timing.replicates import Progress
from gcbench.records import ComparisonRecord, Manifest, Measurement, Status
from gcbench.spec.cases import Case, Comparison
from gcbench.spec.grid import ResolvedSweep

Log = Callable[[str], None]

__all__ = ["Cluster", "NoLaneError", "View", "measure", "opened"]


@dataclass(frozen=True)
class View:
    """How far a sweep is: comparisons so far known of, and what lanes do, by their names.

    Of each the first case of its comparison, and how far that is, where it is known.
    """

    total: int
    doing: Mapping[str, tuple[Case, Progress | None]]


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process is connected to, and what a sweep is on it."""

    place: ResolvedSweep
    nodes: tuple[Node, ...]

    @property
    def lanes(self) -> int:
        """How many comparisons are measured at once, where all nodes are free and fit."""
        asked = self.place.sweep
        device = self.place.devices[0]
        return sum(node.lanes(device, asked.cpus_per_comparison) for node in self.nodes)

    def lines(self) -> Iterator[str]:
        """Say of each node what it would measure at once, in words."""
        cpus = self.place.sweep.cpus_per_comparison
        for node in self.nodes:
            each = [f"{node.lanes(d, cpus)} at once on {d}" for d in self.place.devices]
            yield (
                f"node         {node.host}: {', '.join(each)}; {node.cpus} CPUs, {node.gpus} GPUs"
            )


@contextmanager
def opened(place: ResolvedSweep, address: str | None) -> Iterator[Cluster]:
    """Connect to the cluster that is to measure a sweep; where it names no device, to choose one.

    Raises UsageError where the cluster cannot be had, or none of its nodes has what the sweep asks
    for.
    """
    asked = place.sweep
    named = [name for name in (*asked.blocks, asked.baseline) if name is not None]
    with tempfile.TemporaryDirectory(prefix="gcbench-") as folder:
        files = Path(folder) if shipping.ship(named, Path(folder)) else None
        with connected(address, files):
            import ray

            nodes = tuple(alive(ray.nodes()))
            devices = asked.device or (default_device(nodes),)
            require_lanes(nodes, devices, asked.cpus_per_comparison)
            yield Cluster(replace(place, devices=devices), nodes)


def measure(
    cluster: Cluster,
    manifest: Manifest,
    statuses: Mapping[str, Status],
    retry: Collection[Status],
    *,
    wait: bool,
    allow_mismatch: bool,
    tell: Log,
    watched: bool,
    on_view: Callable[[View], None],
    ran_out: Mapping[str, Iterable[Measurement]],
) -> Iterator[ComparisonRecord]:
    """Measure what is due on a cluster, one device after the other; yield records as they come.

    `ran_out` are cases of the same sweep that ran out of memory before, by node. `on_view` hears
    now and then how far lanes are, in detail where that is `watched`. Raises NoLaneError where no
    lane is left.
    """
    asked = cluster.place.sweep
    dues = {
        device: partial(_due_on, device, cluster.place, statuses, retry)
        for device in cluster.place.devices
    }
    later = {device: sweeps.extent(due(kind=None)).comparisons for device, due in dues.items()}
    budget, before = Budget(asked.budget_s, sum(later.values())), 0
    for device, due in dues.items():
        # its dealer counts them, for each kind of device where every kind measures all
        budget.expect(-later.pop(device))
        beside = before + sum(later.values())
        switches = (asked.tf32, asked.heap or "steady")
        terms = Terms(device, 0, asked.seed, asked.timeout_s, *switches, wait, watched)
        dealer = Dealer(asked, due, budget, tell, ran_out)
        with RayPool(terms, asked.cpus_per_comparison, manifest, allow_mismatch, tell) as pool:

            def look(dealer: Dealer = dealer, pool: RayPool = pool, beside: int = beside) -> None:
                on_view(View(beside + dealer.total, pool.doing()))

            yield from spread(dealer, pool, look)
        before += dealer.total
        if dealer.ended:
            return


def _due_on(
    device: str,
    place: ResolvedSweep,
    statuses: Mapping[str, Status],
    retry: Collection[Status],
    *,
    kind: str | None,
) -> Iterator[Comparison]:
    due = sweeps.due(place, statuses, retry, kind)
    return (comparison for comparison in due if comparison.device == device)
