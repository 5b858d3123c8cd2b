"""What a cluster buys, and what it costs: 40 comparisons on one node and on two, of one CPU each.

    python benchmarks/ray_cluster.py
    python benchmarks/ray_cluster.py --comparisons 40 --seconds 1

The nodes are simulated on this machine, each with a core of its own. Every comparison is timed for
so many seconds, so that the time of a sweep is that of its comparisons and of what lies between
them. That is told apart by a second sweep over the same nodes in which nothing is timed or tried:
the scheduler alone, with lanes that answer at once.
"""

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from gcbench.engines import sweeps
from gcbench.engines.jobs import Job
from gcbench.engines.ray import lanes, pool, sessions
from gcbench.measure import environment
from gcbench.options import config
from gcbench.records import ComparisonRecord, Measurement
from gcbench.spec.grid import Sweep

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@dataclass(frozen=True)
class Took:
    """How long a sweep took from its first lane to its last record, and its comparisons."""

    seconds: float
    comparisons: int


class Answering(lanes.Lane):
    """A lane that tries and times nothing, and tells the board as one that does."""

    def measure(self, job: Job) -> lanes.Reply:
        for case in [*range(len(job.comparison.cases)), None]:
            self._told(self._board.at, case)
        self._told(self._board.end, None)
        found = tuple(Measurement(case, "skipped", "asked") for case in job.comparison.cases)
        return lanes.Reply(ComparisonRecord(found, job.comparison.baselines, 0.02, ()))


def asked(comparisons: int, seconds: float) -> Sweep:
    texts = {
        "blocks": ["gc", "se"],
        "size": [f"7:{6 + comparisons}:1"],
        "channels": ["16"],
        "threads": ["1"],
        # never reached: the time ends every comparison
        "precision": ["0.0001%"],
        "max_time": [f"{seconds}s"],
        "engine": ["ray"],
        "cpus_per_comparison": ["1"],
    }
    return config.make({name: [(name, text) for text in all] for name, all in texts.items()})


def swept(address: str, sweep: Sweep) -> Took:
    """Sweep, and measure from the first record on: nodes and lanes start once, whatever comes."""
    manifest = environment.manifest("ray_cluster", 0)
    first, number = 0.0, 0
    with sessions.opened(sweeps.place_on(sweep, ("cpu",)), address) as cluster:
        for record in sessions.measure(
            cluster,
            manifest,
            {},
            (),
            wait=True,
            allow_mismatch=False,
            tell=print,
            watched=False,
            on_view=lambda view: None,
            ran_out={},
        ):
            assert record.machine
            number += 1
            first = first or time.perf_counter()
    return Took(time.perf_counter() - first, number - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--comparisons", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    sweep = asked(options.comparisons, options.seconds)
    with tempfile.TemporaryDirectory(prefix="gcb-", dir="/tmp") as folder:
        (Path(tempfile.gettempdir()) / "ray").mkdir(exist_ok=True)
        head = {**NODE, "num_cpus": 0, "include_dashboard": False, "temp_dir": folder}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            cluster.add_node(**NODE)
            one = swept(cluster.address, sweep)
            cluster.add_node(**NODE)
            two = swept(cluster.address, sweep)
            pool.Lane = Answering
            none = swept(cluster.address, asked(400, options.seconds))
        finally:
            ray.shutdown()
            cluster.shutdown()
    print(
        f"{one.comparisons} comparisons of {options.seconds:g} s: one node {one.seconds:.1f} s, "
        f"two nodes {two.seconds:.1f} s, {two.seconds / one.seconds:.2f} of that\n"
        f"beside being timed, on one node: {one.seconds / one.comparisons - options.seconds:.3f} s "
        "a comparison, for trying its cases\n"
        f"the scheduler alone: {1e3 * none.seconds / none.comparisons:.1f} ms a comparison"
    )


if __name__ == "__main__":
    main()
