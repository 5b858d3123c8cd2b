"""How a module is run: eagerly, as torch.compile makes it, or recorded as a CUDA graph.

Each arm is compiled as a function of its own, with a code object of its own: dynamo keeps what it
compiled beside the code, so arms that shared one would search each other's guards at every call,
and give up compiling after the eighth shape.
"""

import logging
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import count
from typing import Any

import torch

from gcbench.spec import Case, Runtime
from gcbench.workload import Apply, eagerly

_numbers = count()


def apply_of(case: Case) -> Apply:
    """Make what applies a case's module to its input in the case's runtime."""
    return APPLIES[case.runtime]()


def why_not(case: Case) -> str | None:
    """Say why a case's runtime cannot be had on its device; None where it can."""
    if case.runtime != "graph":
        return None
    if case.device == "cpu":
        return "a CUDA graph needs a CUDA device; on a CPU there are eager and compile"
    if case.mode == "backward":
        return "a CUDA graph holds forward and backward together: take mode train"
    return None


def compiled() -> Apply:
    """Compile applying a module, for one static shape; the work is done at the first call."""
    name = f"arm_{next(_numbers)}"
    own = types.FunctionType(eagerly.__code__.replace(co_name=name), eagerly.__globals__, name)
    made: Apply = torch.compile(own, dynamic=False)
    return made


# a graph is recorded of a whole call, by `gcbench.workload.Replayed`
APPLIES: dict[Runtime, Callable[[], Apply]] = {
    "eager": lambda: eagerly,
    "compile": compiled,
    "graph": lambda: eagerly,
}


@contextmanager
def session(cases: Sequence[Case]) -> Iterator[None]:
    """Compile afresh inside: nothing is taken from caches in memory or on disk, nothing is left."""
    if not _any_compiled(cases):
        yield
        return
    torch.compiler.reset()
    config: Any = torch.compiler.config
    with warnings.catch_warnings(), config.patch(force_disable_caches=True):
        # torch says once for each of its caches that it is off
        warnings.filterwarnings("ignore", message=".*force.disable", category=UserWarning)
        _load_compiler(cases[0].device)
        try:
            yield
        finally:
            torch.compiler.reset()


@contextmanager
def settled(cases: Iterable[Case]) -> Iterator[None]:
    """Make it an error if anything is compiled inside, where one of the cases is compiled."""
    if not _any_compiled(cases):
        yield
        return
    with torch.compiler.set_stance("fail_on_recompile"):
        yield


def graphs(case: Case) -> int:
    """Graphs that dynamo has made so far; 0 where the case is not compiled."""
    if case.runtime != "compile":
        return 0
    from torch._dynamo.utils import counters

    return counters["stats"]["unique_graphs"]


def compiled_flags(made: int) -> tuple[str, ...]:
    """Name what is special where compiling a case made so many graphs; one is as it should be.

    Raises RuntimeError where it made none, since then the case would run eagerly under this name.
    """
    if made == 0:
        raise RuntimeError(
            "torch.compile made no graph of it, and would run it eagerly: it does nothing, forbids "
            "to be compiled, or raises while it is traced"
        )
    return () if made == 1 else (f"graphs={made}",)


def _any_compiled(cases: Iterable[Case]) -> bool:
    return any(case.runtime == "compile" for case in cases)


@cache
def _load_compiler(device: str) -> None:
    """Let the compiler load itself for a device (on CUDA, Triton), which no case is to pay for."""
    # it warns of a CUDA toolkit without a GPU, which is no news
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    torch.compile(lambda x: x + 1, dynamic=False)(torch.zeros(8, device=device))
