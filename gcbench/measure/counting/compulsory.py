"""Bytes that must move: of the function, not of the algorithm."""

from typing import TYPE_CHECKING

from gcbench.records import Cell
from gcbench.spec.cases import ELEMENT_BYTES

if TYPE_CHECKING:
    from gcbench.measure.counting import Subject


def compulsory(subject: "Subject") -> dict[str, Cell]:
    """Say how many bytes any implementation of a forward pass must move.

    The block's closed form gives the elements. Empty where the block has none, and in modes with a
    backward pass, which has no closed form here.
    """
    if subject.form is None or subject.case.mode != "infer":
        return {"min_bytes": None}
    return {"min_bytes": subject.form["min_elements"] * ELEMENT_BYTES[subject.case.dtype]}
