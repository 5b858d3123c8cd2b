"""A module as torch.compile makes it.

Each arm is compiled as a function of its own, with a code object of its own: dynamo keeps what it
compiled beside the code, so arms that shared one would search each other's guards at every call,
and give up compiling after the eighth shape.
"""

import logging
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from itertools import count
from typing import Any

import torch

from gcbench.measure.runtimes import Begun, Runtime
from gcbench.measure.workload import Apply, eagerly

_numbers = count()


class Compiled(Runtime):
    """The work of compiling is done at the first call, and told apart."""

    @contextmanager
    def session(self, device: str) -> Iterator[None]:
        """Compile afresh inside: nothing comes from caches in memory or on disk, or is left."""
        torch.compiler.reset()
        config: Any = torch.compiler.config
        with warnings.catch_warnings(), config.patch(force_disable_caches=True):
            # torch says once for each of its caches that it is off
            warnings.filterwarnings("ignore", message=".*force.disable", category=UserWarning)
            _load_compiler(device)
            try:
                yield
            finally:
                torch.compiler.reset()

    def settled(self) -> AbstractContextManager[object]:
        """Make it an error if anything is compiled inside."""
        stance: AbstractContextManager[object] = torch.compiler.set_stance("fail_on_recompile")
        return stance

    def apply(self) -> Apply:
        """Compile applying a module, for one static shape."""
        name = f"arm_{next(_numbers)}"
        own = types.FunctionType(eagerly.__code__.replace(co_name=name), eagerly.__globals__, name)
        made: Apply = torch.compile(own, dynamic=False)
        return made

    def begun(self, call_ns: Callable[[], int]) -> Begun:
        """Tell what compiling took, and flag what is special about it."""
        before = _graphs()
        first_ns, second_ns = call_ns(), call_ns()
        # one less than zero would say nothing, and a run that holds it is damaged
        took_ms = (first_ns - second_ns) / 1e6 if first_ns > second_ns else None
        return Begun({"compile_ms": took_ms}, flags_of(_graphs() - before))


def flags_of(graphs: int) -> tuple[str, ...]:
    """Name what is special where compiling a case made so many graphs; one is as it should be.

    Raises RuntimeError where it made none, since then the case would run eagerly under this name.
    """
    if graphs == 0:
        raise RuntimeError(
            "torch.compile made no graph of it, and would run it eagerly: it does nothing, forbids "
            "to be compiled, or raises while it is traced"
        )
    return () if graphs == 1 else (f"graphs={graphs}",)


def _graphs() -> int:
    """Graphs that dynamo has made so far."""
    from torch._dynamo.utils import counters

    return counters["stats"]["unique_graphs"]


@cache
def _load_compiler(device: str) -> None:
    """Let the compiler load itself for a device (on CUDA, Triton), which no case is to pay for."""
    # it warns of a CUDA toolkit without a GPU, which is no news
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    torch.compile(lambda x: x + 1, dynamic=False)(torch.zeros(8, device=device))
