"""Parameters of the module that is timed."""

from contextlib import suppress
from typing import TYPE_CHECKING

from gcbench.errors import CountingError
from gcbench.records import Cell
from gcbench.tensors import parameter_count

if TYPE_CHECKING:
    from gcbench.measure.counting import Subject


def parameters(subject: "Subject") -> dict[str, Cell]:
    """Count the parameters of the module as it is called, trainable or not, each once.

    Where it is called that is after its first call: lazy ones are there, and what folding in
    `eval()` removed is gone. Raises CountingError where they cannot be told.
    """
    if subject.by_form and subject.form is not None:
        return {"params": subject.form["params"]}
    # why it cannot be called is told by the MACs; its parameters are known all the same
    with suppress(CountingError):
        return {"params": subject.call.params}
    try:
        return {"params": parameter_count(subject.module)}
    except ValueError as error:
        raise CountingError(f"parameters not counted: {error}") from error
