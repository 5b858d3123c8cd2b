"""The nodes of a cluster: which can measure, and in words why the others cannot. No Ray here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gcbench.errors import UsageError
from gcbench.records import Manifest
from gcbench.units import counted


@dataclass(frozen=True)
class Node:
    """A node as Ray lists it: its number, the host's name, and what it has."""

    id: str
    host: str
    cpus: int
    gpus: int

    def lanes(self, device: str, cpus: int | None) -> int:
        """How many comparisons fit beside each other; of a CPU all is taken, unless `cpus` is."""
        if device == "cpu":
            return self.cpus // cpus if cpus else min(self.cpus, 1)
        return min(self.gpus, self.cpus // (cpus or 1))


@dataclass(frozen=True)
class Installed:
    """What a node has installed; None where it is not."""

    gcbench: str | None
    torch: str | None


def alive(listed: Iterable[Mapping[str, Any]]) -> list[Node]:
    """Read Ray's list of nodes."""
    return [
        Node(
            each["NodeID"],
            each["NodeManagerHostname"] or each["NodeManagerAddress"],
            int(each["Resources"].get("CPU", 0)),
            int(each["Resources"].get("GPU", 0)),
        )
        for each in listed
        if each["Alive"]
    ]


def named(node: Node, taken: Mapping[str, str]) -> str:
    """Name a node by its host; where another node has that name, by Ray's number for it too.

    `taken` says which number has a name.

    >>> named(Node("ab12cd34", "box", 1, 0), {"box": "99"})
    'box/ab12cd'
    """
    return node.host if taken.get(node.host, node.id) == node.id else f"{node.host}/{node.id[:6]}"


def unfit(installed: Installed, wanted: Manifest, allow_mismatch: bool) -> str | None:
    """Say why a node is not used, where it is not.

    Jobs and records pass between gcbench here and gcbench there: they must be one version. Another
    torch gives other latencies under the same key, which only a person may allow; how torch was
    built (`+cu128`) may differ, as it does between a laptop and its cluster.
    """
    torch = wanted.versions["torch"] or ""
    if installed.gcbench is None:
        return f"gcbench is not installed there (pip install gcbench=={wanted.gcbench_version})"
    if installed.torch is None:
        return f"torch is not installed there (pip install torch=={_public(torch)})"
    if installed.gcbench != wanted.gcbench_version:
        return f"it has gcbench {installed.gcbench}, and this is {wanted.gcbench_version}"
    if _public(installed.torch) != _public(torch) and not allow_mismatch:
        return f"it has torch {installed.torch}, and the run {torch} (--allow-mismatch uses it)"
    return None


def _public(version: str) -> str:
    return version.partition("+")[0]


def default_device(nodes: Sequence[Node]) -> str:
    """The accelerator if any node has one, else the CPU."""
    return "cuda" if any(node.gpus for node in nodes) else "cpu"


def require_lanes(nodes: Sequence[Node], devices: Sequence[str], cpus: int | None) -> None:
    """Make sure that each device can be measured somewhere. Raises UsageError."""
    most = max((node.cpus for node in nodes), default=0)
    if cpus is not None and cpus > most:
        raise UsageError(
            f"--cpus-per-comparison {cpus}: the largest of {counted(len(nodes), 'node')} has "
            f"{most} CPUs"
        )
    for device in devices:
        if device.startswith("cuda:"):
            raise UsageError(
                f"--device {device}: with --engine ray it is cpu or cuda, and each comparison has "
                "a GPU for itself"
            )
        if not any(node.lanes(device, cpus) for node in nodes):
            raise UsageError(
                f"--device {device}: no node of the cluster ({len(nodes)}) has "
                f"{_needed(device, cpus)} for Ray"
            )


def _needed(device: str, cpus: int | None) -> str:
    each = f"{cpus or 1} CPUs" if (cpus or 1) > 1 else "a CPU"
    return each if device == "cpu" else f"a GPU and {each}"
