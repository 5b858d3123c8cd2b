"""Parameters, by fvcore."""

import warnings
from types import ModuleType
from typing import TYPE_CHECKING

from gcbench.records import Cell

if TYPE_CHECKING:
    from torch import nn

    from gcbench.counting import Subject


def parameters(subject: "Subject") -> dict[str, Cell]:
    """Count the parameters of the module, trainable or not, each once."""
    return {"params": parameter_count(subject.meta)}


def parameter_count(module: "nn.Module") -> int:
    """Count the parameters of a module by fvcore."""
    return int(fvcore_nn().parameter_count(module)[""])


def fvcore_nn() -> ModuleType:
    """Import `fvcore.nn` without the warning that its own use of torch.jit.script raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import fvcore.nn
    module: ModuleType = fvcore.nn
    return module
