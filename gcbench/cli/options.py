"""What commands do with options that several of them have."""

from gcbench import cores, spec
from gcbench import heap as allocator
from gcbench.cli import faults
from gcbench.errors import UsageError
from gcbench.formats.detail import Detail


def settle_heap(wanted: spec.Heap | None) -> None:
    """Make the heap of this process so, before torch is loaded, and say where it cannot be.

    It is steady where nobody says otherwise. From here on it is seen what else the cores do.
    """
    wanted = wanted or "steady"
    cores.begin()
    if allocator.settle(wanted) != wanted:
        faults.say("--heap steady needs glibc: the allocator stays as it is (--heap default)")


def read_detail(verbose: bool, quiet: bool) -> dict[str, Detail]:
    """Read how much stands below a table, as an argument for formats; none leaves it to them."""
    return {"detail": Detail.ALL} if verbose else {"detail": Detail.NONE} if quiet else {}


def require_kind(devices: tuple[str, ...]) -> None:
    """Make sure that devices are of one kind, as one precision is. Raises UsageError."""
    if len({spec.kind_of(device) for device in devices}) > 1:
        raise UsageError(
            f"--device takes devices of one kind, not {','.join(devices)}: run it for each kind, "
            "or a sweep"
        )
