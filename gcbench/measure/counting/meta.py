"""One call on the meta device, where tensors have shapes and no numbers: it takes no memory."""

import copy

from torch import nn

from gcbench.errors import CountingError, told
from gcbench.measure.counting.account import Pass, watched
from gcbench.measure.workload import Workload, make_workload
from gcbench.spec.cases import Case


def on_meta_device(module: nn.Module, case: Case) -> Workload:
    """Make a call of a module on the meta device, which must hold its weights already."""
    return make_workload(copy.deepcopy(module), case, "meta")


def meta_pass(module: nn.Module, case: Case) -> Pass:
    """Call a module on the meta device at the case's shape, dtype, layout and mode.

    Raises CountingError where the module cannot run there, with what it raised.
    """
    try:
        return watched(on_meta_device(module, case))
    except (Exception, SystemExit) as error:  # the module may raise anything
        raise CountingError(
            f"{case.label} does not run on the meta device: {told(error)}"
        ) from error
