"""Where in a network blocks stand, and what stood there."""

from collections import Counter
from typing import TYPE_CHECKING

from gcbench.records import Cell

if TYPE_CHECKING:
    from gcbench.measure.counting import Subject


def insertion(subject: "Subject") -> dict[str, Cell]:
    """Count the blocks in what is measured of a network, and list the modules where they stand.

    `replaced` names what stood there before, where blocks came in its place. Empty for a block that
    stands alone. Flags where a block is called between permutations.
    """
    if subject.case.network is None:
        return dict.fromkeys(("inserted", "inserted_at", "replaced"))
    # with torchvision, and much of torch's compiler, which no block alone has to load
    from gcbench.networks.measured import Measured
    from gcbench.networks.with_block import inserted

    assert isinstance(subject.module, Measured)
    put = subject.module.put
    if any(each.last for each in put):
        subject.flags.append("channels_last_places")
    went = Counter(each.went for each in put if each.went)
    return {
        "inserted": sum(1 for _ in inserted(subject.module)),
        "inserted_at": " ".join(each.path for each in put),
        "replaced": ", ".join(f"{number} {name}" for name, number in went.items()) or None,
    }
