"""What commands do with options that several of them have."""

from gcbench.cli import faults
from gcbench.errors import UsageError
from gcbench.report import GENERAL, Format
from gcbench.report.detail import Detail
from gcbench.spec import cases


def settle_heap(wanted: cases.Heap | None) -> None:
    """Make the heap of this process so, before torch is loaded, and say where it cannot be.

    It is steady where nobody says otherwise. From here on it is seen what else the cores do.
    """
    from gcbench.measure import cores
    from gcbench.measure import heap as allocator

    wanted = wanted or "steady"
    cores.begin()
    if allocator.settle(wanted) != wanted:
        faults.info("--heap steady needs glibc: the allocator stays as it is (--heap default)")


def read_detail(verbose: bool, quiet: bool) -> Detail | None:
    """Read how much stands below a table; None leaves it to formats."""
    return Detail.ALL if verbose else Detail.NONE if quiet else None


def read_format(text: str, json: bool) -> Format:
    """Read how a result is written, where --json says it too. Raises UsageError."""
    if json and text not in ("table", "json"):
        raise UsageError(f"--json and --format {text} ask for different things: give one of them")
    return GENERAL["json" if json else text]


def require_kind(devices: tuple[str, ...]) -> None:
    """Make sure that devices are of one kind, as one precision is. Raises UsageError."""
    if len({cases.kind_of(device) for device in devices}) > 1:
        raise UsageError(
            f"--device takes devices of one kind, not {','.join(devices)}: run it for each kind, "
            "or a sweep"
        )
