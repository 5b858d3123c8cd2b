"""Where in a network blocks stand."""

from typing import TYPE_CHECKING

from gcbench.records import Cell

if TYPE_CHECKING:
    from gcbench.counting import Subject


def insertion(subject: "Subject") -> dict[str, Cell]:
    """Count the blocks inside a network, and list the modules behind which they stand.

    Empty for a block that stands alone.
    """
    if subject.case.network is None:
        return {"inserted": None, "inserted_at": None}
    # with torchvision, and much of torch's compiler, which no block alone has to load
    from gcbench.networks.measured import Measured

    assert isinstance(subject.module, Measured)
    places = subject.module.places
    return {"inserted": len(places), "inserted_at": " ".join(places)}
