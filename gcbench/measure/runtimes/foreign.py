"""Runtimes of others: a module is exported once, and what came of that is loaded and called.

Each arm is a session of its own, bound to an input and outputs of its own before anything is timed:
a call converts nothing and copies nothing. They all run on the CPU and only infer.
"""

import logging
import os
import random
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

from gcbench.errors import BlockError
from gcbench.measure import environment
from gcbench.measure.runtimes import Runtime
from gcbench.measure.workload import Prepare, elsewhere, set_threads, spacers
from gcbench.records import Queueing
from gcbench.spec.cases import Case

# torch colours what it says of an export, and numbers the steps of it
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
# what stands in front of a cause, and is none
_LEAST_CAUSE = 4


class Loaded(Protocol):
    """An artefact as its runtime has it, bound to an input and to outputs of its own.

    What is to be freed in some order is freed when nothing holds this any more.
    """

    outputs: Sequence[Tensor]

    def call(self) -> object:
        """Compute the outputs from the input."""


class ForeignRuntime(Runtime):
    """What a runtime of others does beside `export` and `load`.

    `dtypes` are those that it computes in; `settings` say how its sessions are set, for the
    manifest; `packages` are those that it consists of.
    """

    dtypes: ClassVar[tuple[str, ...]] = ("float32",)
    settings: ClassVar[dict[str, str]] = {}
    packages: ClassVar[tuple[str, ...]] = ()

    def export(self, module: nn.Module, x: Tensor) -> Any:
        """Make of a module, in eval, what the runtime takes, for the shape and dtype of `x`."""
        raise NotImplementedError

    def load(self, artefact: Any, x: Tensor, threads: int) -> Loaded:
        """Load what was exported, with so many threads, and bind it to `x` and to outputs."""
        raise NotImplementedError

    def files(self, artefact: Any) -> dict[str, bytes]:
        """What was exported, as files: their bytes by their suffixes."""
        raise NotImplementedError

    def loading(self, file: str, dtype: str) -> str:
        """A line of Python that loads a file of what was exported in a dtype, as it is measured."""
        raise NotImplementedError

    def why_not(self, case: Case) -> str | None:
        """Say what none of these runtimes does, or this one."""
        if case.device != "cpu":
            return f"it is measured on the CPU, not on {case.device}"
        if case.mode != "infer":
            return f"it only infers, and mode is {case.mode}"
        if case.dtype not in self.dtypes:
            return f"it computes in {' and '.join(self.dtypes)}, not in {case.dtype}"
        if case.layout != "contiguous":
            return f"its inputs are NCHW in memory (layout contiguous), not {case.layout}"
        if case.regime != "burst":
            return "its arms live in processes that take turns and pause in between: regime burst"
        return None

    def described(self) -> dict[str, str]:
        """The versions of the packages that it consists of, and how its sessions are set."""
        found = {name: environment.version(name) for name in self.packages}
        return {name: each for name, each in found.items() if each is not None} | self.settings


class Deployment:
    """A module as a runtime of others has it, with an input of its own: a work."""

    queueing: Queueing = "fits"
    turns = 1

    def __init__(
        self,
        runtime: ForeignRuntime,
        artefact: Any,
        x: Tensor,
        threads: int,
        before: Prepare | None = None,
    ) -> None:
        """Load `artefact` for the input `x`; `before` runs last in every preparation."""
        self.x = x
        self.repeatable = before is None
        self.cold = before is not None
        self._given = runtime, artefact, threads, before
        self._before = before
        self._loaded = runtime.load(artefact, x, threads)
        self.call = self._loaded.call

    @property
    def artefact(self) -> Any:
        """What was exported."""
        return self._given[1]

    @property
    def outputs(self) -> Sequence[Tensor]:
        """What the last call computed."""
        return self._loaded.outputs

    def prepare(self) -> None:
        """Set torch's threads, for a runtime that uses them, and do what was given to run last."""
        torch.set_grad_enabled(False)
        set_threads(self._given[2])
        if self._before is not None:
            self._before()

    def settle(self) -> None:
        """Call once, prepared, so that pages and caches are there."""
        self.prepare()
        self.call()

    def elsewhere(self, rng: random.Random) -> Self:
        """Load the artefact anew, for an input of the same values at a new place."""
        kept = spacers(self.x.device, rng)
        runtime, artefact, threads, before = self._given
        moved = type(self)(runtime, artefact, elsewhere(self.x, rng), threads, before)
        moved._spacers = kept
        return moved

    beside = elsewhere
    _spacers: tuple[Tensor, ...] = ()


def exported(runtime: ForeignRuntime, module: nn.Module, x: Tensor) -> Any:
    """Export a module. Raises BlockError with the cause in one sentence where that fails."""
    try:
        with _quiet():
            return runtime.export(module, x)
    except (Exception, SystemExit) as error:
        raise BlockError(f"it cannot be exported: {cause_of(error)}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep exporters from telling of their steps, of what is to change, and of what they raise."""
    level = logging.root.manager.disable
    with (
        Path(os.devnull).open("w") as nowhere,
        redirect_stdout(nowhere),
        redirect_stderr(nowhere),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(level)


def cause_of(error: BaseException) -> str:
    """Say in one sentence what an export ended with: the first cause, in plain text.

    >>> try:
    ...     try:
    ...         int("1.5")
    ...     except ValueError as found:
    ...         raise RuntimeError("Failed to export. This is step 1/3") from found
    ... except RuntimeError as failed:
    ...     cause_of(failed)
    "ValueError: invalid literal for int() with base 10: '1.5'"
    """
    first: BaseException = error
    while first.__cause__ or first.__context__:
        first = first.__cause__ or first.__context__ or first
    lines = (line.strip() for line in _ANSI.sub("", str(first)).splitlines())
    sentence = next((line for line in lines if len(line) >= _LEAST_CAUSE), "")
    kind = type(first).__name__
    if kind == "GuardOnDataDependentSymNode":
        kind = f"it branches on values, which no export holds ({kind})"
    return f"{kind}: {sentence[:300]}" if sentence else kind
