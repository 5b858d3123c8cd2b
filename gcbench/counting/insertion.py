"""Where in a network blocks stand."""

from typing import TYPE_CHECKING

from gcbench.networks.inserting import inserted
from gcbench.records import Cell

if TYPE_CHECKING:
    from gcbench.counting import Subject


def insertion(subject: "Subject") -> dict[str, Cell]:
    """Count the blocks inside a network, and list the modules behind which they stand.

    Empty for a block that stands alone.
    """
    if subject.case.network is None:
        return {"inserted": None, "inserted_at": None}
    # the model is called `network` in what is measured, and that says nothing
    paths = [path.removeprefix("network.") for path, _ in inserted(subject.meta)]
    return {"inserted": len(paths), "inserted_at": " ".join(paths)}
