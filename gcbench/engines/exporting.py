"""A block exported to a file, as the runtime that takes such files measures it."""

from pathlib import Path
from typing import NamedTuple

from gcbench import blocks
from gcbench.engines.deploying import deployed
from gcbench.engines.inline import torch_state
from gcbench.engines.probe import Setting, workload
from gcbench.errors import BlockError, UsageError
from gcbench.measure import runtimes
from gcbench.measure.runtimes.foreign import ForeignRuntime
from gcbench.records import Measurement
from gcbench.spec.cases import Axes, comparison_of


class Artefact(NamedTuple):
    """What an export gave: the bytes of each file, by its suffix, and how the first is loaded."""

    files: dict[str, bytes]
    loading: str


def export(target: str, axes: Axes, seed: int, output: Path) -> Artefact:
    """Export a block at one value of every axis, for the axes' runtime; see `deployed`.

    Its weights are drawn from the seed. Raises UsageError where it cannot be, or where what the
    runtime computes is not what eager does.
    """
    [case] = comparison_of([blocks.resolve(target)], axes, "cpu").cases
    runtime = runtimes.of(case)
    assert isinstance(runtime, ForeignRuntime)
    why_not = runtime.why_not(case)
    if why_not:
        raise UsageError(f"--output {output}: {case.runtime} cannot hold it: {why_not}")
    with torch_state("cpu") as threads:
        pristine = workload(case, Setting(seed, threads))
        try:
            _, deployment = deployed(runtime, pristine, Measurement(case), seed, threads, None)
        except BlockError as error:
            raise UsageError(f"{target}: {error}") from error
        return Artefact(
            runtime.files(deployment.artefact), runtime.loading(str(output), case.dtype)
        )
